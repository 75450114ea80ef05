"""Minitron's statistics, choices and masks for models whose layers are a mixer and an MLP, in plain PyTorch.

The companion of reference_mamba.py for models of make_hybrid.py: hooks on the modules of an unchanged `transformers` model. Where a
layer has several mixers side by side they share its norm, whose output counts once.

Shapes: T tokens, K experts of a token, H hidden.
"""

import contextlib
import math

import torch
import torch.nn.functional as F

import reference_mamba
from reference_minitron import best, head_dim_of, keep_layers

# Published names of parameters that modules call otherwise.
RENAMED = {
    "granitemoehybrid": {
        r"block_sparse_moe\.experts\.gate_up_proj$": "block_sparse_moe.input_linear.weight",
        r"block_sparse_moe\.experts\.down_proj$": "block_sparse_moe.output_linear.weight",
        r"block_sparse_moe\.router\.weight$": "block_sparse_moe.router.layer.weight",
    },
}
SHARED = "moe_shared_expert_intermediate_size"
BRANCHES = ("mamba", "self_attn", "conv", "shared_mlp", "block_sparse_moe", "feed_forward")
SHORT = ("lfm2", "lfm2_moe")  # short convolutions in place of Mamba-2


def layers_of(model):
    return model.model.layers


def last_norm(model):
    return next(getattr(model.model, n) for n in ("final_layernorm", "embedding_norm", "norm") if hasattr(model.model, n))


def norms_of(layer):
    """The norms over the residual stream, in order."""
    pairs = [("operator_norm", "ffn_norm"), ("input_layernorm", "pre_ff_layernorm"), ("input_layernorm", "post_attention_layernorm")]
    return [getattr(layer, n) for n in next(p for p in pairs if all(hasattr(layer, n) for n in p))]


def common_of(layer):
    """The projection back of the MLP that every token passes, and what its width is called; None where there is none."""
    if hasattr(layer, "shared_mlp"):
        return layer.shared_mlp.output_linear, "ffn_hidden_size" if layer.block_sparse_moe is None else SHARED
    if hasattr(layer.feed_forward, "shared_expert"):
        return layer.feed_forward.shared_expert.down_proj, SHARED
    down = getattr(layer.feed_forward, "down_proj", None) or getattr(layer.feed_forward, "w2", None)
    return down and (down, "ffn_hidden_size")


def mixture_of(layer):
    """(router, experts); None of a layer without."""
    mixture = getattr(layer, "block_sparse_moe", None)
    if mixture is not None:
        return mixture.router, mixture.experts
    mixture = getattr(layer, "feed_forward", None)
    if not hasattr(mixture, "experts"):
        return None
    if type(mixture).__name__.startswith("Jamba"):
        return mixture.router, mixture.experts
    if hasattr(mixture, "router"):  # Llama 4: its experts do not see what was chosen
        object.__setattr__(mixture.experts, "outer", mixture)
        return mixture.router, mixture.experts
    mixture.gate.choice_bias = getattr(mixture, "expert_bias", None)
    return mixture.gate, mixture.experts


def mamba_of(layer):
    return getattr(layer, "mamba", None)


def attention_of(layer):
    return getattr(layer, "self_attn", None)


def short_of(layer):
    """The short convolution of a layer; None where there is none."""
    return getattr(layer, "conv", None)


def heads_out(attention):
    return getattr(attention, "o_proj", None) or attention.out_proj


def sizes_of(config):
    """Every hyperparameter's original size, and the groups it is ranked in."""
    sizes = {
        "hidden_size": config.hidden_size, "num_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
    }
    groups = {"num_attention_heads": config.num_key_value_heads}
    if config.model_type == "lfm2":
        # The module's own rule says how wide its MLPs are.
        width = config.intermediate_size
        if config.block_auto_adjust_ff_dim:
            width = int(config.block_ffn_dim_multiplier * int(2 * width / 3))
            width = -(-width // config.block_multiple_of) * config.block_multiple_of
        return sizes | {"conv_channels": config.hidden_size, "ffn_hidden_size": width}, groups
    if config.model_type == "lfm2_moe":
        return sizes | {
            "conv_channels": config.hidden_size, "ffn_hidden_size": config.intermediate_size,
            "num_moe_experts": config.num_experts, "moe_ffn_hidden_size": config.moe_intermediate_size}, groups
    if config.model_type == "llama4_text":
        width = config.intermediate_size
        sparse = {"num_moe_experts": config.num_local_experts, "moe_ffn_hidden_size": width, SHARED: width}
        dense = {"ffn_hidden_size": config.intermediate_size_mlp} if len(config.moe_layers) < config.num_hidden_layers else {}
        return sizes | sparse | dense, groups
    if config.model_type == "jamba":
        sizes |= {"mamba_channels": config.mamba_expand * config.hidden_size, "ffn_hidden_size": config.intermediate_size}
        if max(config.layers_num_experts) > 1:
            sizes |= {"num_moe_experts": config.num_experts, "moe_ffn_hidden_size": config.intermediate_size}
        return sizes, groups
    sizes |= {"mamba_num_heads": config.mamba_n_heads, "mamba_head_dim": config.mamba_d_head}
    if config.model_type != "granitemoehybrid":
        sizes["ffn_hidden_size"] = config.intermediate_size
    elif config.num_local_experts == 0:
        sizes["ffn_hidden_size"] = config.shared_intermediate_size
    else:
        sizes |= {"num_moe_experts": config.num_local_experts, "moe_ffn_hidden_size": config.intermediate_size,
                  SHARED: config.shared_intermediate_size}
    return sizes, groups | {"mamba_num_heads": config.mamba_n_groups}


def routed(config, router, x, kept):
    """Weights and experts, [T, K] each, of tokens [T, H], with only the kept experts in reach."""
    gone = torch.ones(len(router.weight), dtype=torch.bool)
    gone[list(kept)] = False
    if config.model_type == "lfm2_moe":
        scores = (x @ router.weight.T).float().sigmoid()
        choice = scores if router.choice_bias is None else scores + router.choice_bias
        chosen = choice.masked_fill(gone, float("-inf")).topk(config.num_experts_per_tok, dim=-1).indices
        weights = scores.gather(1, chosen)
        if config.norm_topk_prob:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-6)
        return weights * config.routed_scaling_factor, chosen
    logits = (x @ router.weight.T).float().masked_fill(gone, float("-inf"))
    if config.model_type == "jamba":
        return logits.softmax(-1).topk(config.num_experts_per_tok, dim=-1)
    if config.model_type == "llama4_text":
        values, chosen = logits.topk(config.num_experts_per_tok, dim=-1)
        return values.sigmoid(), chosen
    values, chosen = logits.topk(config.num_experts_per_tok, dim=-1)
    return values.softmax(-1), chosen


def is_turned(experts):
    """Whether weights lie [in, out], and what experts read is weighed in place of what they give (Llama 4)."""
    return hasattr(experts, "outer")


def inner_of(experts, e, x):
    both = experts.gate_up_proj[e]
    gate, up = (x @ (both if is_turned(experts) else both.T)).chunk(2, dim=-1)
    return F.silu(gate) * up


def weighed_inner(experts, e, x, share):
    """The input of an expert's down projection for tokens [T, H] that are weighed by [T, 1]."""
    if is_turned(experts):
        return inner_of(experts, e, x * share.to(x.dtype)).double()
    return inner_of(experts, e, x).double() * share.double()


def output_of(experts, e, inner):
    down = experts.down_proj[e]
    return inner @ (down if is_turned(experts) else down.T).to(inner.dtype)


def on_routed(config, found, call):
    """Calls back with experts, tokens [T, H], choices and shares [T, K] whenever a mixture is asked."""
    router, experts = found
    if not is_turned(experts):
        return experts.register_forward_pre_hook(lambda m, args: call(m, *args[:3]))

    def outer(_m, args):
        x = args[0].reshape(-1, args[0].shape[-1])
        shares, chosen = routed(config, router, x, range(len(router.weight)))
        call(experts, x, chosen, shares)

    return experts.outer.register_forward_pre_hook(outer)


class Statistics(reference_mamba.Statistics):
    """Sums of squared token means per tap, and the cosine of every token over every layer."""

    def __init__(self, model):
        self.config = model.config
        self.sizes, _ = sizes_of(model.config)
        self.sums, self.experts = {}, {}  # (layer, tap): [C]; layer: (summed norms [E], tokens [E])
        self.cosines = [[] for _ in layers_of(model)]
        self.valid = 0  # tokens of the row under way

    def _add(self, layer, tap, x):
        a = (x if x.dim() == 2 else x[0])[: self.valid].abs().double().mean(dim=0)
        self.sums[layer, tap] = self.sums.get((layer, tap), 0) + a**2

    def _add_experts(self, layer, module, x, chosen, shares):
        x, chosen, shares = x[: self.valid], chosen[: self.valid], shares[: self.valid].double()
        norms, counts = torch.zeros(module.num_experts).double(), torch.zeros(module.num_experts).double()
        total = 0
        for e in range(module.num_experts):
            token, place = torch.where(chosen == e)
            inner = weighed_inner(module, e, x[token], shares[token, place, None])
            norms[e] = output_of(module, e, inner).norm(dim=-1).sum()
            counts[e] = len(token)
            total = total + inner.abs().sum(dim=0)
        before = self.experts.get(layer, (0, 0))
        self.experts[layer] = (before[0] + norms, before[1] + counts)
        key = (layer, "moe_ffn_hidden_size")
        self.sums[key] = self.sums.get(key, 0) + (total / chosen.numel()) ** 2

    def _hooks(self, model):
        def reads(module, i, tap):
            return module.register_forward_pre_hook(lambda _m, args: self._add(i, tap, args[0]))

        wide = self.sizes.get("mamba_num_heads", 0) * self.sizes.get("mamba_head_dim", 0)
        for i, layer in enumerate(layers_of(model)):
            for place, norm in enumerate(norms_of(layer)):
                yield norm.register_forward_hook(lambda _m, _a, out, i=i, p=place: self._add(i, f"hidden {p}", out))
            if (mamba := mamba_of(layer)) is not None and hasattr(mamba, "x_proj"):
                yield reads(mamba.out_proj, i, "mamba_channels")
            elif mamba is not None:
                yield mamba.in_proj.register_forward_hook(
                    lambda _m, _a, out, i=i: self._add(i, "mamba", out[..., wide : 2 * wide]))
            if (attention := attention_of(layer)) is not None:
                yield reads(heads_out(attention), i, "heads")
            if (short := short_of(layer)) is not None:
                yield reads(short.out_proj, i, "conv_channels")
            if (common := common_of(layer)) is not None:
                yield reads(common[0], i, common[1])
            if (found := mixture_of(layer)) is not None:
                yield on_routed(model.config, found, lambda m, *args, i=i: self._add_experts(i, m, *args))

            def over_layer(_m, args, kwargs, out, i=i):
                before = args[0] if args else kwargs["hidden_states"]
                after = out[0] if isinstance(out, tuple) else out
                before, after = before[0, : self.valid].float(), after[0, : self.valid].float()
                self.cosines[i].append(F.cosine_similarity(before, after, dim=-1).double())

            yield layer.register_forward_hook(over_layer, with_kwargs=True)

    def importances(self):
        """hidden_size [H]; of what the layers have [L, …], zeros where a layer lacks it. Float32."""
        out = {"hidden_size": sum(v.sqrt() for (_, tap), v in self.sums.items() if tap.startswith("hidden")).float()}
        for name, size in self.sizes.items():
            if name not in ("hidden_size", "num_layers"):
                out[name] = torch.zeros(len(self.cosines), size)
        for (i, tap), value in self.sums.items():
            if tap == "mamba":
                x = value.sqrt().view(self.sizes["mamba_num_heads"], -1)
                out["mamba_num_heads"][i], out["mamba_head_dim"][i] = x.norm(dim=1), x.norm(dim=0)
            elif tap == "heads":
                out["num_attention_heads"][i] = value.sqrt().view(self.sizes["num_attention_heads"], -1).norm(dim=1)
            elif not tap.startswith("hidden"):
                out[tap][i] = value.sqrt()
        for i, (norms, counts) in self.experts.items():
            out["num_moe_experts"][i] = norms / (counts + 1e-8)
        return out


def lacks(layer, name):
    """Whether a layer has nothing of a hyperparameter."""
    if name.startswith("mamba"):
        return mamba_of(layer) is None
    if name in ("ffn_hidden_size", SHARED):
        return (common_of(layer) or (None, None))[1] != name
    if name in ("num_moe_experts", "moe_ffn_hidden_size"):
        return mixture_of(layer) is None
    if name == "conv_channels":
        return short_of(layer) is None
    return name == "num_attention_heads" and attention_of(layer) is None


def choose(model, importances, layer_scores, export_config):
    """The kept sets for an architecture, and the smallest relative gap at any cut. Layers that lack something keep an empty list."""
    sizes, groups = sizes_of(model.config)
    target, gaps = sizes | export_config, []
    target["conv_channels"] = target["hidden_size"]  # as many as the hidden size, which of them is each layer's own affair

    def keep(scores, count):
        indices, gap = best(scores, count)
        gaps.append(gap)
        return indices

    target["mamba_channels"] = getattr(model.config, "mamba_expand", 0) * target["hidden_size"]
    attention = [i for i, layer in enumerate(layers_of(model)) if attention_of(layer) is not None]
    kept_layers, gap = keep_layers(layer_scores, target["num_layers"], attention)
    if model.config.model_type == "jamba":
        kept_layers, gap = keep_stretches(layer_scores, target["num_layers"], attention, stretch_of(model.config))
    gaps.append(gap)
    kept = {"hidden_size": keep(importances["hidden_size"], target["hidden_size"]), "num_layers": [i + 1 for i in kept_layers]}
    for name, rows in importances.items():
        if name == "hidden_size":
            continue
        parts = groups.get(name) or 1
        assert target[name] % parts == 0
        size = sizes[name] // parts
        kept[name] = [
            [] if lacks(layer, name)
            else [g * size + i for g in range(parts) for i in keep(row[g * size : (g + 1) * size], target[name] // parts)]
            for row, layer in zip(rows, layers_of(model))
        ]
    gaps = [gap for gap in gaps if gap is not None]
    return kept, (min(gaps) if gaps else None)


def stretch_of(config):
    """Layers after which kinds of layers are as they were."""
    return math.lcm(config.attn_layer_period, config.expert_layer_period if config.num_experts > 1 else 1)


def keep_stretches(scores, count, attention, stretch):
    """Whole stretches of layers, those with the best mean place first; that of the best layer with attention before all."""
    order = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))
    gap = min((float(scores[a]) - float(scores[b])) / float(scores[a]) for a, b in zip(order, order[1:]))
    first = min(attention, key=order.index)
    order.remove(first)
    places = {layer: place for place, layer in enumerate([first, *order])} | {first: -len(scores) * stretch}
    blocks = [range(start, min(start + stretch, len(scores))) for start in range(0, len(scores), stretch)]
    cut = lambda block: len(block) < stretch and first not in block
    blocks.sort(key=lambda block: (cut(block), sum(places[i] for i in block) / len(block), block[0]))
    return sorted([i for block in blocks for i in block][:count]), gap if count < len(scores) else None


def flags_of(indices, size):
    flags = torch.zeros(size)
    flags[list(indices)] = 1
    return flags


def channels_of(kept, layer, head_dim):
    """The kept channels of Mamba heads × head_dim."""
    return [h * head_dim + d for h in kept["mamba_num_heads"][layer] for d in kept["mamba_head_dim"][layer]]


@contextlib.contextmanager
def masked(model, kept):
    """The model with everything that is not kept masked out, its weights untouched. Norms, the gated ones of mixers too, take their
    means over what is kept."""
    config = model.config
    sizes, _ = sizes_of(config)
    hidden = flags_of(kept["hidden_size"], config.hidden_size)
    narrow = len(kept["hidden_size"]) < config.hidden_size
    handles, replaced = [], []

    def replace(module, forward):
        replaced.append(module)
        module.forward = forward

    def input_mask(module, flags):
        handles.append(module.register_forward_pre_hook(lambda _m, args: (args[0] * flags, *args[1:])))

    def output_mask(module):
        def hook(_m, _a, out):
            return (out[0] * hidden, *out[1:]) if isinstance(out, tuple) else out * hidden

        handles.append(module.register_forward_hook(hook))

    def norm_over_kept(norm):
        epsilon = getattr(norm, "variance_epsilon", None) or norm.eps

        def forward(x):
            y = x.float() * hidden
            return norm.weight * (y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) / hidden.sum() + epsilon))

        replace(norm, forward)

    def gated_over_kept(norm, flags):
        groups, after = config.mamba_n_groups, getattr(norm, "norm_before_gate", False)
        count = int(flags.sum()) // groups

        def forward(x, gate):
            gate = F.silu(gate.float())
            y = (x.float() * (1 if after else gate) * flags).unflatten(-1, (groups, -1))
            y = (y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) / count + norm.variance_epsilon)).flatten(-2)
            return norm.weight * y * (gate if after else 1)

        replace(norm, forward)

    if narrow:
        output_mask(model.model.embed_tokens)
        norm_over_kept(last_norm(model))
    for i, layer in enumerate(layers_of(model)):
        if i + 1 not in kept["num_layers"]:
            keeps_tuple = config.model_type in ("bamba", "falcon_h1")
            replace(layer, lambda hidden_states, *_a, keeps_tuple=keeps_tuple, **_k:
                    (hidden_states, None) if keeps_tuple else hidden_states)
            continue
        if narrow:
            for norm in norms_of(layer):
                norm_over_kept(norm)
            for name in BRANCHES:
                if getattr(layer, name, None) is not None:
                    output_mask(getattr(layer, name))
        if (mamba := mamba_of(layer)) is not None:
            if hasattr(mamba, "x_proj"):
                for module in (mamba.x_proj, mamba.out_proj):
                    input_mask(module, flags_of(kept["mamba_channels"][i], sizes["mamba_channels"]))
        if mamba is not None and not hasattr(mamba, "x_proj"):
            dim = sizes["mamba_head_dim"]
            flags = flags_of(channels_of(kept, i, dim), sizes["mamba_num_heads"] * dim)
            gated_over_kept(mamba.norm, flags) if hasattr(mamba.norm, "weight") else input_mask(mamba.out_proj, flags)
        if (attention := attention_of(layer)) is not None:
            heads = flags_of(kept["num_attention_heads"][i], config.num_attention_heads)
            input_mask(heads_out(attention), heads.repeat_interleave(head_dim_of(config)))
        if (short := short_of(layer)) is not None:
            input_mask(short.out_proj, flags_of(kept["conv_channels"][i], config.hidden_size))
        if (common := common_of(layer)) is not None:
            input_mask(common[0], flags_of(kept[common[1]][i], sizes[common[1]]))
        if (found := mixture_of(layer)) is not None:
            channels = flags_of(kept["moe_ffn_hidden_size"][i], sizes["moe_ffn_hidden_size"])

            def chosen(x, *_bias, router=found[0], i=i):
                return None, *routed(config, router, x, kept["num_moe_experts"][i])

            def mixed(x, chosen, weights, experts=found[1], channels=channels):
                out = torch.zeros_like(x)
                for e in chosen.unique().tolist():
                    at = (chosen == e).nonzero()
                    inner = weighed_inner(experts, e, x[at[:, 0]], weights[at[:, 0], at[:, 1], None]).to(x.dtype)
                    out.index_add_(0, at[:, 0], output_of(experts, e, inner * channels))
                return out

            def whole(x, router=found[0], experts=found[1], mixed=mixed, i=i):
                x = x.reshape(-1, x.shape[-1])
                weights, chosen = routed(config, router, x, kept["num_moe_experts"][i])
                return experts.outer.shared_expert(x) + mixed(x, chosen, weights), None

            if is_turned(found[1]):
                replace(found[1].outer, whole)
            else:
                replace(found[0], chosen)
                replace(found[1], mixed)
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module in replaced:
            del module.forward
