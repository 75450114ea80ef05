"""Makes Tests/Goldens/moe: mixtures of experts, in the layout of dense/ (README.md).

    python make_moe.py [CASE …]        (no names: all of them)

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0. Rows are picked so that no token's
experts are decided by a hair: rounding to bfloat16 must not send it elsewhere.
"""

import pathlib
import re
import sys
import tempfile

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from make_dense import SMALLEST_GAP, TOLERANCES, Draw, compact, difference, make_all, write
from moe_cases import CASES
from reference_minitron import head_dim_of, logits_of
from reference_moe import (
    AXES, GROUPED, IN_SMALL, NORMS_SPAN_HEADS, MoEStatistics, choose, is_latent, masked, matrix_of, original_sizes, parts,
    route, sparsely_mixed,
)

HERE = pathlib.Path(__file__).resolve().parent
POOL = 500  # rows to pick from
ROUNDING = 8e-3  # of a row's largest logit, the most that computing in bfloat16 may move it
BY_NUMBER = ("mixtral", "minimax_m2", "phimoe")  # projections are w1, w2, w3
NOISE = 0.015  # (a case may ask for more) of the router's input, per channel, that must not change a choice


def load(folder, dtype=torch.float32):
    """The model as its users load it; anything short of a perfect fit is an error. Experts one after another: the
    grouped kernels want sizes that tiny models do not have."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
    )
    wrong = {k: v for k, v in info.items() if v}
    assert not wrong, f"{folder}: {wrong}"
    return model.eval()


def published(config, name, shape):
    """The names and shapes under which a module's parameter is published: experts one by one, but in gpt-oss."""
    if config["model_type"] in BY_NUMBER:
        name = name.replace(".mlp.router.", ".mlp.gate.").replace(".mlp.", ".block_sparse_moe.")
    name = name.replace(".gate.moe_statics.", ".moe_statics.")
    fused = re.fullmatch(r"(.*experts)\.(gate_up|down)_proj", name)
    if not fused or config["model_type"] in ("gpt_oss", "qwen3_5_moe_text"):
        return [(name, shape)]
    by_number = config["model_type"] in BY_NUMBER
    gate, up, down = ("w1", "w3", "w2") if by_number else ("gate_proj", "up_proj", "down_proj")
    rows = (shape[1] // 2 if fused[2] == "gate_up" else shape[1], shape[2])
    members = (gate, up) if fused[2] == "gate_up" else (down,)
    return [(f"{fused[1]}.{e}.{member}.weight", rows) for e in range(shape[0]) for member in members]


def checkpoint(config, draw):
    """Weights for every parameter of the published module, tied ones once."""
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), config, {})
        settings = AutoConfig.from_pretrained(folder)
    tied = config["tie_word_embeddings"]
    state = {}
    for key, parameter in AutoModelForCausalLM.from_config(settings).state_dict().items():
        for name, shape in published(config, key, tuple(parameter.shape)):
            layer = int(name.split(".layers.")[1].split(".")[0]) if ".layers." in name else 0
            gain = 0.2 + 0.12 * ((layer * 7 + 3) % 5)  # layers of clearly different weight in the residual stream
            if name == "lm_head.weight":
                if not tied:
                    state[name] = draw.matrix(*shape, 1.5, 0.1)
            elif "embed_tokens" in name:
                state[name] = draw.normal(*shape, std=0.5 if tied else 1.0)
            elif name.endswith("e_score_correction_bias"):
                # Kept in float32, and finer than bfloat16: rounding it would send tokens elsewhere.
                state[name] = draw.normal(*shape).float() * 0.1 + draw.normal(*shape).float() * 1e-4
                if config["model_type"] == "minimax_m2":  # the published module rounds it with the rest
                    state[name] = state[name].bfloat16().float()
            elif name.endswith("sinks"):
                state[name] = draw.normal(*shape, std=1.5)
            elif name.endswith(("bias", "experts.gate_up_proj_bias")):
                state[name] = draw.normal(*shape, std=0.2)
            elif re.search(r"(gate|router|wg)\.weight$", name):
                state[name] = draw.matrix(*shape, 1.0, 0.1)
            elif config["model_type"] == "qwen3_5_moe_text" and re.search(r"experts\.\w+$", name):
                gains = [1.1 if "up" in name else gain * (0.6 + 0.15 * ((e * 5 + layer) % 7)) for e in range(shape[0])]
                state[name] = torch.stack([draw.matrix(*shape[1:], g) for g in gains])
            elif name.endswith("experts.gate_up_proj"):
                state[name] = torch.stack([draw.matrix(shape[2], shape[1], 1.1).T for _ in range(shape[0])])
            elif name.endswith("experts.down_proj"):
                size = [0.6 + 0.15 * ((e * 5 + layer) % 7) for e in range(shape[0])]
                state[name] = torch.stack([draw.matrix(shape[2], shape[1], gain * s).T for s in size])
            elif len(shape) == 1:
                state[name] = draw.uniform(*shape, low=0.4, high=1.6)
            else:
                writes = re.search(r"(o_proj|down_proj|w2)\.weight$", name)
                expert = re.search(r"experts\.(\d+)\.", name)
                size = 0.6 + 0.15 * ((int(expert[1]) * 5 + layer) % 7) if expert else 1.0
                state[name] = draw.matrix(*shape, gain * size if writes else 1.1)
    return {k: v.contiguous() for k, v in state.items()}


def router_inputs(model, tokens):
    """Per layer with experts its router and what it reads, for one row [1, S]."""
    seen, handles = [], []
    for layer in model.model.layers:
        if (found := parts(layer)) is not None:
            handles.append(found[0].register_forward_pre_hook(lambda m, a: seen.append((m, a[0].reshape(-1, a[0].shape[-1])))))
    model.model(input_ids=tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


def choices(config, router, x):
    if config.model_type == "phimoe":
        _, chosen, near = sparsely_mixed(x @ matrix_of(router).T, 2 * config.router_jitter_noise)
        return torch.cat([chosen.sort(-1).values, near], -1)
    return route(config, router, x, list(range(matrix_of(router).shape[0])))[1].sort(-1).values


def picks(model, tokens, noise=lambda x: x):
    """Per layer with an indexer the tokens that it picks for those of a row [1, S] that see more, whatever its inputs' noise."""
    seen, handles = [], []
    for layer in model.model.layers:
        indexer = getattr(layer.self_attn, "indexer", None) if hasattr(layer, "self_attn") else None
        if indexer is not None:
            handles.append(indexer.register_forward_pre_hook(lambda m, a: (noise(a[0]), noise(a[1]), *a[2:])))
            handles.append(indexer.register_forward_hook(
                lambda m, a, out: seen.append(out[:, m.index_topk:].sort(-1).values) if m.index_topk < out.shape[1] else None))
    if handles:
        model.model(input_ids=tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


def is_steady(model, rounded, row, draw, level):
    """Whether every choice of experts and of tokens for a row [1, S] survives noise and rounding, and rounding moves logits little."""
    noise = lambda x: x * (1 + level * torch.randn(x.shape, generator=draw.generator))
    picked = picks(model, row)
    others = [picks(rounded, row)] + [picks(model, row, noise) for _ in range(5 if picked else 0)]
    if not all(torch.equal(a, b) for other in others for a, b in zip(picked, other)):
        return False
    config, wide = model.config, router_inputs(model, row)
    if not all(
        torch.equal(choices(config, router, x), choices(config, router, noise(x)))
        for router, x in wide
        for _ in range(5)
    ):
        return False
    if not all(
        torch.equal(choices(config, router, x), choices(config, other, y))
        for (router, x), (other, y) in zip(wide, router_inputs(rounded, row))
    ):
        return False
    return difference(*(m(input_ids=row, use_cache=False).logits.float() for m in (rounded, model))) < ROUNDING


def steady_rows(model, rounded, rows, vocab, draw, level):
    """Tokens [B, S] of steady rows; None when the pool holds too few."""
    found = []
    for _ in range(POOL):
        row = torch.randint(vocab, (1, rows[0]), generator=draw.generator)
        length = rows[len(found)]
        # A shorter row may have other positions.
        if all(is_steady(model, rounded, row[:, :n], draw, level) for n in sorted({rows[0], length}, reverse=True)):
            found.append(row)
        if len(found) == len(rows):
            tokens = torch.cat(found)
            for b, length in enumerate(rows):
                tokens[b, length:] = 0
            return tokens
    return None


def indices_of(kept, config, layer):
    def of(name):
        return kept[name][layer] if name in kept else None

    latent, dim = is_latent(config), 0 if is_latent(config) else head_dim_of(config)
    heads = None if latent else [h * dim + d for h in of("num_attention_heads") for d in range(dim)]
    channels, width = of("moe_ffn_hidden_size"), original_sizes(config)["moe_ffn_hidden_size"]
    return {
        "H": kept["hidden_size"], "N": heads, "Q": heads if config.model_type in NORMS_SPAN_HEADS else None,
        "A": of("num_attention_heads"), "F": of("ffn_hidden_size"), "E": of("num_moe_experts"), "M": channels,
        "G": [2 * c + part for c in channels for part in (0, 1)], "J": channels + [c + width for c in channels],
        "S": of("moe_shared_expert_intermediate_size"),
        "": None,
    }


def by_axes(state, kept, axes, indices_of, before=r"(^|\.)"):
    """The tensors that a pruned checkpoint holds; layers and experts are numbered anew.

    axes: of tensors, by the end of their names, which stands after `before`; indices_of: what of each axis is kept in a layer.
    """
    out = {}
    for name, tensor in state.items():
        layer = int(name.split(".layers.")[1].split(".")[0]) if ".layers." in name else None
        if layer is not None and layer + 1 not in kept["num_layers"]:
            continue
        own = next(own for pattern, own in axes if re.search(rf"{before}{pattern}$", name))
        indices = indices_of(layer or 0)
        if expert := re.search(r"\.experts\.(\d+)\.", name):
            if int(expert[1]) not in indices["E"]:
                continue
            name = name.replace(expert[0], f".experts.{indices['E'].index(int(expert[1]))}.")
        for dim, axis in enumerate(own):
            if indices[axis] is not None:
                tensor = tensor.index_select(dim, torch.tensor(indices[axis]))
        if layer is not None:
            name = name.replace(f".layers.{layer}.", f".layers.{kept['num_layers'].index(layer + 1)}.")
        out[name] = tensor.contiguous()
    return out


def sliced(state, config, kept):
    return by_axes(state, kept, AXES, lambda layer: indices_of(kept, config, layer))


def exported_config(config, kept, model):
    """config.json of the pruned model, spelled out from its layers."""
    settings, family = model.config, config["model_type"]
    layers = [n - 1 for n in kept["num_layers"]]
    size = lambda name: max((len(row) for row in kept.get(name, [[]])), default=0)
    out = dict(config) | {"hidden_size": len(kept["hidden_size"]), "num_hidden_layers": len(layers)}
    if not is_latent(settings):
        out |= {"num_attention_heads": size("num_attention_heads"), "head_dim": head_dim_of(settings)}
    named = {"mixtral": "num_local_experts", "gpt_oss": "num_local_experts", "minimax_m2": "num_local_experts",
             "phimoe": "num_local_experts",
             "ernie4_5_moe": "moe_num_experts"}
    deep = is_latent(settings) or family in GROUPED
    out["n_routed_experts" if deep else named.get(family, "num_experts")] = size("num_moe_experts")
    out["intermediate_size" if family in IN_SMALL else "moe_intermediate_size"] = size("moe_ffn_hidden_size")
    if family not in IN_SMALL and size("ffn_hidden_size"):
        out["intermediate_size"] = size("ffn_hidden_size")
    shared = size("moe_shared_expert_intermediate_size")
    dense = [parts(model.model.layers[i]) is None for i in layers]
    if isinstance(out.get("moe_topk"), list):
        out["moe_topk"] = [out["moe_topk"][i] for i in layers]
    if family == "qwen2_moe":
        out["shared_expert_intermediate_size"] = shared
    if deep:
        out["n_shared_experts"] = shared // size("moe_ffn_hidden_size")
        out["first_k_dense_replace"] = sum(dense)
    if family == "glm4_moe_lite" or "mlp_layer_types" in config:
        out["mlp_layer_types"] = ["dense" if d else "sparse" for d in dense]
    if family == "ernie4_5_moe":
        out["moe_num_shared_experts"] = shared // size("moe_ffn_hidden_size")
        sparse = [at for at, d in enumerate(dense) if not d]
        out |= {"moe_layer_start_index": sparse[0], "moe_layer_end_index": sparse[-1]}
    if family.startswith("qwen"):
        out["decoder_sparse_step"] = 1
        out["mlp_only_layers"] = [at for at, i in enumerate(layers) if parts(model.model.layers[i]) is None]
    if getattr(settings, "layer_types", None):
        out["layer_types"] = [settings.layer_types[i] for i in layers]
    return out


def attempt(name, case, seed):
    draw = Draw(seed)
    config = case["config"]
    folder = HERE / "moe" / name
    state = checkpoint(config, draw)
    write(folder, config, state)
    model = load(folder)
    settings = model.config
    lengths = case["rows"]
    rounded = load(folder, torch.bfloat16)
    tokens = steady_rows(model, rounded, lengths, config["vocab_size"], draw, case.get("noise", NOISE))
    if tokens is None:
        return None, "too few rows with steady routes"
    logits = logits_of(model, tokens, lengths)
    tensors = {"tokens": tokens, "lengths": torch.tensor(lengths), "logits.float32": logits}
    tensors["logits.bfloat16"] = logits_of(rounded, tokens, lengths)
    rounding = difference(tensors["logits.bfloat16"], logits)
    assert rounding < 1.5 * ROUNDING, f"bfloat16 is {rounding:.3g} away from float32"

    statistics = MoEStatistics(model).run(model, tokens, lengths)
    if (statistics.counts.sum(-1).gt(0)[:, None] & statistics.counts.eq(0)).any():
        return None, "an expert sees no token"
    importances = statistics.importances()
    tensors |= {f"importance.{k}": v for k, v in importances.items()}
    tensors["importance.num_layers.mb1"] = statistics.layer_scores(1)
    tensors["importance.num_layers.mb2"] = statistics.layer_scores(2)

    whole, _ = choose(model, importances, tensors["importance.num_layers.mb1"], {})
    with masked(model, whole):
        assert difference(logits_of(model, tokens, lengths), logits) < 1e-5, f"{name}: the reference is not the model"

    prunings, worst = [], 0.0
    for pruning, sizes in case["prunings"].items():
        kept, gap = choose(model, importances, tensors["importance.num_layers.mb1"], sizes)
        if gap is not None and gap < SMALLEST_GAP:
            return None, f"{pruning} has a cut decided by {gap:.2g}"
        with masked(model, kept):
            pruned = logits_of(model, tokens, lengths)
        assert torch.equal(logits_of(model, tokens, lengths), logits)
        moved = difference(pruned, logits)
        assert (moved > 2e-2) == bool(sizes), f"{name} {pruning}: moved by {moved}"
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            write(other, exported_config(config, kept, model), sliced(state, settings, kept))
            away = difference(logits_of(load(other), tokens, lengths), pruned)
        assert away < 1e-5, f"{name} {pruning}: the sliced checkpoint is {away} away from the masked model"
        worst = max(worst, away)
        tensors[f"pruned.{pruning}.logits"] = pruned
        prunings.append({"name": pruning, "export_config": sizes, "kept": kept, "smallest_gap": gap})

    least = (1.0, "")
    variants = [(k, v, None) for k, v in case["moves"].items()]
    for part in sorted({re.sub(r".*\.layers\.\d+\.|\.\d+(?=\.)", "", k) for k in state}):
        variants.append((part, {}, part))
    for what, changes, part in variants:
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            same = lambda k: part and re.sub(r".*\.layers\.\d+\.|\.\d+(?=\.)", "", k) == part
            write(other, config | changes, {k: (v * 0 if same(k) else v) for k, v in state.items()})
            by = difference(logits_of(load(other), tokens, lengths), logits)
        # A bias of keys moves no score relative to another but through positions; an indexer picks all tokens of short rows.
        if part != "self_attn.k_proj.bias" and "indexer" not in (part or ""):
            assert by > 2e-3, f"{name}: {what} moves the logits by {by}"
            least = min(least, (by, what))
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "expected.safetensors")
    expected = {"seed": seed, "tolerance": TOLERANCES, "prunings": prunings}
    (folder / "expected.json").write_text(compact(expected) + "\n")
    if "published" in case:
        write(folder, config | {"model_type": case["published"]}, state)
    note = f"bf16 {rounding:.1e}, sliced against masked {worst:.1e}, least moved by {least[1]} ({least[0]:.1e})"
    return sum(f.stat().st_size for f in folder.iterdir()), note


if __name__ == "__main__":
    make_all(sys.argv[1:], CASES, attempt, seeds=30)
