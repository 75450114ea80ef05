"""Minitron's statistics, choices and masks on `transformers`' Gemma 4 text model, through hooks (reference_minitron.py has the
method). Layers that see all tokens have heads of another size; a mixture stands beside the MLP; later layers read the keys and
values of earlier ones, and each layer may have an input of its own for every token.
"""

import contextlib

import torch
import torch.nn.functional as F

from reference_minitron import Statistics, _flags, attention_mask_of, best

NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm",
         "post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2",
         "post_per_layer_input_norm")


def widths(model):
    """Per layer the channels of its MLP."""
    return [layer.mlp.down_proj.in_features for layer in model.model.layers]


def doubled(model):
    return [width != model.config.intermediate_size for width in widths(model)]


def borrowers(model):
    return [layer.self_attn.is_kv_shared_layer for layer in model.model.layers]


def required(model):
    """Layers that have to be kept: those whose keys and values others read, and the last."""
    config, lent = model.config, set()
    first = config.num_hidden_layers - config.num_kv_shared_layers
    for kind in {config.layer_types[i] for i, borrows in enumerate(borrowers(model)) if borrows}:
        lent.add(max(i for i in range(first) if config.layer_types[i] == kind))
    return lent | {config.num_hidden_layers - 1}


def key_heads(attention):
    return attention.config.num_attention_heads // attention.num_key_value_groups


class Gemma4Statistics(Statistics):
    def __init__(self, model):
        count = len(model.model.layers)
        self.model, self.config = model, model.config
        self.hidden = [[None] * 3 for _ in range(count)]
        self.ffn, self.heads, self.channels = [None] * count, [None] * count, [None] * count
        self.cosines = [[] for _ in range(count)]
        self.valid = 0
        if self.config.enable_moe_block:
            self.norms = torch.zeros(count, self.config.num_experts, dtype=torch.float64)
            self.counts = torch.zeros_like(self.norms)

    def _routed(self, i, experts, x, chosen, shares):
        x, chosen, shares = x[: self.valid], chosen[: self.valid], shares[: self.valid]
        total = 0
        for e in range(experts.num_experts):
            token, place = torch.where(chosen == e)
            share = shares[token, place, None].double()
            inner = expert_inner(experts, e, x[token])
            self.norms[i, e] += (F.linear(inner, experts.down_proj[e]).double() * share).norm(dim=-1).sum()
            self.counts[i, e] += len(token)
            total = total + (inner.double() * share).abs().sum(0)
        mean = (total / chosen.numel()) ** 2
        self.channels[i] = mean if self.channels[i] is None else self.channels[i] + mean

    def _hooks(self, model):
        for i, layer in enumerate(model.model.layers):
            read = ("input_layernorm", "pre_feedforward_layernorm", "pre_feedforward_layernorm_2")
            for tap, norm in enumerate(getattr(layer, name, None) for name in read):
                if norm is not None:
                    yield norm.register_forward_hook(lambda _m, _a, out, i=i, tap=tap: self._add(
                        self.hidden[i], tap, out if out.dim() == 3 else out[None]))
            for module, store in ((layer.mlp.down_proj, self.ffn), (layer.self_attn.o_proj, self.heads)):
                yield module.register_forward_pre_hook(lambda _m, args, i=i, store=store: self._add(store, i, args[0]))
            if self.config.enable_moe_block:
                yield layer.experts.register_forward_pre_hook(lambda m, args, i=i: self._routed(i, m, *args))

            def over_layer(_m, args, out, i=i):
                before, after = args[0][0, : self.valid].float(), out[0, : self.valid].float()
                self.cosines[i].append(F.cosine_similarity(before, after, dim=-1).double())

            yield layer.register_forward_hook(over_layer)

    def importances(self):
        """Name → [H] or [L, C] in float32; rows of layers without the hyperparameter are zero."""
        taps = [tap.sqrt() for layer in self.hidden for tap in layer if tap is not None]
        double, ffn = doubled(self.model), self.config.intermediate_size
        rows = lambda width, of: torch.stack([
            self.ffn[i].sqrt() if d == of else torch.zeros(width, dtype=torch.float64) for i, d in enumerate(double)])
        heads = [channels.sqrt().unflatten(-1, (-1, layer.self_attn.head_dim)).norm(dim=-1)
                 for channels, layer in zip(self.heads, self.model.model.layers)]
        out = {"hidden_size": torch.stack(taps).sum(dim=0), "ffn_hidden_size": rows(ffn, False),
               "num_attention_heads": torch.stack(heads)}
        if any(double):
            out["double_ffn_channels"] = rows(2 * ffn, True)
        if self.config.enable_moe_block:
            out |= {"moe_ffn_hidden_size": torch.stack(self.channels).sqrt(), "num_moe_experts": self.norms / (self.counts + 1e-8)}
        return {name: value.float() for name, value in out.items()}

    @torch.no_grad()
    def run(self, model, tokens, lengths):
        handles = list(self._hooks(model))
        for b in range(tokens.shape[0]):
            self.valid = int(lengths[b])
            mask = attention_mask_of(lengths[b : b + 1], tokens.shape[1])
            model.model(input_ids=tokens[b : b + 1], attention_mask=mask, use_cache=False)
        for handle in handles:
            handle.remove()
        return self


def choose(model, importances, layer_scores, sizes):
    """The kept sets for an architecture, and the smallest relative gap at any cut."""
    gaps, double = [], doubled(model)

    def keep(scores, count):
        indices, gap = best(scores, count)
        gaps.append(gap)
        return indices

    full = {name: values.shape[-1] for name, values in importances.items()} | {"num_layers": len(layer_scores)}
    size = full | sizes
    if "double_ffn_channels" in size:
        size["double_ffn_channels"] = 2 * size["ffn_hidden_size"]
    kept = {}
    for name, values in importances.items():
        if name == "hidden_size":
            kept[name] = keep(values, size[name])
            continue
        kept[name] = []
        for i, row in enumerate(values):
            groups = key_heads(model.model.layers[i].self_attn) if name == "num_attention_heads" else 1
            width = len(row) // groups
            if name in ("ffn_hidden_size", "double_ffn_channels") and double[i] != name.startswith("double"):
                kept[name].append([])
                continue
            kept[name].append([g * width + c for g in range(groups)
                               for c in keep(row[g * width : (g + 1) * width], size[name] // groups)])
    first = sorted(required(model))
    others = [i for i in range(len(layer_scores)) if i not in first]
    assert size["num_layers"] >= len(first)
    chosen = keep([layer_scores[i] for i in others], size["num_layers"] - len(first)) if size["num_layers"] > len(first) else []
    kept["num_layers"] = [i + 1 for i in sorted([*first, *(others[c] for c in chosen)])]
    gaps = [gap for gap in gaps if gap is not None]
    return kept, (min(gaps) if gaps else None)


def expert_inner(experts, e, x):
    gate, up = F.linear(x, experts.gate_up_proj[e]).chunk(2, dim=-1)
    return experts.act_fn(gate) * up


def norm_over(norm, flags):
    """The norm's function with statistics over the flagged channels, zero elsewhere."""
    count, weight = flags.sum(), getattr(norm, "weight", 1.0)
    return lambda x: x * flags * torch.rsqrt((x * flags).pow(2).sum(-1, keepdim=True) / count + norm.eps) * weight


@contextlib.contextmanager
def masked(model, kept):
    """The model with everything that is not kept masked out, its weights untouched."""
    config = model.config
    hidden = _flags(kept["hidden_size"], config.hidden_size)
    narrow = len(kept["hidden_size"]) < config.hidden_size
    handles, replaced = [], []

    def replace(module, forward):
        replaced.append(module)
        module.forward = forward

    def input_mask(module, flags):
        handles.append(module.register_forward_pre_hook(lambda _m, args: (args[0] * flags, *args[1:])))

    if narrow:
        handles.append(model.model.embed_tokens.register_forward_hook(lambda _m, _a, out: out * hidden))
        replace(model.model.norm, norm_over(model.model.norm, hidden))
    for i, layer in enumerate(model.model.layers):
        if i + 1 not in kept["num_layers"]:
            replace(layer, lambda hidden_states, *_args, **_kwargs: hidden_states)
            continue
        width = widths(model)[i]
        name = "double_ffn_channels" if doubled(model)[i] else "ffn_hidden_size"
        input_mask(layer.mlp.down_proj, _flags(kept[name][i], width))
        heads = _flags(kept["num_attention_heads"][i], config.num_attention_heads)
        input_mask(layer.self_attn.o_proj, heads.repeat_interleave(layer.self_attn.head_dim))
        if narrow:
            for norm in (getattr(layer, name, None) for name in NORMS):
                if norm is not None:
                    replace(norm, norm_over(norm, hidden))
        if config.enable_moe_block:
            if narrow:
                replace(layer.router.norm, norm_over(layer.router.norm, hidden))
            gone = 1 - _flags(kept["num_moe_experts"][i], config.num_experts)
            handles.append(layer.router.proj.register_forward_hook(
                lambda _m, _a, out, gone=gone: out.masked_fill(gone.bool(), float("-inf"))))
            channels = _flags(kept["moe_ffn_hidden_size"][i], config.moe_intermediate_size)
            original = layer.experts.down_proj.data
            layer.experts.down_proj.data = original * channels
            handles.append(Restored(layer.experts.down_proj, original))
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module in replaced:
            del module.forward


class Restored:
    """Puts a parameter's values back."""

    def __init__(self, parameter, values):
        self.parameter, self.values = parameter, values

    def remove(self):
        self.parameter.data = self.values
