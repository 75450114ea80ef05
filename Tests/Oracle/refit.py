"""The weights of `coppice prune --refit sequential`, made again from the definition in PyTorch and float64.

    .deps/venv/bin/python Tests/Oracle/refit.py --binary .build/release/coppice [MODEL]...

Random models that `transformers` makes, with norm weights that are not ones, stored in float32, pruned by hand twice: sliced and
refitted. From the original and the sliced model every linear map is solved here as Docs/recover.md says, map after map, and what
comes out is compared with the refitted model, tensor by tensor. One line a model; the last line counts.
"""

import json
import re
import subprocess

import torch
import transformers
from transformers import AutoModelForCausalLM

import cases
import own_types
import refit_experts
from cases import ROOT

ROWS, LENGTH = 24, 64
RIDGES = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
MIDDLE = 3
TOLERANCE = 1e-3  # Of a tensor's norm.


def made(config, kind, folder):
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim == 1 and "norm" in name:
                tensor.copy_(1 + 0.2 * torch.randn_like(tensor))
            elif name.endswith("bias"):
                tensor.copy_(0.1 * torch.randn_like(tensor))
            elif tensor.ndim > 1:
                tensor.copy_(0.15 * torch.randn_like(tensor))
    model.float().save_pretrained(folder)
    cases.add_tokenizer(folder)


COMMON = dict(
    vocab_size=2048, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=512)


def qwen3(folder):
    config = transformers.Qwen3Config(**COMMON, head_dim=16, tie_word_embeddings=True)
    made(config, transformers.Qwen3ForCausalLM, folder)


def llama(folder):
    config = transformers.LlamaConfig(**COMMON, attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    made(config, transformers.LlamaForCausalLM, folder)


def deepseek(folder):
    config = transformers.DeepseekV3Config(
        **{**COMMON, "num_key_value_heads": 4}, moe_intermediate_size=32, n_routed_experts=4, num_experts_per_tok=2,
        n_group=1, topk_group=1, q_lora_rank=24, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=16,
        first_k_dense_replace=3)
    made(config, transformers.DeepseekV3ForCausalLM, folder)


def glm_dsa(folder):
    """Layers after the first borrow the tokens that its indexer picks: by eight heads, so that few tokens score alike."""
    config = transformers.GlmMoeDsaConfig(
        **{**COMMON, "num_key_value_heads": 4}, moe_intermediate_size=32, n_routed_experts=4, num_experts_per_tok=2,
        n_group=1, topk_group=1, q_lora_rank=24, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=16,
        index_topk=16, index_n_heads=8, index_head_dim=16, indexer_types=["full", "shared", "shared"],
        mlp_layer_types=["dense"] * 3, tie_word_embeddings=False)
    made(config, transformers.GlmMoeDsaForCausalLM, folder)


def qwen3_moe(folder):
    config = transformers.Qwen3MoeConfig(
        **COMMON, head_dim=16, moe_intermediate_size=32, num_experts=4, num_experts_per_tok=2, tie_word_embeddings=False,
        norm_topk_prob=True)
    made(config, transformers.Qwen3MoeForCausalLM, folder)


def gpt_oss(folder):
    config = transformers.GptOssConfig(
        **{**COMMON, "intermediate_size": 32}, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=16,
        tie_word_embeddings=False)
    made(config, transformers.GptOssForCausalLM, folder)


def nemotron(folder):
    config = transformers.NemotronHConfig(
        vocab_size=2048, hidden_size=64, intermediate_size=96, num_hidden_layers=4,
        layers_block_type=["mamba", "mlp", "attention", "mlp"], num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        mamba_num_heads=8, mamba_head_dim=16, n_groups=2, ssm_state_size=16, chunk_size=16, max_position_embeddings=512,
        use_mamba_kernels=False, tie_word_embeddings=False)
    made(config, transformers.NemotronHForCausalLM, folder)


JAMBA = dict(
    **COMMON, mamba_d_state=8, mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=6, attn_layer_period=3, attn_layer_offset=1,
    use_mamba_kernels=False, tie_word_embeddings=False)


def jamba(folder):
    config = transformers.JambaConfig(**JAMBA, num_experts=1, num_experts_per_tok=1)
    made(config, transformers.JambaForCausalLM, folder)


def jamba_experts(folder):
    config = transformers.JambaConfig(
        **JAMBA, num_experts=4, num_experts_per_tok=2, expert_layer_period=2, expert_layer_offset=1)
    made(config, transformers.JambaForCausalLM, folder)


def gemma4(folder):
    """Norms after branches, values that are keys, heads by kind of layer."""
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    config = transformers.Gemma4TextConfig(
        **COMMON, head_dim=16, global_head_dim=32, num_global_key_value_heads=1, attention_k_eq_v=True, sliding_window=32,
        hidden_size_per_layer_input=0, num_kv_shared_layers=0, layer_types=kinds, tie_word_embeddings=True, pad_token_id=0)
    made(config, transformers.Gemma4ForCausalLM, folder)


def gemma4_inputs(folder):
    """Inputs of each layer's own, and keys of an earlier one."""
    kinds = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
    config = transformers.Gemma4TextConfig(
        **{**COMMON, "num_hidden_layers": 4}, head_dim=16, global_head_dim=32, sliding_window=32, hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=2048, num_kv_shared_layers=2, layer_types=kinds, tie_word_embeddings=True, pad_token_id=0)
    made(config, transformers.Gemma4ForCausalLM, folder)


def nemotron_nas(folder, linear=False):
    """Layers that lack attention, MLP or both, and of unlike widths; linear maps in the place of either."""
    whole = [({"n_heads_in_group": 2}, {"ffn_mult": 2.0}), ({"no_op": True}, {"ffn_mult": 7.0}), ({"no_op": True}, {"no_op": True}),
             ({"n_heads_in_group": 4}, {"no_op": True}), ({"n_heads_in_group": 4}, {"intermediate_size": 96})]
    other = {"replace_with_linear": True}
    parts = [(other, {"intermediate_size": 80}), ({"n_heads_in_group": 2}, other), (other, other)] if linear else whole
    config = own_types.reference.NemotronNASConfig(
        **{**COMMON, "num_hidden_layers": len(parts), "intermediate_size": None, "num_key_value_heads": None}, head_dim=16,
        tie_word_embeddings=False, block_configs=[{"attention": attention, "ffn": ffn} for attention, ffn in parts])
    made(config, own_types.reference.NASForCausalLM, folder)


def nemotron_nas_linear(folder):
    nemotron_nas(folder, linear=True)


# Each with an architecture, and further flags.
MODELS = {
    "qwen3": (qwen3, {"hidden_size": 48, "ffn_hidden_size": 64, "num_attention_heads": 2}),
    "qwen3-layers": (qwen3, {"num_layers": 2}, "--layer_ranking", "[3, 1, 2]"),
    "qwen3-last": (qwen3, {"num_layers": 1, "ffn_hidden_size": 64}, "--layer_ranking", "[2, 1, 3]"),
    "llama": (llama, {"hidden_size": 48, "ffn_hidden_size": 64}),
    "deepseek": (deepseek, {"hidden_size": 48, "ffn_hidden_size": 64}),
    "glm-dsa": (glm_dsa, {"hidden_size": 48, "ffn_hidden_size": 64}),
    "experts": (qwen3_moe, {"hidden_size": 48, "moe_ffn_hidden_size": 24, "num_moe_experts": 3}),
    "gpt-oss": (gpt_oss, {"hidden_size": 48, "moe_ffn_hidden_size": 24, "num_moe_experts": 3}),
    "nemotron": (nemotron, {"hidden_size": 48, "ffn_hidden_size": 64, "mamba_num_heads": 6}),
    "jamba": (jamba, {"hidden_size": 48, "ffn_hidden_size": 64}),
    "jamba-experts": (jamba_experts, {"hidden_size": 48, "ffn_hidden_size": 64, "moe_ffn_hidden_size": 64, "num_moe_experts": 3}),
    "gemma4": (gemma4, {"hidden_size": 48, "ffn_hidden_size": 64}),
    "gemma4-inputs": (gemma4_inputs, {"hidden_size": 48, "ffn_hidden_size": 64}),
    "nemotron-nas": (nemotron_nas, {"hidden_size": 48, "num_attention_heads": 2}),
    "nemotron-nas-layers": (nemotron_nas, {"hidden_size": 48, "num_layers": 3}, "--layer_ranking", "[1, 5, 4, 2, 3]"),
    "nemotron-nas-linear": (nemotron_nas_linear, {"hidden_size": 48}),
    "nemotron-layers": (nemotron, {"num_layers": 2, "hidden_size": 48}, "--layer_ranking", "[1, 3, 2, 4]"),
}


# Before the branches of a layer; the last two where norms are after them, too.
NORMS = "norm", "post_attention_layernorm", "pre_ff_layernorm", "input_layernorm", "pre_feedforward_layernorm"


def second(layer):
    """The branch after attention or Mamba."""
    return getattr(layer, "mlp", None) or getattr(layer, "feed_forward", None)


def final_norm(body):
    return next(norm for norm in (getattr(body, name, None) for name in ("norm", "norm_f", "final_layernorm")) if norm is not None)


class Seen:
    """What reaches the linear maps of a layer, in order, and the residual stream around its branches."""

    def __init__(self, model, layer, tokens):
        self.inputs, self.order, self.streams, handles = {}, [], {}, []
        for name, module in layer.named_modules():
            if isinstance(module, torch.nn.Linear) and "gate." not in name and "indexer." not in name:
                handles.append(module.register_forward_pre_hook(self.input(name)))
        names = NORMS[-2:] if hasattr(layer, NORMS[-1]) else NORMS
        norms = [m for n, m in layer.named_modules() if n in names]
        for number, norm in enumerate(norms):
            handles.append(norm.register_forward_pre_hook(self.stream(number)))
        handles.append(layer.register_forward_hook(self.after(len(norms))))
        with torch.no_grad():
            model(tokens, use_cache=False)
        for handle in handles:
            handle.remove()

    def input(self, name):
        def hook(_, arguments):
            self.order.append((name, arguments[0]))
            self.inputs[name] = arguments[0].reshape(len(arguments[0]), -1, arguments[0].shape[-1])
        return hook

    def stream(self, number):
        def hook(_, arguments):
            self.streams[number] = arguments[0]
        return hook

    def after(self, number):
        def hook(_, arguments, output):
            self.streams[number] = output[0] if isinstance(output, tuple) else output
        return hook


def solve(x, target, sliced):
    """x [rows, S, N], target [rows, S, M]; every eighth row is held back."""
    held = torch.tensor([(row + 1) % 8 == 0 for row in range(len(x))])
    flat = lambda tensor, rows: tensor[rows].reshape(-1, tensor.shape[-1])
    gram = flat(x, ~held).T @ flat(x, ~held)
    aims = flat(target, ~held).T @ flat(x, ~held)
    return choose(gram, aims, flat(x, held).T @ flat(x, held), flat(target, held).T @ flat(x, held), sliced)


def choose(gram, aims, held_gram, held_aims, sliced):
    scale = gram.diagonal().mean()
    # Of wide maps some rows say which ridge it is.
    tried = slice(0, None, len(sliced) // 256) if len(sliced) >= 512 else slice(None)
    size = lambda weight: ((weight[tried] @ held_gram) * weight[tried]).sum()
    error = lambda weight: size(weight) - 2 * (weight[tried] * held_aims[tried]).sum()
    best = [error(sliced) - 1e-6 * size(sliced), None]

    def attempt(index):
        ridge = RIDGES[index] * scale
        left = gram + ridge * torch.eye(len(gram), dtype=gram.dtype)
        weight = torch.linalg.solve(left, (aims + ridge * sliced).T).T
        found = error(weight)
        if not found < best[0]:
            return False
        best[:] = found, weight
        return True

    lowered = False
    if attempt(MIDDLE):
        for index in reversed(range(MIDDLE)):
            if not attempt(index):
                break
            lowered = True
    if not lowered:
        for index in range(MIDDLE + 1, len(RIDGES)):
            if not attempt(index) and best[1] is not None:
                break
    return best[1]


def factors(x, y, whole, own):
    """What to multiply the final norm's weight by for a tied head."""
    whole, own = centred(whole), centred(own)
    held = torch.tensor([(row + 1) % 8 == 0 for row in range(len(x))])
    parts = []
    for rows in (~held, held):
        a, b = x[rows].reshape(-1, x.shape[-1]), y[rows].reshape(-1, y.shape[-1])
        parts += [(own.T @ own) * (a.T @ a), ((own.T @ whole) * (a.T @ b)).sum(1)[None]]
    found = choose(*parts, torch.ones(1, own.shape[1], dtype=x.dtype))
    return None if found is None else found[0]


def channels(original, pruned):
    """Which rows or columns of a tensor are kept of another, by comparing the sliced embeddings."""
    whole, own = (m.get_input_embeddings().weight for m in (original, pruned))
    return [next(j for j in range(whole.shape[1]) if torch.equal(whole[:, j], own[:, i])) for i in range(own.shape[1])]


def kept_rows(whole, own, columns):
    """Rows of a weight that are kept: found by comparing."""
    if len(own) == len(whole):
        # Jamba's inner channels are as many as its hidden size says.
        return list(range(len(own)))
    part = whole[:, columns] if whole.shape[1] != own.shape[1] else whole
    return [next(j for j in range(len(part)) if torch.equal(part[j], row)) for row in own]


def centred(rows):
    return rows - rows.mean(0, keepdim=True)


def refit(original, pruned, layers, tokens):
    """Refits `pruned` in place."""
    hidden = channels(original, pruned)
    tied = pruned.config.tie_word_embeddings
    heads = [m.get_output_embeddings().weight.detach() for m in (original, pruned)]
    bodies = [m.base_model for m in (original, pruned)]
    norms = [final_norm(body) for body in bodies]
    reading = None
    if tied and len(hidden) < len(heads[0][0]):
        whole, own = (centred(head * norm.weight.detach()) for head, norm in zip(heads, norms))
        gram = own.T @ own
        gram += 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        reading = torch.linalg.solve(gram, own.T @ whole).T
    changed = len(hidden) < len(heads[0][0])
    following = [*layers[1:], len(bodies[0].layers)]
    for position, number in enumerate(layers):
        layer, own = bodies[0].layers[number], bodies[1].layers[position]
        whole_seen = Seen(original, layer, tokens)
        # What follows and is dropped is made up for by the layer's last map.
        skips = following[position] > number + 1
        changed = changed or number != position or any(
            a.shape != b.shape for a, b in zip(layer.state_dict().values(), own.state_dict().values()))
        if not changed and not skips:
            continue
        sites = []
        for name, place in whole_seen.order:
            if sites and sites[-1][1] is place:
                sites[-1][0].append(name)
            else:
                sites.append(([name], place))
        sliced = {name: m.weight.detach().clone() for name, m in own.named_modules() if isinstance(m, torch.nn.Linear)}
        branches = max(whole_seen.streams)
        # What is normed again is not added to the stream as it is.
        plain = not hasattr(layer, "post_feedforward_layernorm")
        for index, (names, _) in enumerate(sites):
            if not changed and index < len(sites) - 1:
                continue
            seen = Seen(pruned, own, tokens)
            x = seen.inputs[names[0]]
            branch = 1 if branches > 1 and names[0].startswith(("mlp", "feed_forward")) else 0
            ends = re.search(r"(o_proj|down_proj|out_proj|linear_attn|linear_mlp)$", names[0])
            output = plain and ends
            modules = {name: (layer.get_submodule(name), own.get_submodule(name)) for name in names}
            bias = any(small.bias is not None for _, small in modules.values())
            ones = lambda tensor: torch.cat([tensor, torch.ones_like(tensor[..., :1])], -1) if bias else tensor
            for name, (big, small) in modules.items():
                start = sliced[name]
                if bias:
                    start = torch.cat([start, small.bias.detach()[:, None]], 1)
                if output and index > 0:
                    aim = whole_seen.streams[branch + 1]
                    if skips and branch == branches - 1:
                        end = Seen(original, bodies[0].layers[following[position] - 1], tokens).streams
                        aim = end[max(end)]
                    last = position == len(layers) - 1 and branch == branches - 1
                    aim = aim @ reading if last and reading is not None else aim[..., hidden]
                    target = aim - seen.streams[branch]
                else:
                    columns = hidden if big.weight.shape[1] == len(heads[0][0]) else kept_columns(big, small, hidden)
                    rows = hidden if ends else kept_rows(big.weight.detach(), sliced[name], columns)
                    target = (big(whole_seen.inputs[name]))[..., rows].detach()
                found = solve(ones(x).detach(), target.detach(), start)
                if found is None:
                    continue
                with torch.no_grad():
                    small.weight.copy_(found[:, :-1] if bias else found)
                    if bias:
                        small.bias.copy_(found[:, -1])
        if hasattr(second(own), "experts"):
            refit_experts.refit(original, pruned, second(layer).experts, second(own).experts, hidden, tokens, choose)
    last = []
    for model, norm in zip((original, pruned), norms):
        with torch.no_grad():
            handle = norm.register_forward_hook(lambda _, arguments, output: last.append(output.detach()))
            model(tokens, use_cache=False)
            handle.remove()
    y, x = last
    if not changed and len(layers) == len(bodies[0].layers):
        return
    if not tied:
        found = solve(x, y @ heads[0].T, heads[1])
        if found is not None:
            with torch.no_grad():
                pruned.get_output_embeddings().weight.copy_(found)
        return
    found = factors(x, y, *heads)
    if found is not None:
        with torch.no_grad():
            norms[1].weight.mul_(found)


def kept_columns(big, small, _):
    return list(range(small.weight.shape[1])) if big.weight.shape[1] == small.weight.shape[1] else []


def compare(name, binary, work, refitted_mode="sequential", remake=refit):
    make, architecture, *more = MODELS[name]
    model = work / f"{name}-model"
    make(model)
    flags = [
        "--hf_model_name_or_path", str(model), "--calib_dataset_name", str(ROOT / "Examples/data/calib.jsonl"), "--seq_length",
        str(LENGTH), "--calib_num_samples", str(ROWS)]
    prune = [binary, "prune", *flags, *more, "--prune_export_config", json.dumps(architecture), "--compute_dtype", "float32"]
    outputs = []
    for mode in ("none", refitted_mode):
        output = work / f"{name}-{mode}"
        subprocess.run(
            [*prune, "--output_hf_path", str(output), "--refit", mode, "--refit_rows", str(ROWS), "--prune_intermediate_ckpt",
             str(work / f"{name}-kept-{mode}"), "--quiet"], check=True)
        outputs.append(output)
    listed = subprocess.run([binary, "tokenize", *flags], check=True, capture_output=True, text=True).stdout
    tokens = torch.tensor([json.loads(line) for line in listed.splitlines()][:ROWS])
    load = lambda folder: AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager").eval()
    original, pruned, refitted = load(model), load(outputs[0]), load(outputs[1])
    for own in (original, pruned):
        # Then Jamba's step sizes come from a module that can be watched.
        own.config._is_quantized = True
    kept = [layer - 1 for layer in json.loads((outputs[1] / "coppice.json").read_text())["kept_layers"]]
    plain = {key: tensor.clone() for key, tensor in pruned.state_dict().items()}
    remake(original, pruned, kept, tokens)
    worst, moved = ("", 0.0), 0
    for key, expected in pruned.state_dict().items():
        found = refitted.state_dict()[key]
        moved += not torch.equal(found, plain[key])
        off = ((found - expected).norm() / expected.norm().clamp_min(1e-12)).item()
        worst = max(worst, (key, off), key=lambda pair: pair[1])
    return worst, moved


def words(worst, moved, may_move_none=False):
    key, off = worst
    assert off < TOLERANCE, f"{key} is {off:.1e} off"
    assert moved > 0 or may_move_none, "no tensor was refitted"
    return f"{moved} tensors refitted, at most {off:.1e} off ({key})"


def check(name, binary, work):
    return words(*compare(name, binary, work))


if __name__ == "__main__":
    cases.run(__doc__, MODELS, check)
