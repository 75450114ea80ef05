"""Makes Tests/Goldens/mamba: tiny random checkpoints with Mamba-2 layers and what PyTorch and transformers compute.

    python make_mamba.py [CASE …]        (no names: all of them)

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0. See README.md for the tensors.
"""

import json
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from make_dense import SMALLEST_GAP, TOLERANCES, Draw, compact, difference, load_state, make_all, write
from mamba_cases import CASES
from reference_mamba import Statistics, choose, kind_of, base_of, masked, sizes_of, sliced
from reference_minitron import logits_of

HERE = pathlib.Path(__file__).resolve().parent
ROUTING_GAP = 0.04  # between an expert chosen and one that is not, so that bfloat16 cannot change a decision
NAMES = {  # config fields where the two families keep hyperparameters
    "hidden_size": "hidden_size",
    "ffn_hidden_size": "intermediate_size",
    "num_attention_heads": "num_attention_heads",
    "mamba_num_heads": "mamba_num_heads",
    "mamba_head_dim": "mamba_head_dim",
    "num_moe_experts": "n_routed_experts",
    "moe_ffn_hidden_size": "moe_intermediate_size",
    "moe_shared_expert_intermediate_size": "moe_shared_expert_intermediate_size",
}


def load(folder, dtype=torch.float32):
    """The model as its users load it; anything short of a perfect fit is an error."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
    )
    wrong = {k: v for k, v in info.items() if v}
    assert not wrong, f"{folder}: {wrong}"
    return model.eval()


def kinds_in(config):
    if config["model_type"] == "mamba2":
        return ["mamba"] * config["num_hidden_layers"]
    layers = config.get("hybrid_override_pattern") or config["layers_block_type"]
    names = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe", "linear_attention": "mamba",
             "full_attention": "attention"}
    return [names.get(layer, layer) for layer in layers]


def checkpoint(config, draw):
    """Weights under their published names, from a config.json's own fields."""
    mamba2 = config["model_type"] == "mamba2"
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    heads = config["num_heads" if mamba2 else "mamba_num_heads"]
    inner = heads * config["head_dim" if mamba2 else "mamba_head_dim"]
    convolved = inner + 2 * config["n_groups"] * config["state_size" if mamba2 else "ssm_state_size"]
    tied = config["tie_word_embeddings"]
    kinds = kinds_in(config)
    state = {"backbone.embeddings.weight": draw.normal(vocab, hidden, std=0.5 if tied else 1.0)}

    def linear(name, rows, columns, bias=False, gain=1.0):
        state[f"{name}.weight"] = draw.matrix(rows, columns, gain)
        if bias:
            state[f"{name}.bias"] = draw.normal(rows, std=0.2)

    experts = config.get("n_routed_experts") if "moe" in kinds else None
    if experts:
        # Each token's embedding points clearly at its experts, so that no routing decision is a close call.
        directions = torch.linalg.qr(torch.randn(hidden, experts, generator=draw.generator))[0].T
        grouped = experts // config["n_group"]
        embeddings = state["backbone.embeddings.weight"].float()
        embeddings -= embeddings @ directions.T @ directions
        for token in range(vocab):
            group = torch.randint(config["n_group"], (1,), generator=draw.generator) * grouped
            chosen = group + torch.randperm(grouped, generator=draw.generator)[: config["num_experts_per_tok"]]
            embeddings[token] += 3.0 * directions[chosen].sum(0)
        state["backbone.embeddings.weight"] = embeddings.bfloat16()

    for i, kind in enumerate(kinds):
        layer = f"backbone.layers.{i}"
        mixer = f"{layer}.mixer"
        gain = 0.15 + 0.08 * ((i * 7 + 3) % 5)  # layers of clearly different weight in the residual stream
        state[f"{layer}.norm.weight"] = draw.uniform(hidden, low=0.4, high=1.6)
        if kind == "mamba":
            linear(f"{mixer}.in_proj", inner + convolved + heads, hidden, config["use_bias"])
            state[f"{mixer}.conv1d.weight"] = draw.normal(convolved, 1, config["conv_kernel"], std=0.45)
            if config["use_conv_bias"]:
                state[f"{mixer}.conv1d.bias"] = draw.normal(convolved, std=0.3)
            state[f"{mixer}.dt_bias"] = draw.uniform(heads, low=-4.0, high=0.0)
            # Heads that forget within a token or two, and heads that hardly do within a row; kept in float32.
            state[f"{mixer}.A_log"] = draw.uniform(heads, low=-4.0, high=2.5).float()
            state[f"{mixer}.D"] = draw.uniform(heads, low=0.5, high=2.0).float()
            state[f"{mixer}.norm.weight"] = draw.uniform(inner, low=0.4, high=1.6)
            linear(f"{mixer}.out_proj", hidden, inner, config["use_bias"], gain)
        elif kind == "attention":
            rows, groups = (config[k] * config["head_dim"] for k in ("num_attention_heads", "num_key_value_heads"))
            linear(f"{mixer}.q_proj", rows, hidden)
            linear(f"{mixer}.k_proj", groups, hidden)
            linear(f"{mixer}.v_proj", groups, hidden)
            linear(f"{mixer}.o_proj", hidden, rows, gain=gain)
        elif kind == "mlp":
            linear(f"{mixer}.up_proj", config["intermediate_size"], hidden, config["mlp_bias"])
            linear(f"{mixer}.down_proj", hidden, config["intermediate_size"], config["mlp_bias"], gain * 0.7)
        else:
            width = config.get("moe_latent_size") or hidden
            order = torch.arange(experts).roll(i)
            if config["n_group"] > 1:  # a group stays a group
                order = torch.arange(experts).view(config["n_group"], -1).roll(i, 1).flatten()
            rows = directions[order] * 1.6 + torch.randn(experts, hidden, generator=draw.generator) * 0.02
            # Undo what the norm's weight does to the directions.
            state[f"{mixer}.gate.weight"] = (rows / state[f"{layer}.norm.weight"].float()).bfloat16()
            state[f"{mixer}.gate.e_score_correction_bias"] = draw.uniform(experts, low=-0.05, high=0.05).float()
            for e in range(experts):
                linear(f"{mixer}.experts.{e}.up_proj", config["moe_intermediate_size"], width)
                linear(f"{mixer}.experts.{e}.down_proj", width, config["moe_intermediate_size"], gain=gain * 0.5)
            shared = config["moe_shared_expert_intermediate_size"]
            linear(f"{mixer}.shared_experts.up_proj", shared, hidden)
            linear(f"{mixer}.shared_experts.down_proj", hidden, shared, gain=gain * 0.5)
            if config.get("moe_latent_size"):
                linear(f"{mixer}.fc1_latent_proj", width, hidden)
                linear(f"{mixer}.fc2_latent_proj", hidden, width)
    if experts:
        # Nor do the layers write much over it.
        for name, value in state.items():
            part = name.removesuffix(".weight").rsplit(".", 1)[-1]
            if part in ("out_proj", "o_proj", "fc2_latent_proj") or (part == "down_proj" and len(value) == hidden):
                state[name] = (value.float() - 0.9 * directions.T @ (directions @ value.float())).bfloat16()
    state["backbone.norm_f.weight"] = draw.uniform(hidden, low=0.6, high=1.7)
    if not tied:
        state["lm_head.weight"] = draw.matrix(vocab, hidden, 1.5, 0.1)
    return state


def check_loaded(model, state):
    """Every tensor reached its place. Published names have one tensor an expert, the modules one for all."""
    loaded = {k.replace("model.", "backbone.", 1): v for k, v in model.state_dict().items()}
    for key, value in loaded.items():
        if key.endswith(("experts.up_proj", "experts.down_proj")):
            stem, leaf = key.rsplit(".", 1)
            source = torch.stack([state[f"{stem}.{e}.{leaf}.weight"] for e in range(len(value))])
        else:
            source = state["backbone.embeddings.weight" if key == "lm_head.weight" and key not in state else key]
        assert torch.equal(value.float(), source.float()), key


def exported_config(config, sizes, kept):
    """config.json of the pruned model."""
    out = dict(config)
    mamba2 = config["model_type"] == "mamba2"
    for name, value in sizes.items():
        field = NAMES.get(name)
        if mamba2:
            field = {"mamba_num_heads": "num_heads", "mamba_head_dim": "head_dim"}.get(name, field)
        if field:
            out[field] = value
    layers = [n - 1 for n in kept["num_layers"]]
    if mamba2:
        inner = out["num_heads"] * out["head_dim"]
        assert inner % out["hidden_size"] == 0
        out |= {"expand": inner // out["hidden_size"], "num_hidden_layers": len(layers)}
    if "num_hidden_layers" in out:
        out["num_hidden_layers"] = len(layers)
    if "hybrid_override_pattern" in out:
        out["hybrid_override_pattern"] = "".join(config["hybrid_override_pattern"][i] for i in layers)
    if "layers_block_type" in out:
        out["layers_block_type"] = [config["layers_block_type"][i] for i in layers]
    return out


def check_sensitivity(name, config, folder, tokens, lengths, logits):
    """A case that would pass without the thing it tests is no test: switch each off and see the logits move."""

    def variant(changes, state_change=None):
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            state = load_state(folder)
            if state_change:
                state = {k: state_change(k, v) for k, v in state.items()}
            write(other, config | changes, state)
            return difference(logits_of(load(other), tokens, lengths), logits)

    without = lambda part: variant({}, lambda k, v: v * 0 if part in k else v)
    parts = ["A_log", ".D", "dt_bias", "out_proj.weight", "conv1d.bias", "o_proj", "mixer.down_proj.weight",
             "experts.down_proj", "experts.0.down_proj", "shared_experts.down_proj", "gate.weight", "fc2_latent_proj",
             "in_proj.bias", "out_proj.bias", "up_proj.bias", "down_proj.bias"]
    names = load_state(folder)
    moved = {part: without(part) for part in parts if any(part in key for key in names)}
    moved["norms"] = variant({}, lambda k, v: torch.ones_like(v) if k.endswith("layers.0.norm.weight") else v)
    moved["gated norms"] = variant({}, lambda k, v: torch.ones_like(v) if k.endswith("mixer.norm.weight") else v)
    # What a token leaves behind for later ones: without it every token sees the convolution's window only.
    moved["state"] = variant({}, lambda k, v: v * 0 + 20 if "A_log" in k else v)
    if config.get("time_step_limit", [0])[0] > 0:
        moved["step limit"] = variant({"time_step_limit": [0.0, 1e9]})
    if config["model_type"] == "nemotron_h" and config["mlp_hidden_act"] == "relu2" and {"mlp", "moe"} & set(kinds_in(config)):
        moved["squared ReLU"] = variant({"mlp_hidden_act": "relu"})
    if config.get("routed_scaling_factor", 1.0) != 1.0:
        moved["scaling"] = variant({"routed_scaling_factor": 1.0})
    for what, by in moved.items():
        assert by > 2e-3, f"{name}: {what} moves the logits by {by}"
    return moved


def attempt(name, case, seed):
    draw = Draw(seed)
    config = case["config"]
    folder = HERE / "mamba" / name
    state = checkpoint(config, draw)
    write(folder, config, state)
    model = load(folder)
    check_loaded(model, state)
    kinds = [kind_of(layer.mixer) for layer in base_of(model).layers]
    assert kinds == kinds_in(config)

    lengths = case["rows"]
    tokens = draw.tokens(lengths, config["vocab_size"])
    logits = logits_of(model, tokens, lengths)
    tensors = {"tokens": tokens, "lengths": torch.tensor(lengths), "logits.float32": logits}
    tensors["logits.bfloat16"] = logits_of(load(folder, torch.bfloat16), tokens, lengths)
    rounding = difference(tensors["logits.bfloat16"], logits)
    if rounding > 1.5e-2:
        return None, f"bfloat16 is {rounding:.3g} away from float32"

    statistics = Statistics(model).run(model, tokens, lengths)
    if statistics.gaps and min(statistics.gaps) < ROUTING_GAP:
        return None, f"a routing decision is a close call: {min(statistics.gaps):.2g}"
    importances = statistics.importances()
    tensors |= {f"importance.{k}": v for k, v in importances.items()}
    tensors["importance.num_layers.mb1"] = statistics.layer_scores(1)
    tensors["importance.num_layers.mb2"] = statistics.layer_scores(2)

    prunings, worst = [], 0.0
    for pruning, sizes in case["prunings"].items():
        kept, gap = choose(model.config, kinds, importances, tensors["importance.num_layers.mb1"], sizes)
        if gap is not None and gap < SMALLEST_GAP:
            return None, f"{pruning} has a cut decided by {gap:.2g}"
        with masked(model, kept):
            pruned = logits_of(model, tokens, lengths)
            calls = Statistics(model).run(model, tokens, lengths).gaps
        if calls and min(calls) < 1e-4:
            return None, f"{pruning}: a routing decision is a close call"
        assert torch.equal(logits_of(model, tokens, lengths), logits)
        assert (difference(pruned, logits) > 2e-2) == bool(sizes), f"{name} {pruning}: nothing was cut"
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            write(other, exported_config(config, sizes, kept), sliced(state, model.config, kinds, kept))
            worst = max(worst, difference(logits_of(load(other), tokens, lengths), pruned))
        assert worst < 1e-5, f"{name} {pruning}: the sliced checkpoint is {worst} away from the masked model"
        tensors[f"pruned.{pruning}.logits"] = pruned
        prunings.append({"name": pruning, "export_config": sizes, "kept": kept, "smallest_gap": gap})

    moved = check_sensitivity(name, config, folder, tokens, lengths, logits)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "expected.safetensors")
    expected = {"seed": seed, "tolerance": TOLERANCES, "prunings": prunings}
    (folder / "expected.json").write_text(compact(expected) + "\n")
    least = min((v, k) for k, v in moved.items())
    note = f"bf16 {rounding:.1e}, sliced against masked {worst:.1e}, least moved by {least[1]} ({least[0]:.1e})"
    return sum(f.stat().st_size for f in folder.iterdir()), note


if __name__ == "__main__":
    make_all(sys.argv[1:], CASES, attempt, seeds=60)
