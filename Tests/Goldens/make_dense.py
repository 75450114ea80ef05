"""Makes Tests/Goldens/dense: tiny random checkpoints and what PyTorch and transformers compute from them.

    python make_dense.py [CASE …]        (no names: all of them)

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0. See README.md for the tensors.
"""

import json
import logging
import math
import pathlib
import sys
import tempfile
import zlib

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from dense_cases import CASES
from reference_minitron import Statistics, choose, head_dim_of, logits_of, masked, sliced

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCES = {
    "logits.float32": 1e-4,  # of the largest |logit|
    "logits.bfloat16": 2e-2,  # of the largest |logit|
    "importance": 1e-5,  # relative
    "importance.num_layers": 1e-6,  # absolute
    "pruned.logits": 1e-4,  # of the largest |logit|
}
SMALLEST_GAP = 2e-4  # between the last part kept and the first dropped, so that rounding cannot change a choice


class Draw:
    """Random tensors whose values bfloat16 holds exactly."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape, std=1.0):
        return torch.randn(*shape, generator=self.generator).mul(std).bfloat16()

    def uniform(self, *shape, low, high):
        return torch.rand(*shape, generator=self.generator).mul(high - low).add(low).bfloat16()

    def matrix(self, rows, columns, gain=1.0, spread=0.25):
        """Variance-keeping up to `gain`, rows of unequal size so that some channels matter more than others."""
        weight = torch.randn(rows, columns, generator=self.generator) * gain / math.sqrt(columns)
        scale = torch.exp(spread * torch.randn(rows, 1, generator=self.generator))
        return (weight * scale).bfloat16()

    def tokens(self, rows, vocab):
        tokens = torch.randint(vocab, (len(rows), rows[0]), generator=self.generator)
        for b, length in enumerate(rows):
            tokens[b, length:] = 0
        return tokens


def checkpoint(config, draw):
    """Weights under their published names, from a config.json's own fields."""
    hidden, ffn, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    dim = config.get("head_dim") or hidden // heads
    family = config["model_type"]
    qkv_bias = family == "qwen2" or config.get("attention_bias", False)
    o_bias = family != "qwen2" and config.get("attention_bias", False)
    mlp_bias = config.get("mlp_bias", False)
    tied = config["tie_word_embeddings"]
    state = {"model.embed_tokens.weight": draw.normal(config["vocab_size"], hidden, std=0.5 if tied else 1.0)}

    def linear(name, rows, columns, bias, gain=1.0):
        state[f"{name}.weight"] = draw.matrix(rows, columns, gain)
        if bias:
            state[f"{name}.bias"] = draw.normal(rows, std=0.2)

    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        gain = 0.2 + 0.12 * ((i * 7 + 3) % 5)  # layers of clearly different weight in the residual stream
        linear(f"{layer}.self_attn.q_proj", heads * dim, hidden, qkv_bias, 1.0)
        linear(f"{layer}.self_attn.k_proj", groups * dim, hidden, qkv_bias, 1.0)
        linear(f"{layer}.self_attn.v_proj", groups * dim, hidden, qkv_bias)
        linear(f"{layer}.self_attn.o_proj", hidden, heads * dim, o_bias, gain)
        if family == "qwen3":
            for name in ("q_norm", "k_norm"):
                state[f"{layer}.self_attn.{name}.weight"] = draw.uniform(dim, low=0.6, high=1.9)
        linear(f"{layer}.mlp.gate_proj", ffn, hidden, mlp_bias, 1.1)
        linear(f"{layer}.mlp.up_proj", ffn, hidden, mlp_bias)
        linear(f"{layer}.mlp.down_proj", hidden, ffn, mlp_bias, gain)
        for name in ("input_layernorm", "post_attention_layernorm"):
            state[f"{layer}.{name}.weight"] = draw.uniform(hidden, low=0.4, high=1.6)
    state["model.norm.weight"] = draw.uniform(hidden, low=0.6, high=1.7)
    if not tied:
        state["lm_head.weight"] = draw.matrix(config["vocab_size"], hidden, 1.5, 0.1)
    return state


def write(folder, config, state):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def load(folder, dtype=torch.float32):
    """The model as its users load it; anything short of a perfect fit is an error."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", output_loading_info=True
    )
    wrong = {k: v for k, v in info.items() if v}
    assert not wrong, f"{folder}: {wrong}"
    return model.eval()


def difference(a, b):
    return float((a - b).abs().max() / b.abs().max())


def exported_config(config, sizes, kept, model_config):
    """config.json of the pruned model: every changed field, and the ones that its shape no longer implies."""
    out = dict(config) | {
        "hidden_size": len(kept["hidden_size"]),
        "intermediate_size": len(kept["ffn_hidden_size"][0]),
        "num_attention_heads": len(kept["num_attention_heads"][0]),
        "num_key_value_heads": model_config.num_key_value_heads,
        "head_dim": head_dim_of(model_config),
        "num_hidden_layers": len(kept["num_layers"]),
    }
    if config["model_type"].startswith("qwen") or "layer_types" in config:
        out["layer_types"] = [model_config.layer_types[n - 1] for n in kept["num_layers"]]
    for name, value in sizes.items():
        assert out[{"ffn_hidden_size": "intermediate_size", "num_layers": "num_hidden_layers"}.get(name, name)] == value
    return out


def check_sensitivity(name, config, folder, tokens, lengths, logits):
    """A case that would pass without the thing it tests is no test: switch each off and see the logits move."""

    def variant(changes, state_change=None):
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            changed = {k: v for k, v in (config | changes).items() if v != "absent"}
            state = load_state(folder)
            if state_change:
                state = {k: state_change(k, v) for k, v in state.items()}
            write(other, changed, state)
            return difference(logits_of(load(other), tokens, lengths), logits)

    moved = {}
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    theta = (config.get("rope_parameters") or config).get("rope_theta", 10000.0)
    if rope and rope.get("rope_type", rope.get("type")) != "default":
        plain = {"rope_parameters": {"rope_type": "default", "rope_theta": theta}, "rope_scaling": "absent",
                 "rope_theta": "absent"}
        moved["rope type"] = variant(plain)
    if config.get("sliding_window"):
        moved["window"] = variant({"sliding_window": 1000})
    half = lambda part: lambda k, v: v * 0 if part in k else v
    moved["attention"] = variant({}, half("o_proj"))
    moved["mlp"] = variant({}, half("down_proj"))
    moved["norms"] = variant({}, lambda k, v: torch.ones_like(v) if "norm" in k else v)
    for part in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"):
        if any(f"{part}.bias" in k for k in load_state(folder)):
            moved[f"{part}.bias"] = variant({}, half(f"{part}.bias"))
    for what, by in moved.items():
        silent = (name == "llama_dynamic_within" and what == "rope type") or (
            what == "window" and config.get("use_sliding_window") is False
        )
        assert (by < 1e-6) if silent else (by > 5e-3), f"{name}: {what} moves the logits by {by}"
    return moved


def load_state(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def compact(value, indent=0):
    """JSON with one line for whatever fits in one, so that lists of indices read as lists."""
    flat = json.dumps(value)
    if len(flat) + indent <= 118 or not isinstance(value, (dict, list)):
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{pad}{json.dumps(k)}: {compact(v, indent + 2)}" for k, v in value.items()]
        return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
    if not any(isinstance(v, (dict, list)) for v in value):
        return flat
    return "[\n" + ",\n".join(pad + compact(v, indent + 2) for v in value) + "\n" + " " * indent + "]"


def attempt(name, case, seed):
    draw = Draw(seed)
    config = case["config"]
    folder = HERE / "dense" / name
    state = checkpoint(config, draw)
    write(folder, config, state)
    model = load(folder)
    for key, value in model.state_dict().items():
        source = "model.embed_tokens.weight" if key == "lm_head.weight" and key not in state else key
        assert torch.equal(value, state[source].float()), key

    lengths = case["rows"]
    tokens = draw.tokens(lengths, config["vocab_size"])
    logits = logits_of(model, tokens, lengths)
    tensors = {"tokens": tokens, "lengths": torch.tensor(lengths), "logits.float32": logits}
    tensors["logits.bfloat16"] = logits_of(load(folder, torch.bfloat16), tokens, lengths)
    rounding = difference(tensors["logits.bfloat16"], logits)
    if rounding > 1.5e-2:
        return None, f"bfloat16 is {rounding:.3g} away from float32"

    statistics = Statistics(model).run(model, tokens, lengths)
    importances = statistics.importances()
    tensors |= {f"importance.{k}": v for k, v in importances.items()}
    tensors["importance.num_layers.mb1"] = statistics.layer_scores(1)
    tensors["importance.num_layers.mb2"] = statistics.layer_scores(2)

    prunings, worst = [], 0.0
    for pruning, sizes in case["prunings"].items():
        kept, gap = choose(model.config, importances, tensors["importance.num_layers.mb1"], sizes)
        if gap is not None and gap < SMALLEST_GAP:
            return None, f"{pruning} has a cut decided by {gap:.2g}"
        with masked(model, kept):
            pruned = logits_of(model, tokens, lengths)
        assert torch.equal(logits_of(model, tokens, lengths), logits)
        assert (difference(pruned, logits) > 5e-2) == bool(sizes), f"{name} {pruning}: nothing was cut"
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            write(other, exported_config(config, sizes, kept, model.config), sliced(state, model.config, kept))
            worst = max(worst, difference(logits_of(load(other), tokens, lengths), pruned))
        assert worst < 1e-5, f"{name} {pruning}: the sliced checkpoint is {worst} away from the masked model"
        tensors[f"pruned.{pruning}.logits"] = pruned
        prunings.append({"name": pruning, "export_config": sizes, "kept": kept, "smallest_gap": gap})

    moved = check_sensitivity(name, config, folder, tokens, lengths, logits)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "expected.safetensors")
    expected = {"seed": seed, "tolerance": TOLERANCES, "prunings": prunings}
    (folder / "expected.json").write_text(compact(expected) + "\n")
    least = min((v, k) for k, v in moved.items() if v > 1e-6)
    note = f"bf16 {rounding:.1e}, sliced against masked {worst:.1e}, least moved by {least[1]} ({least[0]:.1e})"
    return sum(f.stat().st_size for f in folder.iterdir()), note


def prune_all(name, case, model, scores, logits_of, choose, masked, exported, load=load):
    """Every pruning of a case: the model with masks, and the same as a checkpoint, which has to give the same.

    `scores` are importances and those of layers, `logits_of(model)` computes, `exported(kept)` gives a config and its tensors. Returns
    what is expected of each pruning, the tensors, and the largest difference; or why these weights will not do.
    """
    logits, prunings, tensors, worst = logits_of(model), [], {}, 0.0
    for pruning, sizes in case["prunings"].items():
        kept, gap = choose(model, *scores, sizes)
        if gap is not None and gap < SMALLEST_GAP:
            return f"{pruning} has a cut decided by {gap:.2g}"
        with masked(model, kept):
            pruned = logits_of(model)
        assert torch.equal(logits_of(model), logits)
        moved = difference(pruned, logits)
        assert (moved > 2e-2) == bool(sizes), f"{name} {pruning}: moved by {moved}"
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            write(other, *exported(kept))
            worst = max(worst, difference(logits_of(load(other)), pruned))
        if worst > 1e-5:
            return f"{pruning}: the sliced checkpoint is {worst:.2g} away from the masked model"
        tensors[f"pruned.{pruning}.logits"] = pruned
        prunings.append({"name": pruning, "export_config": sizes, "kept": kept, "smallest_gap": gap})
    return prunings, tensors, worst


def make_all(names, cases, attempt, seeds):
    """Makes the goldens of these cases (all of them where none is named), each with the first seed that serves."""
    disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for name in names or cases:
        for retry in range(seeds):
            size, note = attempt(name, cases[name], zlib.crc32(name.encode()) + retry)
            if size:
                break
            print(f"{name}: seed + {retry} passed over: {note}", flush=True)
        assert size, f"{name}: no seed serves"
        print(f"{name}: {size} bytes{'' if size < 250_000 else ' (TOO MANY)'}, {note}", flush=True)


if __name__ == "__main__":
    make_all(sys.argv[1:], CASES, attempt, seeds=20)
