"""Makes query_groups.{json,safetensors} beside the goldens: what PyTorch computes without some groups of heads.

    python make_query_groups.py [dense/llama3 …]        (no names: every golden whose groups can go)

A group (a key-value head and the query heads that it serves) scores the L2 norm of its heads' scores over heads and
channels, as Model-Optimizer's `_estimate_query_group_importance` had it. Two architectures a model: half the groups with
all their heads, and (where groups have more than one head) half the groups with one head less each. A head that is
masked where the output projection reads it takes its part of the keys and values along, so the masked model is the
golden of the pruned one; norms over all heads together take their mean over those that are kept.

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0.
"""

import contextlib
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

import make_dense
import make_dense2
import make_mamba
import make_moe
import reference_gemma4
import reference_hybrid
import reference_mamba
import reference_minitron
import reference_moe
from make_dense import compact
from reference_minitron import best, head_dim_of, logits_of

HERE = pathlib.Path(__file__).resolve().parent
# The files must not hang on the last digits of sums.
GAP = 1e-4
# Heads are of fixed number (latent attention, interleaved projections, hybrids of Qwen), or loaders tie them to hidden_size.
WITHOUT = ("deepseek_v2", "deepseek_v3", "deepseek_v32", "glm_moe_dsa", "glm4_moe_lite", "gpt_neox", "qwen3_next", "qwen3_5_text", "olmoe", "mamba2", "stablelm", "gpt2",
           "helium")
MEANS = {
    "dense": (make_dense.load, reference_minitron.masked), "dense2": (make_dense.load, make_dense2.masked),
    "moe": (make_moe.load, reference_moe.masked), "mamba": (make_mamba.load, reference_mamba.masked),
    "hybrid": (make_moe.load, reference_hybrid.masked), "gemma4": (make_moe.load, reference_gemma4.masked),
}


@contextlib.contextmanager
def keys_masked(model, kept_groups, groups):
    """Norms over all heads' keys together see those of the kept groups alone."""
    dim, replaced = head_dim_of(model.config), []
    for i, layer in enumerate(getattr(model.base_model, "layers", [])):
        norm = getattr(getattr(layer, "self_attn", None), "k_norm", None)
        if getattr(norm, "weight", None) is not None and norm.weight.numel() == groups * dim and groups > 1:
            flags = reference_minitron._flags(kept_groups[i], groups).repeat_interleave(dim)
            replaced.append(norm)
            norm.forward = make_dense2.norm_over(norm, flags)
    try:
        yield
    finally:
        for norm in replaced:
            del norm.forward


def choose(scores, groups, kept_count, heads_each):
    """Kept groups and heads of a layer, and the gaps of the cuts."""
    size = len(scores) // groups
    grouped = scores.double().reshape(groups, size)
    kept, gap = best(grouped.norm(dim=1), kept_count)
    gaps, heads = [gap], []
    for group in kept:
        chosen, gap = best(grouped[group], heads_each)
        heads += [group * size + head for head in chosen]
        gaps.append(gap)
    return kept, heads, [gap for gap in gaps if gap is not None]


def everything(kept, golden):
    """A choice that keeps all there is, in the layout of one that does not."""
    whole = {}
    for key, value in kept.items():
        size = golden[f"importance.{key}" if key != "num_layers" else "importance.num_layers.mb1"].shape[-1]
        if key == "num_layers":
            whole[key] = list(range(1, size + 1))
        elif value and not isinstance(value[0], list):
            whole[key] = list(range(size))
        else:
            whole[key] = [list(range(size)) if indices else [] for indices in value]
    return whole


def make(name):
    folder = HERE / name
    load, masked = MEANS[name.split("/")[0]]
    model = load(folder)
    golden = load_file(folder / "expected.safetensors")
    facts = json.loads((folder / "expected.json").read_text())
    importance = golden["importance.num_attention_heads"]
    groups = model.config.num_key_value_heads
    each = importance.shape[1] // groups
    whole = everything(facts["prunings"][0]["kept"], golden)
    has_heads = [len(heads) > 0 for heads in whole["num_attention_heads"]]
    architectures = [{"num_query_groups": groups // 2}]
    if each > 1:
        architectures.append({"num_query_groups": groups // 2, "num_attention_heads": groups // 2 * (each - 1)})
    tensors, cases = {}, []
    for number, config in enumerate(architectures):
        count = config["num_query_groups"]
        heads_each = config.get("num_attention_heads", count * each) // count
        chosen = [
            choose(row, groups, count, heads_each) if has else ([], [], []) for row, has in zip(importance, has_heads)
        ]
        gap = min(gap for _, _, gaps in chosen for gap in gaps)
        assert gap > GAP, f"{name}: a cut is decided by {gap:.2g}"
        kept = dict(whole) | {"num_attention_heads": [heads for _, heads, _ in chosen]}
        with keys_masked(model, [groups for groups, _, _ in chosen], groups), masked(model, kept):
            logits = logits_of(model, golden["tokens"], golden["lengths"].tolist())
        assert (logits - golden["logits.float32"]).abs().max() > 1e-3, f"{name}: the cut makes no difference"
        tensors[f"logits.{number}"] = logits.contiguous()
        cases.append({
            "export_config": config, "smallest_gap": gap,
            "kept": {"num_query_groups": [g for g, _, _ in chosen], "num_attention_heads": [h for _, h, _ in chosen]},
        })
    save_file(tensors, folder / "query_groups.safetensors")
    (folder / "query_groups.json").write_text(compact({"cases": cases}) + "\n")
    print(f"{name}: {len(cases)} architectures, {groups} groups of {each}, smallest gap {min(c['smallest_gap'] for c in cases):.1e}")


def can_go(folder):
    config = json.loads((folder / "config.json").read_text())
    heads = config.get("num_attention_heads", 1)
    groups = config.get("num_key_value_heads", heads)
    # Groups that other layers share, or of which not all layers have as many.
    bound = config.get("num_kv_shared_layers") or config.get("num_global_key_value_heads")
    return config["model_type"] not in WITHOUT and groups > 1 and not bound


def main(names):
    found = [str(path.parent.relative_to(HERE)) for group in MEANS for path in sorted(HERE.glob(f"{group}/*/expected.json"))]
    for name in names or [name for name in found if can_go(HERE / name)]:
        make(name)


if __name__ == "__main__":
    main(sys.argv[1:])
