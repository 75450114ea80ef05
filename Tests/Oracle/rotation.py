"""Rotation of the residual stream, from its definition in plain PyTorch in float64, against `coppice prune --basis rotated`.

    .deps/venv/bin/python Tests/Oracle/rotation.py --binary .build/release/coppice [CASE …]

For each tiny random model: what the projections read and write is told by a list of names here, the stream is caught by
hooks before every norm, and the basis is `torch.linalg.eigh` of its second moments. Weights of the result must be within
1e-3 of their norm, up to the signs of directions; it must load in `transformers` with nothing missing. One line a case;
exit 1 if one fails.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

import own_types

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS, LENGTH = 12, 64
TOLERANCE = 1e-3
SHARED = dict(vocab_size=2048, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=256)

# What reads the stream past a norm and what writes it, by the last parts of names; the axis is that of the hidden size.
READERS = {
    "q_proj": 1, "k_proj": 1, "v_proj": 1, "gate_proj": 1, "up_proj": 1, "gate_up_proj": 1, "gate": 1, "q_a_proj": 1, "in_proj": 1,
    "kv_a_proj_with_mqa": 1, "shared_expert_gate": 1, "w1": 1, "w3": 1, "router": 1, "linear_attn": 1, "linear_mlp": 1}
WRITERS = {"o_proj": 0, "down_proj": 0, "out_proj": 0, "w2": 0, "linear_attn": 0, "linear_mlp": 0}


def cases():
    """By name: the model's class and its config's settings, the size to cut to."""
    import transformers as t

    dense = dict(SHARED, hidden_size=64, intermediate_size=96, num_key_value_heads=2, head_dim=16)
    return {
        "llama": (t.LlamaForCausalLM, t.LlamaConfig(**dense, attention_bias=True, mlp_bias=True), 48),
        "qwen3_tied": (t.Qwen3ForCausalLM, t.Qwen3Config(**dense, tie_word_embeddings=True), 48),
        "granite": (
            t.GraniteForCausalLM,
            t.GraniteConfig(**dense, embedding_multiplier=6.0, residual_multiplier=0.4, logits_scaling=2.0), 40),
        "glm": (t.GlmForCausalLM, t.GlmConfig(**dense, attention_bias=True, pad_token_id=0), 40),
        "apertus": (t.ApertusForCausalLM, t.ApertusConfig(**dense, rope_parameters={"rope_type": "default", "rope_theta": 500.0}), 48),
        "qwen3_moe": (
            t.Qwen3MoeForCausalLM,
            t.Qwen3MoeConfig(**dense, moe_intermediate_size=48, num_experts=6, num_experts_per_tok=2), 48),
        "mixtral": (
            t.MixtralForCausalLM,
            t.MixtralConfig(**dense, num_local_experts=4, num_experts_per_tok=2, sliding_window=None), 48),
        "qwen2_moe": (
            t.Qwen2MoeForCausalLM,
            t.Qwen2MoeConfig(
                **{k: v for k, v in dense.items() if k != "head_dim"}, moe_intermediate_size=48, num_experts=4,
                shared_expert_intermediate_size=64, num_experts_per_tok=2, use_sliding_window=True, sliding_window=128), 48),
        "deepseek_v3": (
            t.DeepseekV3ForCausalLM,
            t.DeepseekV3Config(
                **SHARED, hidden_size=64, intermediate_size=96, moe_intermediate_size=32, n_routed_experts=4,
                n_shared_experts=1, num_experts_per_tok=2, n_group=1, topk_group=1, first_k_dense_replace=1,
                kv_lora_rank=24, q_lora_rank=32, qk_rope_head_dim=8, qk_nope_head_dim=16, v_head_dim=16,
                num_key_value_heads=4), 48),
        "nemotron_h": (
            t.NemotronHForCausalLM,
            t.NemotronHConfig(
                **{k: v for k, v in SHARED.items() if k != "num_hidden_layers"}, num_hidden_layers=5, hidden_size=64,
                layers_block_type=["mamba", "mlp", "mamba", "attention", "mlp"], intermediate_size=96,
                num_key_value_heads=2, head_dim=16, mamba_num_heads=8, mamba_head_dim=16, n_groups=2,
                ssm_state_size=16, chunk_size=16, use_mamba_kernels=False), 48),
        "nemotron_nas": (
            own_types.reference.NASForCausalLM,
            own_types.reference.NemotronNASConfig(
                **SHARED | dict(num_hidden_layers=4), hidden_size=64, head_dim=16, intermediate_size=None, block_configs=[
                    {"attention": attention, "ffn": ffn} for attention, ffn in (
                        ({"n_heads_in_group": 2}, {"ffn_mult": 2.0}), ({"no_op": True}, {"intermediate_size": 96}),
                        ({"n_heads_in_group": 4}, {"replace_with_linear": True}), ({"replace_with_linear": True}, {"no_op": True}))]),
            48),
        "jamba": (
            t.JambaForCausalLM,
            t.JambaConfig(
                **{k: v for k, v in dense.items() if k != "head_dim"}, num_experts=4, num_experts_per_tok=2, expert_layer_period=2,
                expert_layer_offset=1, attn_layer_period=3, attn_layer_offset=1, mamba_d_state=8, mamba_d_conv=4, mamba_expand=2,
                mamba_dt_rank=6, use_mamba_kernels=False), 48),
    }


def make(kind, config, folder):
    torch.manual_seed(3)
    model = kind(config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name and tensor.ndim == 1:
                tensor.copy_(1 + 0.3 * torch.randn_like(tensor))
            elif tensor.ndim > 1:
                tensor.copy_(0.12 * torch.randn_like(tensor))
                # Directions that differ enough for a basis that is the same to many digits.
                if "embed" in name:
                    tensor.mul_(torch.logspace(1.2, -1.2, tensor.shape[1]))
            elif name.endswith("bias"):
                tensor.copy_(0.1 * torch.randn_like(tensor))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(ROOT / "Examples/model" / name, folder)


def rows(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = []
    with open(ROOT / "Examples/data/calib.jsonl", encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line)["text"]
            ids += tokenizer(text, add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
            if len(ids) >= ROWS * LENGTH:
                break
    return torch.tensor(ids[: ROWS * LENGTH]).view(ROWS, LENGTH)


def stream_norms(model, hidden):
    """The norms over the residual stream, by their modules' names, in order; the last is the final one."""
    found = []
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        inner = any(part in name for part in ("q_norm", "k_norm", "a_layernorm", "mixer.norm"))
        if "norm" in name.rsplit(".", 1)[-1] and weight is not None and weight.shape == (hidden,) and not inner:
            found.append((name, module))
    return found


def expected(folder, tokens, count):
    """The rotated weights by name, float64, and the directions."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager").eval()
    hidden = model.config.hidden_size
    norms = stream_norms(model, hidden)
    seen = {name: [] for name, _ in norms}
    for name, module in norms:
        module.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[0].reshape(-1, hidden)))
    with torch.no_grad():
        for row in tokens:
            model(row[None])
    streams = {name: torch.cat(parts).double() for name, parts in seen.items()}

    moments = torch.zeros(hidden, hidden, dtype=torch.float64)
    for name, module in norms:
        epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        x = streams[name]
        normed = x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt()
        moments += normed.T @ normed
    directions = torch.linalg.eigh(moments)[1].flip(1)[:, :count]

    constants, gains = {}, {}
    for name, module in norms:
        epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        x = streams[name]
        kept, whole = ((v.square().mean(-1) + epsilon).sqrt() for v in (x @ directions, x))
        constants[name] = (kept / whole).mean()
        gains[name] = module.weight.detach().double()

    final = norms[-1][0]
    weights = load_file(next(pathlib.Path(folder).glob("model*.safetensors")))
    rotated = {}
    layer_norms = [name for name, _ in norms[:-1]]
    for stored, value in weights.items():
        value = value.double()
        # Nemotron-H's files have another prefix than its modules.
        name = stored.replace("backbone.", "model.")
        module, kind = name.rsplit(".", 1)
        last = module.rsplit(".", 1)[-1]
        if module in constants:
            rotated[stored] = constants[module].expand(count).clone()
            if module == final and model.config.tie_word_embeddings:
                embedding = model.get_input_embeddings().weight.detach()
                met, scaled = embedding @ directions, (embedding * gains[final]) @ directions
                rotated[stored] = constants[final] * (met * scaled).sum(0) / met.square().sum(0)
        elif "embed" in name:
            rotated[stored] = value @ directions
        elif "lm_head" in name:
            rotated[stored] = (value * gains[final]) @ directions
        elif last in READERS and kind == "weight":
            value = directions.T @ value if last in WRITERS else value
            rotated[stored] = (value * gains[norm_before(name, layer_norms)]) @ directions
        elif last in WRITERS:
            rotated[stored] = directions.T @ value
        else:
            rotated[stored] = value
    return rotated, directions


def norm_before(name, norms):
    """The norm that a projection of a layer reads: the layer's only one, or the one before its kind of block."""
    layer = name.split("layers.")[0] + "layers." + name.split("layers.")[1].split(".")[0] + "."
    own = [norm for norm in norms if norm.startswith(layer)]
    return own[0] if len(own) == 1 or "self_attn" in name or ".mamba." in name else own[1]


def cut_inner(wanted, ours):
    """Jamba's Mamba has twice as many channels as the hidden size: those that are kept are told by their decays, which are theirs alone."""
    for key in [key for key in wanted if key.endswith("mamba.A_log")]:
        whole, own = wanted[key], ours[key].double()
        kept = [next(at for at in range(len(whole)) if torch.equal(whole[at], row)) for row in own]
        prefix = key.removesuffix("A_log")
        for name, tensor in wanted.items():
            if not name.startswith(prefix):
                continue
            part = name.removeprefix(prefix)
            if part.startswith("in_proj"):
                wanted[name] = tensor[kept + [len(whole) + at for at in kept]]
            elif part.startswith(("x_proj", "out_proj.weight")):
                wanted[name] = tensor[:, kept]
            elif part.startswith(("A_log", "D", "conv1d", "dt_proj")):
                wanted[name] = tensor[kept]


def check(binary, name, work):
    kind, config, count = cases()[name]
    source, out = work / name, work / f"{name}-out"
    make(kind, config, source)
    tokens = rows(source)
    subprocess.run(
        [binary, "prune", "--quiet", "--hf_model_name_or_path", source, "--output_hf_path", out, "--basis", "rotated",
         "--prune_intermediate_ckpt", work / f"{name}-kept", "--calib_dataset_name", ROOT / "Examples/data/calib.jsonl",
         "--calib_num_samples", str(ROWS), "--seq_length", str(LENGTH), "--compute_dtype", "float32",
         "--prune_export_config", json.dumps({"hidden_size": count})], check=True)
    ours = load_file(out / "model.safetensors")
    wanted, directions = expected(source, tokens, count)
    if ours.keys() != wanted.keys():
        raise ValueError(f"other tensors: {sorted(ours.keys() ^ wanted.keys())[:4]}")
    cut_inner(wanted, ours)
    embedding = next(key for key in wanted if "embed" in key)
    signs = (ours[embedding].double() * wanted[embedding]).sum(0).sign()
    worst, where = 0.0, ""
    hidden = directions.shape[0]
    for key, found in ours.items():
        target = wanted[key]
        if found.shape != target.shape:
            raise ValueError(f"{key}: {list(found.shape)}, expected {list(target.shape)}")
        module = key.rsplit(".", 2)[-2]
        if "embed" in key or "lm_head" in key or (module in READERS and key.endswith("weight")):
            target = target * signs
        if module in WRITERS:
            target = target * (signs if target.ndim == 1 else signs[:, None])
        gap = ((found.double() - target).norm() / target.norm()).item()
        if gap > worst:
            worst, where = gap, key
    if not worst <= TOLERANCE:
        raise ValueError(f"{where} is {worst:.2e} of its norm away, with {count} of {hidden} directions")
    _, info = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info.get(key):
            raise ValueError(f"{key}: {info[key]}")
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / ".build/release/coppice"))
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    disable_progress_bar()
    set_verbosity_error()
    names = arguments.cases or list(cases())
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            try:
                print(f"{name}: {check(arguments.binary, name, pathlib.Path(work)):.1e}", flush=True)
            except (ValueError, subprocess.CalledProcessError) as error:
                failed += 1
                print(f"{name}: {error}", flush=True)
    print(f"{len(names) - failed} of {len(names)} models have the weights that the definition gives")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
