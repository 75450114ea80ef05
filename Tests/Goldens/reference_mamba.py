"""Minitron's statistics, choices and masks for models whose layers are one norm and one mixer, in plain PyTorch.

The companion of reference_minitron.py for `mamba2` and `nemotron_h`: hooks on the modules of an unchanged `transformers`
model. Shapes: B rows, S tokens, H hidden, F ffn, E experts, N Mamba heads, P their head_dim.

Method: Muralidharan et al. 2024 (arXiv 2407.14679); Mamba: Taghibakhshi et al. 2025 (arXiv 2504.11409).
"""

import contextlib

import torch
import torch.nn.functional as F

from reference_minitron import attention_mask_of, best, keep_layers

PER_LAYER = {
    "mamba": ("mamba_num_heads", "mamba_head_dim"),
    "attention": ("num_attention_heads",),
    "mlp": ("ffn_hidden_size",),
    "moe": ("num_moe_experts", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"),
}


def base_of(model):
    return model.backbone if hasattr(model, "backbone") else model.model


def kind_of(mixer):
    name = type(mixer).__name__
    return next(kind for kind, part in
                [("mamba", "Mamba2Mixer"), ("attention", "Attention"), ("mlp", "MLP"), ("moe", "MoE")] if part in name)


def sizes_of(config):
    """Every hyperparameter's original size, and the groups it is ranked in."""
    mamba2 = config.model_type == "mamba2"
    get = lambda name: getattr(config, name, None)
    sizes = {
        "hidden_size": config.hidden_size,
        "mamba_num_heads": config.num_heads if mamba2 else config.mamba_num_heads,
        "mamba_head_dim": config.head_dim if mamba2 else config.mamba_head_dim,
        "num_attention_heads": get("num_attention_heads"),
        "ffn_hidden_size": get("intermediate_size"),
        "num_moe_experts": get("n_routed_experts"),
        "moe_ffn_hidden_size": get("moe_intermediate_size"),
        "moe_shared_expert_intermediate_size": get("moe_shared_expert_intermediate_size"),
        "num_layers": config.num_hidden_layers,
    }
    groups = {
        "mamba_num_heads": config.n_groups,
        "num_attention_heads": get("num_key_value_heads"),
        "num_moe_experts": get("n_group"),
    }
    return sizes, groups


class Statistics:
    """Sums of squared token means per tap, and the cosine of every token over every layer."""

    def __init__(self, model):
        self.config = model.config
        self.sizes, _ = sizes_of(model.config)
        layers = base_of(model).layers
        self.kinds = [kind_of(layer.mixer) for layer in layers]
        self.sums = {}  # (layer, tap): [C]
        self.experts = {}  # layer: (summed norms [E], tokens [E])
        self.cosines = [[] for _ in layers]
        self.gaps = []  # of routing decisions
        self.valid = 0  # tokens of the row under way

    def _add(self, layer, tap, x):
        a = x[0, : self.valid].abs().double().mean(dim=0)
        self.sums[layer, tap] = self.sums.get((layer, tap), 0) + a**2

    def _add_experts(self, layer, module, hidden, chosen, shares):
        """Each routed expert's activations, weighted by its router's share before the down projection."""
        hidden, chosen, shares = hidden[: self.valid], chosen[: self.valid], shares[: self.valid]
        norms, counts = torch.zeros(module.num_experts), torch.zeros(module.num_experts)
        total = 0
        for e in range(module.num_experts):
            token, place = torch.where(chosen == e)
            inner = module.act_fn(F.linear(hidden[token], module.up_proj[e])) * shares[token, place, None]
            norms[e] = F.linear(inner, module.down_proj[e]).norm(dim=-1).sum()
            counts[e] = len(token)
            total = total + inner.abs().double().sum(dim=0)
        before = self.experts.get(layer, (0, 0))
        self.experts[layer] = (before[0] + norms, before[1] + counts)
        key = (layer, "moe_ffn_hidden_size")
        self.sums[key] = self.sums.get(key, 0) + (total / chosen.numel()) ** 2

    def _routing_gap(self, gate, args):
        """The closest call between the last expert chosen and the first not chosen (within the chosen groups), and
        between groups."""
        x = args[0].view(-1, gate.hidden_dim)[: self.valid]
        scores = F.linear(x.float(), gate.weight.float()).sigmoid() + gate.e_score_correction_bias
        grouped = scores.view(len(x), gate.num_group, -1)
        if gate.topk_group < gate.num_group:
            by_group = grouped.topk(2, dim=-1)[0].sum(-1)
            order = by_group.sort(dim=-1, descending=True)[0]
            self.gaps.append(float((order[:, gate.topk_group - 1] - order[:, gate.topk_group]).min()))
            chosen = by_group.topk(gate.topk_group, dim=-1)[1]
            grouped = grouped.gather(1, chosen[:, :, None].expand(-1, -1, grouped.shape[2]))
        order = grouped.flatten(1).sort(dim=-1, descending=True)[0]
        self.gaps.append(float((order[:, gate.top_k - 1] - order[:, gate.top_k]).min()))

    def _hooks(self, model):
        def reads(module, i, tap):
            return module.register_forward_pre_hook(lambda _m, args: self._add(i, tap, args[0]))

        inner = self.sizes["mamba_num_heads"] * self.sizes["mamba_head_dim"]
        for i, layer in enumerate(base_of(model).layers):
            mixer = layer.mixer
            yield layer.norm.register_forward_hook(lambda _m, _a, out, i=i: self._add(i, "hidden", out))
            if self.kinds[i] == "mamba":
                yield mixer.in_proj.register_forward_hook(
                    lambda _m, _a, out, i=i: self._add(i, "mamba", out[..., inner : 2 * inner])
                )
            elif self.kinds[i] == "attention":
                yield reads(mixer.o_proj, i, "heads")
            elif self.kinds[i] == "mlp":
                yield reads(mixer.down_proj, i, "ffn_hidden_size")
            else:
                yield reads(mixer.shared_experts.down_proj, i, "moe_shared_expert_intermediate_size")
                yield mixer.gate.register_forward_pre_hook(lambda m, args: self._routing_gap(m, args))
                yield mixer.experts.register_forward_pre_hook(lambda m, args, i=i: self._add_experts(i, m, *args))

            def over_layer(_m, args, kwargs, out, i=i):
                before = args[0] if args else kwargs["hidden_states"]
                before, after = before[0, : self.valid].float(), out[0, : self.valid].float()
                self.cosines[i].append(F.cosine_similarity(before, after, dim=-1).double())

            yield layer.register_forward_hook(over_layer, with_kwargs=True)

    @torch.no_grad()
    def run(self, model, tokens, lengths):
        mask = attention_mask_of(lengths, tokens.shape[1])
        handles = list(self._hooks(model))
        try:
            for b in range(tokens.shape[0]):
                self.valid = int(lengths[b])
                base_of(model)(input_ids=tokens[b : b + 1], attention_mask=mask[b : b + 1], use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return self

    def layer_scores(self, micro_batch):
        """[L]: 1 − mean cosine over a micro-batch's tokens, summed over micro-batches."""
        scores = []
        for rows in self.cosines:
            batches = [rows[i : i + micro_batch] for i in range(0, len(rows), micro_batch)]
            scores.append(sum(1 - torch.cat(batch).mean() for batch in batches))
        return torch.stack(scores).float()

    def importances(self):
        """hidden_size [H]; of what the layers have [L, …], zeros where a layer lacks it. Float32."""
        out = {"hidden_size": sum(v.sqrt() for (_, tap), v in self.sums.items() if tap == "hidden").float()}
        for kind in dict.fromkeys(self.kinds):
            for name in PER_LAYER[kind]:
                out[name] = torch.zeros(len(self.kinds), self.sizes[name])
        for i, kind in enumerate(self.kinds):
            if kind == "mamba":
                x = self.sums[i, "mamba"].sqrt().view(self.sizes["mamba_num_heads"], -1)
                out["mamba_num_heads"][i] = x.norm(dim=1)
                out["mamba_head_dim"][i] = x.norm(dim=0)
            elif kind == "attention":
                heads = self.sums[i, "heads"].sqrt().view(self.sizes["num_attention_heads"], -1)
                out["num_attention_heads"][i] = heads.norm(dim=1)
            elif kind == "mlp":
                out["ffn_hidden_size"][i] = self.sums[i, "ffn_hidden_size"].sqrt()
            else:
                norms, counts = self.experts[i]
                out["num_moe_experts"][i] = norms / (counts + 1e-8)
                for name in ("moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"):
                    out[name][i] = self.sums[i, name].sqrt()
        return out


def choose(config, kinds, importances, layer_scores, export_config):
    """The kept sets for an architecture, and the smallest relative gap at any cut. Layers that lack something keep
    an empty list of it."""
    sizes, groups = sizes_of(config)
    target = sizes | export_config
    gaps = []

    def keep(scores, count):
        indices, gap = best(scores, count)
        gaps.append(gap)
        return indices

    attention = [i for i, kind in enumerate(kinds) if kind == "attention"]
    kept_layers, gap = keep_layers(layer_scores, target["num_layers"], attention)
    gaps.append(gap)
    kept = {
        "hidden_size": keep(importances["hidden_size"], target["hidden_size"]),
        "num_layers": [i + 1 for i in kept_layers],
    }
    for name, rows in importances.items():
        if name == "hidden_size":
            continue
        parts = groups.get(name) or 1
        assert target[name] % parts == 0
        size = sizes[name] // parts
        kept[name] = [
            [g * size + i for g in range(parts) for i in keep(row[g * size : (g + 1) * size], target[name] // parts)]
            if name in PER_LAYER[kind]
            else []
            for row, kind in zip(rows, kinds)
        ]
    gaps = [gap for gap in gaps if gap is not None]
    return kept, (min(gaps) if gaps else None)


def _flags(indices, size):
    flags = torch.zeros(size)
    flags[indices] = 1
    return flags


def inner_of(kept, layer, head_dim):
    """The kept channels of heads × head_dim."""
    return [h * head_dim + d for h in kept["mamba_num_heads"][layer] for d in kept["mamba_head_dim"][layer]]


@contextlib.contextmanager
def masked(model, kept):
    """The model with everything that is not kept masked out.

    Dropped layers hand their input on; dropped channels are zeroed where the projection back to the residual stream
    reads them; dropped hidden channels in everything written to it. Norms, also the grouped ones of Mamba layers, take
    their means over kept channels. Dropped experts are never chosen.
    """
    config = model.config
    sizes, _ = sizes_of(config)
    hidden = _flags(kept["hidden_size"], config.hidden_size)
    count = len(kept["hidden_size"])
    handles, replaced, changed = [], [], []

    def replace_forward(module, forward):
        replaced.append(module)
        module.forward = forward

    def change(tensor, value):
        changed.append((tensor, tensor.clone()))
        tensor.copy_(value)

    def norm_over_kept(norm):
        def forward(x):
            y = x.float() * hidden
            return norm.weight * (y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) / count + norm.variance_epsilon))

        replace_forward(norm, forward)

    def gated_norm_over_kept(norm, flags):
        groups = config.n_groups
        per_group = int(flags.sum()) // groups

        def forward(x, gate):
            y = x.float() * F.silu(gate.float()) * flags
            means = y.unflatten(-1, (groups, -1)).pow(2).sum(-1, keepdim=True) / per_group
            return norm.weight * (y.unflatten(-1, (groups, -1)) * torch.rsqrt(means + norm.variance_epsilon)).flatten(-2)

        replace_forward(norm, forward)

    def input_mask(module, flags):
        handles.append(module.register_forward_pre_hook(lambda _m, args: (args[0] * flags, *args[1:])))

    def output_mask(module):
        mask = lambda out: (out[0] * hidden, *out[1:]) if isinstance(out, tuple) else out * hidden
        handles.append(module.register_forward_hook(lambda _m, _a, out: mask(out)))

    narrow = count < config.hidden_size
    base = base_of(model)
    with torch.no_grad():
        if narrow:
            output_mask(base.embeddings)
            norm_over_kept(base.norm_f)
        for i, layer in enumerate(base.layers):
            if i + 1 not in kept["num_layers"]:
                replace_forward(layer, lambda hidden_states, *_args, **_kwargs: hidden_states)
                continue
            mixer, kind = layer.mixer, kind_of(layer.mixer)
            if narrow:
                norm_over_kept(layer.norm)
                output_mask(mixer)
            if kind == "mamba":
                inner = sizes["mamba_num_heads"] * sizes["mamba_head_dim"]
                gated_norm_over_kept(mixer.norm, _flags(inner_of(kept, i, sizes["mamba_head_dim"]), inner))
            elif kind == "attention":
                heads = _flags(kept["num_attention_heads"][i], config.num_attention_heads)
                input_mask(mixer.o_proj, heads.repeat_interleave(config.head_dim))
            elif kind == "mlp":
                input_mask(mixer.down_proj, _flags(kept["ffn_hidden_size"][i], sizes["ffn_hidden_size"]))
            else:
                name = "moe_shared_expert_intermediate_size"
                input_mask(mixer.shared_experts.down_proj, _flags(kept[name][i], sizes[name]))
                # The activation of zero is zero.
                inner = _flags(kept["moe_ffn_hidden_size"][i], sizes["moe_ffn_hidden_size"])
                change(mixer.experts.up_proj, mixer.experts.up_proj * inner[:, None])
                stay = _flags(kept["num_moe_experts"][i], sizes["num_moe_experts"])
                change(mixer.gate.e_score_correction_bias, mixer.gate.e_score_correction_bias - 1e6 * (1 - stay))
        try:
            yield model
        finally:
            for handle in handles:
                handle.remove()
            for module in replaced:
                del module.forward
            for tensor, value in changed:
                tensor.copy_(value)


def sliced(state, config, kinds, kept):
    """The tensors that a pruned checkpoint holds, by index-selecting the original's. Layers and experts are renumbered."""
    sizes, _ = sizes_of(config)
    hidden = torch.tensor(kept["hidden_size"])
    out = {}
    for name, tensor in state.items():
        if not name.startswith("backbone.layers."):
            out[name] = tensor[hidden] if tensor.dim() == 1 else tensor[:, hidden]
            continue
        number, part = name.removeprefix("backbone.layers.").split(".", 1)
        layer = int(number)
        if layer + 1 not in kept["num_layers"]:
            continue
        name = f"backbone.layers.{kept['num_layers'].index(layer + 1)}.{part}"
        pick = lambda key: torch.tensor(kept[key][layer])
        if part == "norm.weight":
            out[name] = tensor[hidden]
            continue
        part = part.removeprefix("mixer.")
        module, leaf = part.rsplit(".", 1) if "." in part else ("", part)
        writes = reads = None  # the indices that stay of the first and of the second axis
        if kinds[layer] == "mamba":
            heads, dim, total = pick("mamba_num_heads"), sizes["mamba_head_dim"], sizes["mamba_num_heads"]
            inner = torch.tensor(inner_of(kept, layer, dim))
            shared = torch.arange(2 * config.n_groups * (getattr(config, "ssm_state_size", None) or config.state_size))
            width = total * dim
            convolved = torch.cat([inner, width + shared])
            writes, reads = {
                "in_proj": (torch.cat([inner, width + convolved, 2 * width + len(shared) + heads]), hidden),
                "conv1d": (convolved, None),
                "norm": (inner, None),
                "out_proj": (hidden, inner),
                "": (heads, None),
            }[module]
        elif kinds[layer] == "attention":
            dim = config.head_dim
            rows = torch.tensor([h * dim + d for h in kept["num_attention_heads"][layer] for d in range(dim)])
            writes, reads = {"q_proj": (rows, hidden), "o_proj": (hidden, rows)}.get(module, (None, hidden))
        elif kinds[layer] == "mlp":
            ffn = pick("ffn_hidden_size")
            writes, reads = {"up_proj": (ffn, hidden), "down_proj": (hidden, ffn)}[module]
        elif module == "gate":
            writes, reads = pick("num_moe_experts"), (hidden if leaf == "weight" else None)
        elif module.startswith("shared_experts"):
            ffn = pick("moe_shared_expert_intermediate_size")
            writes, reads = (ffn, hidden) if module.endswith("up_proj") else (hidden, ffn)
        elif "latent" in module:
            writes, reads = (None, hidden) if module == "fc1_latent_proj" else (hidden, None)
        else:
            expert = int(module.split(".")[1])
            if expert not in kept["num_moe_experts"][layer]:
                continue
            name = name.replace(f"experts.{expert}.", f"experts.{kept['num_moe_experts'][layer].index(expert)}.")
            ffn, side = pick("moe_ffn_hidden_size"), (None if config.moe_latent_size else hidden)
            writes, reads = (ffn, side) if module.endswith("up_proj") else (side, ffn)
        if writes is not None:
            tensor = tensor[writes]
        if reads is not None and leaf == "weight":
            tensor = tensor[:, reads]
        out[name] = tensor
    return {name: tensor.contiguous() for name, tensor in out.items()}
