"""Makes Tests/Goldens/hybrid: models whose layers are a mixer (Mamba-2, attention, or both) and an MLP or mixture.

    python make_hybrid.py [CASE …]        (no names: all of them)

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0. The layout is that of mamba/ (README.md).
"""

import pathlib
import re
import sys
import tempfile

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from hybrid_cases import CASES
from make_dense import SMALLEST_GAP, TOLERANCES, Draw, compact, difference, make_all, write
from make_moe import POOL, ROUNDING, load
from reference_hybrid import RENAMED, Statistics, choose, layers_of, masked, mixture_of, routed
from reference_minitron import logits_of
from sliced_hybrid import exported_config, sliced

HERE = pathlib.Path(__file__).resolve().parent
NOISE = 0.01  # of a router's input, per channel, that must not change a choice


def published(model_type, name, shape):
    """The names and shapes under which a module's parameter is published."""
    for pattern, other in RENAMED.get(model_type, {}).items():
        name = re.sub(pattern, other, name)
    fused = re.fullmatch(r"(.*feed_forward\.experts)\.(gate_up|down)_proj", name)
    if not fused or model_type == "llama4_text":
        return [(name, shape)]
    if model_type == "jamba":
        members, rows = (("down_proj",), shape[1]) if fused[2] == "down" else (("gate_proj", "up_proj"), shape[1] // 2)
        return [(f"{fused[1]}.{e}.{member}.weight", (rows, shape[2])) for e in range(shape[0]) for member in members]
    members, rows = (("w2",), shape[1]) if fused[2] == "down" else (("w1", "w3"), shape[1] // 2)
    return [(f"{fused[1]}.{e}.{member}.weight", (rows, shape[2])) for e in range(shape[0]) for member in members]


def checkpoint(config, draw):
    """Weights for every parameter of the published module, tied ones once."""
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder), config, {})
        settings = AutoConfig.from_pretrained(folder)
    tied = settings.tie_word_embeddings
    state = {}
    for key, parameter in AutoModelForCausalLM.from_config(settings).state_dict().items():
        layer = int(key.split(".layers.")[1].split(".")[0]) if ".layers." in key else 0
        gain = 0.15 + 0.08 * ((layer * 7 + 3) % 5)  # layers of clearly different weight in the residual stream
        for name, shape in published(settings.model_type, key, tuple(parameter.shape)):
            state[name] = drawn(name, shape, layer, gain, tied, settings, draw)
    return {k: v.contiguous() for k, v in state.items() if v is not None}


def drawn(name, shape, layer, gain, tied, settings, draw):
    """A parameter; None for a head that is the embedding."""
    if name == "lm_head.weight":
        return None if tied else draw.matrix(*shape, 1.5, 0.1)
    if "embed_tokens" in name:
        return draw.normal(*shape, std=0.5 if tied else 1.0)
    if name.endswith(("conv1d.weight", "conv.conv.weight")):
        return draw.normal(*shape, std=0.45)
    if name.endswith("conv1d.bias"):
        return draw.normal(*shape, std=0.3)
    if name.endswith(("dt_bias", "dt_proj.bias")):
        return draw.uniform(*shape, low=-4.0, high=0.0)
    if name.endswith("A_log") and settings.model_type == "jamba":
        return draw.uniform(*shape, low=-2.0, high=2.0)
    if name.endswith("A_log"):  # heads that forget within a token or two, and heads that hardly do within a row
        return draw.uniform(*shape, low=-4.0, high=2.5).float()
    if name.endswith(".D"):
        return draw.uniform(*shape, low=0.5, high=2.0).float()
    if name.endswith("expert_bias"):  # kept in float32
        return draw.normal(*shape).float() * 0.1
    if name.endswith(".bias"):
        return draw.normal(*shape, std=0.2)
    if len(shape) == 1:
        return draw.uniform(*shape, low=0.4, high=1.6)
    if len(shape) == 3 and settings.model_type == "llama4_text":  # weights lie [in, out]
        sizes = [(0.6 + 0.15 * ((e * 5 + layer) % 7)) * gain if "down" in name else 1.5 for e in range(shape[0])]
        return torch.stack([draw.matrix(shape[2], shape[1], size).T for size in sizes])
    if len(shape) == 3:  # experts, all of them in one tensor
        writes = "output_linear" in name
        sizes = [(0.6 + 0.15 * ((e * 5 + layer) % 7)) * gain if writes else 1.1 for e in range(shape[0])]
        return torch.stack([draw.matrix(*shape[1:], size) for size in sizes])
    writes = re.search(r"(o_proj|out_proj|output_linear|down_proj|w2)\.weight$", name)
    return draw.matrix(*shape, gain if writes else 1.0, *([0.1] if re.search(r"router|gate\.weight", name) else []))


def choices(model, row):
    """The experts of each layer's router for one row [1, S], and what the router read."""
    seen, handles = [], []
    for layer in layers_of(model):
        if (found := mixture_of(layer)) is not None:
            handles.append(found[0].register_forward_pre_hook(
                lambda m, a: seen.append((m, a[0].reshape(-1, a[0].shape[-1])))))
    model.model(input_ids=row, use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


def picked_rows(model, rounded, lengths, vocab, draw):
    """Tokens [B, S]; where there are experts, rows whose choices survive noise and rounding. None when the pool holds too few."""
    config, found = model.config, []
    if all(mixture_of(layer) is None for layer in layers_of(model)):
        return draw.tokens(lengths, vocab)

    def chosen(router, x):
        return routed(config, router, x, range(len(router.weight)))[1].sort(-1).values

    for _ in range(POOL):
        row = torch.randint(vocab, (1, lengths[0]), generator=draw.generator)
        noise = lambda x: x * (1 + NOISE * torch.randn(x.shape, generator=draw.generator))
        wide, narrow = choices(model, row), choices(rounded, row)
        steady = all(torch.equal(chosen(m, x), chosen(m, noise(x))) for m, x in wide for _ in range(3))
        steady = steady and all(torch.equal(chosen(m, x), chosen(n, y.to(n.weight.dtype))) for (m, x), (n, y) in zip(wide, narrow))
        if steady and difference(*(m(input_ids=row, use_cache=False).logits.float() for m in (rounded, model))) < ROUNDING:
            found.append(row)
        if len(found) == len(lengths):
            tokens = torch.cat(found)
            for b, length in enumerate(lengths):
                tokens[b, length:] = 0
            return tokens
    return None


def attempt(name, case, seed):
    draw, config, lengths = Draw(seed), case["config"], case["rows"]
    folder = HERE / "hybrid" / name
    state = checkpoint(config, draw)
    write(folder, config, state)
    model, rounded = load(folder), load(folder, torch.bfloat16)
    tokens = picked_rows(model, rounded, lengths, config["vocab_size"], draw)
    if tokens is None:
        return None, "too few rows with steady routes"
    logits = logits_of(model, tokens, lengths)
    tensors = {"tokens": tokens, "lengths": torch.tensor(lengths), "logits.float32": logits}
    tensors["logits.bfloat16"] = logits_of(rounded, tokens, lengths)
    rounding = difference(tensors["logits.bfloat16"], logits)
    if rounding > 1.4e-2:
        return None, f"bfloat16 is {rounding:.3g} away from float32"

    statistics = Statistics(model).run(model, tokens, lengths)
    importances = statistics.importances()
    tensors |= {f"importance.{k}": v for k, v in importances.items()}
    tensors["importance.num_layers.mb1"] = statistics.layer_scores(1)
    tensors["importance.num_layers.mb2"] = statistics.layer_scores(2)
    routed_layers = importances.get("num_moe_experts", torch.ones(1, 1))
    if not routed_layers[routed_layers.sum(-1) > 0].gt(0).all():
        return None, "an expert sees no token"

    prunings, worst = [], 0.0
    for pruning, sizes in case["prunings"].items():
        kept, gap = choose(model, importances, tensors["importance.num_layers.mb1"], sizes)
        if gap is not None and gap < SMALLEST_GAP:
            return None, f"{pruning} has a cut decided by {gap:.2g}"
        with masked(model, kept):
            pruned = logits_of(model, tokens, lengths)
        assert torch.equal(logits_of(model, tokens, lengths), logits)
        moved = difference(pruned, logits)
        assert moved > 2e-2 if sizes else moved < 1e-5, f"{name} {pruning}: moved by {moved}"
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            write(other, exported_config(config, sizes, kept, model), sliced(state, model, kept))
            away = difference(logits_of(load(other), tokens, lengths), pruned)
        assert away < 1e-5, f"{name} {pruning}: the sliced checkpoint is {away} away from the masked model"
        worst = max(worst, away)
        tensors[f"pruned.{pruning}.logits"] = pruned
        prunings.append({"name": pruning, "export_config": sizes, "kept": kept, "smallest_gap": gap})

    least = (1.0, "")
    variants = [(k, v, None) for k, v in case["moves"].items()]
    part_of = lambda key: re.sub(r".*\.layers\.\d+\.|\.\d+(?=\.)", "", key)
    variants += [(part, {}, part) for part in sorted({part_of(k) for k in state})]
    for what, changes, part in variants:
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            write(other, config | changes, {k: (v * 0 if part and part_of(k) == part else v) for k, v in state.items()})
            by = difference(logits_of(load(other), tokens, lengths), logits)
        # A bias of keys moves no score relative to another but through positions.
        if part != "self_attn.k_proj.bias":
            assert by > 2e-3, f"{name}: {what} moves the logits by {by}"
            least = min(least, (by, what))
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "expected.safetensors")
    expected = {"seed": seed, "tolerance": TOLERANCES, "prunings": prunings}
    (folder / "expected.json").write_text(compact(expected) + "\n")
    note = f"bf16 {rounding:.1e}, sliced against masked {worst:.1e}, least moved by {least[1]} ({least[0]:.1e})"
    return sum(f.stat().st_size for f in folder.iterdir()), note


if __name__ == "__main__":
    make_all(sys.argv[1:], CASES, attempt, seeds=40)
