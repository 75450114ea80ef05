"""Makes Tests/Goldens/nemotron_nas: Llama whose layers differ, in the layout of dense/ (README.md).

    python make_nemotron_nas.py [CASE …]        (no names: all of them)

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0, whose Llama modules reference_nemotron_nas.py puts
together.
"""

import copy
import pathlib
import re
import sys
import tempfile

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

import make_moe
from make_dense import TOLERANCES, Draw, compact, difference, load, make_all, prune_all, write
from reference_minitron import head_dim_of, logits_of
from reference_nemotron_nas import NASStatistics, attention_of, choose, ffn_width, masked

HERE = pathlib.Path(__file__).resolve().parent
COMMON = dict(
    architectures=["DeciLMForCausalLM"], model_type="nemotron-nas", vocab_size=40, intermediate_size=None,
    num_key_value_heads=None, max_position_embeddings=256, rms_norm_eps=1e-5, hidden_act="silu", bos_token_id=1, eos_token_id=2,
    pad_token_id=None,
)


def block(attention, ffn):
    """An entry as published models have it; None for what a layer lacks."""
    whole = dict(no_op=False, replace_with_linear=False, sparsify=None)
    sinks = dict(num_sink_tokens=None, unshifted_sink=False, use_prefill_window_in_sink_attention=False, window_length=None)
    gone = dict(no_op=True)
    return {
        "attention": whole | sinks | dict(n_heads_in_group=None) | (gone if attention is None else attention),
        "ffn": whole | (dict(ffn_mult=None) | gone if ffn is None else ffn),
    }


LINEAR = dict(replace_with_linear=True)
group = lambda count: dict(n_heads_in_group=count)
mult = lambda factor: dict(ffn_mult=factor)
# As newer versions of NVIDIA's tools write it.
width = lambda count, **more: dict(intermediate_size=count, gated=True, moe=None) | more

CASES = {
    # As Super 49B and Ultra 253B, whose layers may lack both; widths of 256 and 512.
    "nemotron_nas": {
        "config": COMMON | dict(
            hidden_size=24, num_hidden_layers=5, num_attention_heads=8, head_dim=4, tie_word_embeddings=False, mlp_bias=False,
            attention_bias=False, rope_theta=300.0, rope_scaling=dict(
                factor=8.0, high_freq_factor=4.0, low_freq_factor=1.0, original_max_position_embeddings=16, rope_type="llama3"),
            block_configs=[block(group(2), mult(5.25)), block(None, mult(16.5)), block(group(4), None), block(None, None),
                           block(group(8), mult(1.3125))]),
        "rows": [24, 17],
        "moves": {"rope": {"rope_scaling": None}},
        "prunings": dict(
            width={"hidden_size": 19, "num_attention_heads": 4}, depth={"num_layers": 3},
            everything={"hidden_size": 21, "num_attention_heads": 4, "num_layers": 4}, identity={}),
    },
    # Linear maps in the place of attention and of an MLP, widths as such, biases, a tied head, an activation of a layer's own.
    "nemotron_nas_linear": {
        "config": COMMON | dict(
            hidden_size=32, num_hidden_layers=6, num_attention_heads=4, tie_word_embeddings=True, mlp_bias=True,
            attention_bias=True, rope_theta=100.0,
            block_configs=[block(group(2), width(40)), block(LINEAR, width(24, hidden_act="gelu")), block(group(4), LINEAR),
                           block(None, width(56)), block(group(2), None), block(LINEAR, LINEAR)]),
        "rows": [24, 19],
        "moves": {"rope": {"rope_theta": 1e6}},
        "prunings": dict(
            width={"hidden_size": 27, "num_attention_heads": 2}, depth={"num_layers": 4},
            everything={"hidden_size": 28, "num_attention_heads": 2, "num_layers": 5}, identity={}),
    },
}
# Axes, by the end of names: H hidden, Q heads' channels; "" is left whole.
AXES = [
    (r"embed_tokens\.weight|lm_head\.weight", ["", "H"]), (r"linear_(attn|mlp)\.weight", ["H", "H"]),
    (r"q_proj\.weight", ["Q", "H"]), (r"q_proj\.bias", ["Q"]), (r"o_proj\.weight", ["H", "Q"]),
    (r"(k|v|gate|up)_proj\.weight", ["", "H"]), (r"(k|v|gate|up)_proj\.bias", [""]), (r"down_proj\.weight", ["H", ""]),
    (r"(o|down)_proj\.bias|norm\.weight", ["H"]),
]


def checkpoint(config, draw):
    """Weights for every parameter of the reference, tied ones once."""
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), config, {})
        settings = AutoConfig.from_pretrained(folder)
    state = {}
    for name, parameter in AutoModelForCausalLM.from_config(settings).state_dict().items():
        shape = tuple(parameter.shape)
        layer = int(found[1]) if (found := re.search(r"layers\.(\d+)\.", name)) else 0
        if name == "lm_head.weight":
            if not settings.tie_word_embeddings:
                state[name] = draw.matrix(*shape, 1.5, 0.1)
        elif "embed_tokens" in name:
            state[name] = draw.normal(*shape, std=0.5 if settings.tie_word_embeddings else 1.0)
        elif name.endswith(".bias"):
            state[name] = draw.normal(*shape, std=0.2)
        elif len(shape) == 1:
            state[name] = draw.uniform(*shape, low=0.4, high=1.6)
        else:
            # Layers of clearly different weight in the residual stream.
            writes = name.split(".")[-2] in ("o_proj", "down_proj", "linear_attn", "linear_mlp")
            state[name] = draw.matrix(*shape, 0.2 + 0.12 * ((layer * 7 + 3) % 5) if writes else 1.0)
    return state


def sliced(state, model, kept):
    dim = head_dim_of(model.config)
    return make_moe.by_axes(state, kept, AXES, lambda layer: {
        "": None, "H": kept["hidden_size"], "Q": [h * dim + d for h in kept["num_attention_heads"][layer] for d in range(dim)]})


def exported_config(config, model, kept):
    layers = [n - 1 for n in kept["num_layers"]]
    heads = max(map(len, kept["num_attention_heads"]))
    out = copy.deepcopy(config) | {"hidden_size": len(kept["hidden_size"]), "num_attention_heads": heads,
                                   "head_dim": head_dim_of(model.config), "num_hidden_layers": len(layers)}
    out["block_configs"] = [out["block_configs"][i] for i in layers]
    for i, entry in zip(layers, out["block_configs"]):
        if attention := attention_of(model.model.layers[i]):
            entry["attention"]["n_heads_in_group"] = heads * attention.num_key_value_groups // config["num_attention_heads"]
        if entry["ffn"].get("ffn_mult") is not None:
            was = ffn_width(entry["ffn"], config["hidden_size"])
            # The published factors' way: just the width.
            entry["ffn"]["ffn_mult"] = 3 * was / out["hidden_size"] / 2 - 1e-9
            assert ffn_width(entry["ffn"], out["hidden_size"]) == was
    return out


def attempt(name, case, seed):
    draw, config = Draw(seed), case["config"]
    folder = HERE / "nemotron_nas" / name
    state = checkpoint(config, draw)
    write(folder, config, state)
    model, lengths = load(folder), case["rows"]
    tokens = draw.tokens(lengths, config["vocab_size"])
    logits = logits_of(model, tokens, lengths)
    tensors = {"tokens": tokens, "lengths": torch.tensor(lengths), "logits.float32": logits}
    tensors["logits.bfloat16"] = logits_of(load(folder, torch.bfloat16), tokens, lengths)
    rounding = difference(tensors["logits.bfloat16"], logits)
    if rounding > 1.2e-2:
        return None, f"bfloat16 is {rounding:.3g} away from float32"
    statistics = NASStatistics(model).run(model, tokens, lengths)
    importances = statistics.importances()
    tensors |= {f"importance.{k}": v for k, v in importances.items()}
    for rows in (1, 2):
        tensors[f"importance.num_layers.mb{rows}"] = statistics.layer_scores(rows)

    found = prune_all(
        name, case, model, (importances, tensors["importance.num_layers.mb1"]), lambda m: logits_of(m, tokens, lengths), choose, masked,
        lambda kept: (exported_config(config, model, kept), sliced(state, model, kept)))
    if isinstance(found, str):
        return None, found
    prunings, pruned, worst = found
    tensors |= pruned

    least = (1.0, "")
    for what, changes in [(k, v) for k, v in case["moves"].items()] + [(k, {}) for k in state]:
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            write(other, config | changes, {k: v * 0 if k == what else v for k, v in state.items()})
            by = difference(logits_of(load(other), tokens, lengths), logits)
        if not what.endswith("k_proj.bias"):  # moves no score relative to another but through positions
            if by < 2e-3:
                return None, f"{what} moves the logits by {by}"
            least = min(least, (by, what))
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(compact({"seed": seed, "tolerance": TOLERANCES, "prunings": prunings}) + "\n")
    note = f"bf16 {rounding:.1e}, sliced against masked {worst:.1e}, least moved {least[1]} {least[0]:.1e}"
    return sum(f.stat().st_size for f in folder.iterdir()), note


if __name__ == "__main__":
    make_all(sys.argv[1:], CASES, attempt, seeds=40)
