"""Makes own_channels.{json,safetensors} beside the goldens with experts: what PyTorch computes where each expert ranks
its own channels (Model-Optimizer's SequentialMLP, `--no_moe_grouped_gemm`).

    python make_own_channels.py [moe/qwen2_moe …]        (no names: all of them)

Per expert: the mean over its tokens of a row of |input of the down projection|, weighed by the router, squared, summed
over rows; a row without tokens of it adds nothing. Everything else that is pruned is the golden's own choice.

Versions that made the files in the repository: torch 2.11.0, transformers 5.24.0.
"""

import json
import logging
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import make_mamba
import make_moe
import reference_gemma4
import reference_hybrid
import reference_mamba
import reference_moe
from make_dense import compact
from reference_minitron import best, logits_of

HERE = pathlib.Path(__file__).resolve().parent
# The files must not hang on the last digits of sums.
GAP = 1e-4


def families(name, model):
    """(experts of each layer or None, function of an expert's inner activations, the golden's own masks); routers with
    experts and no function where reference_hybrid.py knows."""
    if name.startswith("mamba/"):
        layers = model.model.layers if hasattr(model, "model") else model.backbone.layers
        experts = [getattr(layer.mixer, "experts", None) for layer in layers]
        return experts, lambda m, e, x: m.act_fn(F.linear(x, m.up_proj[e])), reference_mamba.masked
    if name.startswith("gemma4/"):
        return [layer.experts for layer in model.model.layers], reference_gemma4.expert_inner, reference_gemma4.masked
    if name.startswith("hybrid/"):
        mixtures = [reference_hybrid.mixture_of(layer) for layer in model.model.layers]
        return mixtures, None, reference_hybrid.masked
    experts = [getattr(layer.mlp, "experts", None) for layer in model.model.layers]
    masked = reference_moe.masked
    if "qwen3_next" in name or "qwen3_5" in name:
        # Puts its own sizes in place of the others': so it comes last.
        import make_qwen3_next

        masked = make_qwen3_next.masked
    return experts, lambda m, e, x: reference_moe.expert_inner(model.config, m, e, x), masked


def own_scores(model, experts, inner, tokens, lengths):
    """Layer → [E, F]."""
    sums, valid = {}, 0

    def hook(layer, module, x, chosen, shares):
        x, chosen, shares = x[:valid], chosen[:valid], shares[:valid]
        for e in range(module.down_proj.shape[0]):
            token, place = torch.where(chosen == e)
            if len(token):
                share = shares[token, place, None]
                weighed = reference_hybrid.weighed_inner
                values = inner(module, e, x[token]).double() * share.double() if inner else weighed(module, e, x[token], share)
                key = (layer, e)
                sums[key] = sums.get(key, 0) + values.abs().mean(0) ** 2

    if inner:
        listen = lambda m, call: m.register_forward_pre_hook(lambda m, args: call(m, *args[:3]))
    else:  # routers with their experts
        listen = lambda found, call: reference_hybrid.on_routed(model.config, found, call)
    handles = [listen(m, lambda *a, i=i: hook(i, *a)) for i, m in enumerate(experts) if m is not None]
    experts = experts if inner else [m and m[1] for m in experts]
    for b in range(tokens.shape[0]):
        valid = int(lengths[b])
        model(input_ids=tokens[b : b + 1, :valid], use_cache=False)
    for handle in handles:
        handle.remove()
    width = {layer: values.shape[0] for (layer, _), values in sums.items()}
    return {
        i: torch.stack([sums.get((i, e), torch.zeros(width[i])).sqrt() for e in range(m.down_proj.shape[0])]).float()
        for i, m in enumerate(experts)
        if m is not None
    }


def make(name):
    folder = HERE / name
    load = make_mamba.load if name.startswith("mamba/") else make_moe.load
    model = load(folder)
    golden = load_file(folder / "expected.safetensors")
    facts = json.loads((folder / "expected.json").read_text())
    tokens, lengths = golden["tokens"], golden["lengths"].tolist()
    experts, inner, masked = families(name, model)
    scores = own_scores(model, experts, inner, tokens, lengths)
    experts = experts if inner else [m and m[1] for m in experts]
    fused = model.config.model_type in ("gpt_oss", "llama4_text")  # down_proj is [E, F, H] there, else [E, H, F]
    pruning = next(p for p in reversed(facts["prunings"]) if "moe_ffn_hidden_size" in p["export_config"])
    size = pruning["export_config"]["moe_ffn_hidden_size"]
    kept, gaps = [], []
    for i, module in enumerate(experts):
        kept.append([])
        for row in scores.get(i, []):
            indices, gap = best(row, size)
            kept[i].append(indices)
            gaps.append(gap)
    assert min(gaps) > GAP, f"{name}: a cut is decided by {min(gaps):.2g}"
    choices = pruning["kept"]
    width = next(iter(scores.values())).shape[1]
    choices["moe_ffn_hidden_size"] = [list(range(width)) if lists else [] for lists in kept]
    originals = {}
    for i, module in enumerate(experts):
        for e, indices in enumerate(kept[i]):
            originals.setdefault(i, module.down_proj.detach().clone())
            gone = [c for c in range(width) if c not in indices]
            (module.down_proj.data[e] if fused else module.down_proj.data[e].T)[gone] = 0
    with masked(model, choices):
        logits = logits_of(model, tokens, lengths)
    shared = golden[f"pruned.{pruning['name']}.logits"]
    assert (logits - shared).abs().max() > 1e-3, f"{name}: the rankings make no difference"
    layers, count = len(experts), next(iter(scores.values())).shape[0]
    save_file(
        {
            "importance": torch.stack([scores.get(i, torch.zeros(count, width)) for i in range(layers)]),
            "logits": logits.contiguous(),
        },
        folder / "own_channels.safetensors",
    )
    (folder / "own_channels.json").write_text(
        compact({"export_config": pruning["export_config"], "kept": kept, "smallest_gap": min(gaps)}) + "\n"
    )
    print(f"{name}: {sum((folder / f'own_channels.{s}').stat().st_size for s in ('json', 'safetensors'))} bytes", flush=True)


def main(names):
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    every = sorted(str(p.parent.relative_to(HERE)) for p in HERE.glob("*/*/expected.json"))
    routed = lambda n: n.startswith("moe/") or "importance.num_moe_experts" in load_file(HERE / n / "expected.safetensors")
    for name in names or [n for n in every if routed(n)]:
        make(name)


if __name__ == "__main__":
    main(sys.argv[1:])
