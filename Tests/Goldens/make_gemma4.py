"""Makes Tests/Goldens/gemma4: Gemma 4's text model, in the layout of dense/ (README.md).

    python make_gemma4.py [CASE …]        (no names: all of them)

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0.
"""

import pathlib
import re
import sys
import tempfile

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

import make_moe
from make_dense import TOLERANCES, Draw, compact, difference, make_all, prune_all, write
from make_moe import load
from reference_gemma4 import Gemma4Statistics, borrowers, choose, doubled, masked
from reference_minitron import logits_of

HERE = pathlib.Path(__file__).resolve().parent
SLIDING, FULL = "sliding_attention", "full_attention"
COMMON = dict(
    model_type="gemma4_text", vocab_size=40, intermediate_size=32, num_attention_heads=8, head_dim=8, sliding_window=7,
    max_position_embeddings=256, rms_norm_eps=1e-6, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
THETAS = {FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 400.0},
          SLIDING: {"rope_type": "default", "rope_theta": 50.0}}


def case(config, rows, moves, **prunings):
    return {"config": COMMON | config, "rows": rows, "moves": moves, "prunings": prunings}


CASES = {
    # As Gemma 4 31B: layers that see all tokens have larger and fewer heads, and values from the projection of keys.
    "global": case(
        dict(hidden_size=40, num_hidden_layers=6, num_key_value_heads=4, global_head_dim=16, num_global_key_value_heads=2,
             attention_k_eq_v=True, hidden_size_per_layer_input=0, final_logit_softcapping=8.0, rope_parameters=THETAS,
             layer_types=[SLIDING, FULL, SLIDING, SLIDING, FULL, FULL], use_bidirectional_attention="vision"),
        [30, 21],
        {"window": {"sliding_window": 100}, "softcap": {"final_logit_softcapping": None}, "rope": {"rope_parameters": THETAS | {
            FULL: {"rope_type": "default", "rope_theta": 400.0}}}},
        width={"hidden_size": 33, "ffn_hidden_size": 27, "num_attention_heads": 4},
        depth={"num_layers": 4},
        everything={"hidden_size": 36, "ffn_hidden_size": 24, "num_attention_heads": 4, "num_layers": 5},
        identity={},
    ),
    # As E2B, whose config `transformers` has written: inputs of each layer's own, keys and values of earlier layers, MLPs twice
    # as wide in the layers that read those.
    "shared": case(
        dict(hidden_size=36, num_hidden_layers=7, intermediate_size=28, num_key_value_heads=2, hidden_size_per_layer_input=6,
             vocab_size_per_layer_input=44, num_kv_shared_layers=3, use_double_wide_mlp=True,
             per_layer_config={"2": {"head_dim": 16}, "4": {"head_dim": 16}, "6": {"head_dim": 16}},
             layer_types=[SLIDING, SLIDING, FULL, SLIDING, FULL, SLIDING, FULL],
             rope_parameters={FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 300.0, "factor": 2.0},
                              SLIDING: {"rope_type": "default", "rope_theta": 30.0}}),
        [20, 13],
        {"window": {"sliding_window": 100}, "factor": {"rope_parameters": {
            FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 300.0},
            SLIDING: {"rope_type": "default", "rope_theta": 30.0}}}},
        width={"hidden_size": 29, "ffn_hidden_size": 21, "num_attention_heads": 4},
        depth={"num_layers": 5},
        everything={"hidden_size": 32, "ffn_hidden_size": 20, "num_attention_heads": 6, "num_layers": 4},
        identity={},
    ),
    # As 26B-A4B: a mixture beside the MLP of every layer.
    "mixture": case(
        dict(hidden_size=32, num_hidden_layers=4, num_key_value_heads=2, global_head_dim=16, num_global_key_value_heads=1,
             attention_k_eq_v=True, hidden_size_per_layer_input=0, enable_moe_block=True, num_experts=6, top_k_experts=2,
             moe_intermediate_size=20, layer_types=[SLIDING, FULL, SLIDING, FULL]),
        [20, 15],
        {"window": {"sliding_window": 100}},
        width={"hidden_size": 27, "ffn_hidden_size": 25, "num_attention_heads": 4, "moe_ffn_hidden_size": 15},
        depth={"num_layers": 3},
        experts={"num_moe_experts": 4},
        everything={"hidden_size": 28, "ffn_hidden_size": 24, "num_attention_heads": 6, "num_layers": 3, "num_moe_experts": 5,
                    "moe_ffn_hidden_size": 16},
        identity={},
    ),
    # What the larger models leave out: biases, a head of its own, heads of one size, inputs of each layer's own alone.
    "plain": case(
        dict(hidden_size=36, num_hidden_layers=5, num_key_value_heads=4, global_head_dim=8, hidden_size_per_layer_input=4,
             vocab_size_per_layer_input=40, attention_bias=True, tie_word_embeddings=False, hidden_activation="silu",
             layer_types=[SLIDING, FULL, SLIDING, SLIDING, FULL]),
        [30, 23],
        {"window": {"sliding_window": 100}},
        width={"hidden_size": 31, "ffn_hidden_size": 27, "num_attention_heads": 4},
        depth={"num_layers": 3},
        everything={"hidden_size": 33, "ffn_hidden_size": 24, "num_attention_heads": 4, "num_layers": 4},
        identity={},
    ),
}


def checkpoint(config, draw):
    """Weights for every parameter of the published module and its factors of layers, tied ones once."""
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), config, {})
        settings = AutoConfig.from_pretrained(folder)
    state = {}
    for name, parameter in AutoModelForCausalLM.from_config(settings).state_dict().items():
        shape = tuple(parameter.shape)
        layer = int(found[1]) if (found := re.search(r"layers\.(\d+)\.", name)) else 0
        gain = 0.2 + 0.12 * ((layer * 7 + 3) % 5)  # layers of clearly different weight in the residual stream
        if name == "lm_head.weight":
            if not settings.tie_word_embeddings:
                state[name] = draw.matrix(*shape, 1.5, 0.1)
        elif "embed_tokens_per_layer" in name:
            state[name] = draw.normal(*shape, std=0.4)
        elif "embed_tokens" in name:
            state[name] = draw.normal(*shape, std=shape[1] ** -0.5)
        elif name.endswith("layer_scalar"):
            state[name] = draw.uniform(*shape, low=0.6, high=1.3)
        elif name.endswith(".bias"):
            state[name] = draw.normal(*shape, std=0.2)
        elif name.endswith("router.scale"):
            state[name] = draw.uniform(*shape, low=0.4, high=1.6) * settings.hidden_size**0.5
        elif re.search(r"experts\.\w+$", name):
            gains = [0.6 + 0.15 * ((e * 5 + layer) % 7) for e in range(shape[0])]
            state[name] = torch.stack([draw.matrix(*shape[1:], g) for g in gains])
        elif len(shape) == 1:
            # Scores are not divided by the root of head_dim here: norms of queries and keys are small instead.
            low, high = {"q_norm": (0.2, 0.6), "k_norm": (0.2, 0.6)}.get(name.split(".")[-2], (0.4, 1.6))
            if re.search(r"post_(attention|feedforward|per_layer_input)_\w*norm\.", name):
                low, high = gain * 0.3, gain * 0.9
            state[name] = draw.uniform(*shape, low=low, high=high)
        else:
            state[name] = draw.matrix(*shape, 1.0)
    return {k: v.contiguous() for k, v in state.items()}


# Axes, by the end of names: H hidden, Q heads' channels, F the MLP's, E experts, M their channels, J both of their projections,
# L each layer's part of what has one for all; "" is left whole.
AXES = [
    (r"embed_tokens\.weight|lm_head\.weight", ["", "H"]), (r"embed_tokens_per_layer\.weight", ["", "L"]),
    (r"per_layer_model_projection\.weight", ["L", "H"]), (r"per_layer_projection_norm\.weight", [""]),
    (r"per_layer_input_gate\.weight", ["", "H"]), (r"per_layer_projection\.weight", ["H", ""]),
    (r"q_proj\.weight", ["Q", "H"]), (r"q_proj\.bias", ["Q"]), (r"[kv]_proj\.weight", ["", "H"]), (r"[kv]_proj\.bias", [""]),
    (r"o_proj\.weight", ["H", "Q"]), (r"o_proj\.bias", ["H"]), (r"[qk]_norm\.weight", [""]),
    (r"mlp\.(gate|up)_proj\.weight", ["F", "H"]), (r"mlp\.down_proj\.weight", ["H", "F"]),
    (r"router\.proj\.weight", ["E", "H"]), (r"router\.scale", ["H"]), (r"router\.per_expert_scale", ["E"]),
    (r"experts\.gate_up_proj", ["E", "J", "H"]), (r"experts\.down_proj", ["E", "H", "M"]),
    (r"layer_scalar", [""]), (r"\w*norm(_[12])?\.weight", ["H"]),
]


def sliced(state, model, kept):
    config, layers = model.config, [n - 1 for n in kept["num_layers"]]

    def indices_of(layer):
        width, dim = config.moe_intermediate_size, model.model.layers[layer].self_attn.head_dim
        channels, inputs = kept.get("moe_ffn_hidden_size", {layer: []})[layer], config.hidden_size_per_layer_input
        return {
            "": None, "H": kept["hidden_size"],
            "F": kept["double_ffn_channels" if doubled(model)[layer] else "ffn_hidden_size"][layer],
            "Q": [h * dim + d for h in kept["num_attention_heads"][layer] for d in range(dim)],
            "E": kept.get("num_moe_experts", {layer: []})[layer], "M": channels, "J": channels + [(width or 0) + c for c in channels],
            "L": [i * inputs + c for i in layers for c in range(inputs)],
        }

    out = make_moe.by_axes(state, kept, AXES, indices_of)
    # Another way than the program's to keep the embeddings' size: in themselves, the final norm and what reads them.
    ratio = (config.hidden_size / len(kept["hidden_size"])) ** 0.5
    if ratio != 1:
        out = {k: v.float() for k, v in out.items()}
        out["model.embed_tokens.weight"] *= ratio
        if config.tie_word_embeddings:
            out["model.norm.weight"] /= ratio
        for name in out:
            if name.endswith(("per_layer_model_projection.weight", "router.scale")):
                out[name] /= ratio
    return out


def exported_config(config, kept, model):
    layers = [n - 1 for n in kept["num_layers"]]
    size = lambda name: max(len(row) for row in kept[name])
    out = dict(config) | {
        "hidden_size": len(kept["hidden_size"]), "num_hidden_layers": len(layers), "intermediate_size": size("ffn_hidden_size"),
        "num_attention_heads": size("num_attention_heads"), "layer_types": [model.config.layer_types[i] for i in layers],
    }
    if "num_moe_experts" in kept:
        out |= {"num_experts": size("num_moe_experts"), "moe_intermediate_size": size("moe_ffn_hidden_size")}
    if "num_kv_shared_layers" in config:
        out["num_kv_shared_layers"] = sum(borrowers(model)[i] for i in layers)
    if "per_layer_config" in config:
        own = config["per_layer_config"]
        out["per_layer_config"] = {str(at): own[str(i)] for at, i in enumerate(layers) if str(i) in own}
    return out


def choices(model, row):
    """Every token's experts in every layer, for one row [1, S]: with the router's input a little apart, too."""
    seen, handles = [], []
    for layer in model.model.layers:
        handles.append(layer.router.register_forward_pre_hook(lambda m, args: seen.append((m, args[0]))))
    model.model(input_ids=row, use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


def steady_rows(model, rounded, rows, vocab, draw):
    """Tokens [B, S] of rows whose tokens' experts are not decided by a hair; None where too few are found."""
    experts = lambda router, x: router(x)[2].sort(-1).values
    found = []
    for _ in range(make_moe.POOL):
        row = torch.randint(vocab, (1, rows[0]), generator=draw.generator)
        wide = choices(model, row)
        noise = lambda x: x * (1 + make_moe.NOISE * torch.randn(x.shape, generator=draw.generator))
        if (all(torch.equal(experts(router, x), experts(router, noise(x))) for router, x in wide for _ in range(3))
                and all(torch.equal(experts(*a), experts(*b)) for a, b in zip(wide, choices(rounded, row)))):
            found.append(row)
        if len(found) == len(rows):
            tokens = torch.cat(found)
            for b, length in enumerate(rows):
                tokens[b, length:] = 0
            return tokens
    return None


def attempt(name, case, seed):
    draw, config = Draw(seed), case["config"]
    folder = HERE / "gemma4" / name
    state = checkpoint(config, draw)
    write(folder, config, state)
    model, rounded, lengths = load(folder), load(folder, torch.bfloat16), case["rows"]
    if model.config.enable_moe_block:
        tokens = steady_rows(model, rounded, lengths, config["vocab_size"], draw)
        if tokens is None:
            return None, "too few rows with steady routes"
    else:
        tokens = draw.tokens(lengths, config["vocab_size"])
    logits = logits_of(model, tokens, lengths)
    tensors = {"tokens": tokens, "lengths": torch.tensor(lengths), "logits.float32": logits}
    tensors["logits.bfloat16"] = logits_of(rounded, tokens, lengths)
    rounding = difference(tensors["logits.bfloat16"], logits)
    if rounding > 1.2e-2:
        return None, f"bfloat16 is {rounding:.3g} away from float32"
    statistics = Gemma4Statistics(model).run(model, tokens, lengths)
    importances = statistics.importances()
    tensors |= {f"importance.{k}": v for k, v in importances.items()}
    for rows in (1, 2):
        tensors[f"importance.num_layers.mb{rows}"] = statistics.layer_scores(rows)

    found = prune_all(
        name, case, model, (importances, tensors["importance.num_layers.mb1"]), lambda m: logits_of(m, tokens, lengths), choose, masked,
        lambda kept: (exported_config(config, kept, model), sliced(state, model, kept)), load)
    if isinstance(found, str):
        return None, found
    prunings, pruned, worst = found
    tensors |= pruned

    least = (1.0, "")
    parts = sorted({k.split(".layers.")[-1].split(".", 1)[-1] for k in state})
    for what, changes, part in [(k, v, None) for k, v in case["moves"].items()] + [(part, {}, part) for part in parts]:
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            changed = {k: (v * 0 if part and k.endswith(part) else v) for k, v in state.items()}
            write(other, config | changes, changed)
            by = difference(logits_of(load(other), tokens, lengths), logits)
        if part != "self_attn.k_proj.bias":  # moves no score relative to another but through positions
            assert by > 2e-3, f"{name}: {what} moves the logits by {by}"
            least = min(least, (by, what))
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(
        compact({"seed": seed, "tolerance": TOLERANCES, "prunings": prunings}) + "\n")
    note = f"bf16 {rounding:.1e}, sliced against masked {worst:.1e}, least moved {least[1]} {least[0]:.1e}"
    return sum(f.stat().st_size for f in folder.iterdir()), note


if __name__ == "__main__":
    make_all(sys.argv[1:], CASES, attempt, seeds=60)
