"""Minitron's statistics, choices and masks for mixtures of experts, in plain PyTorch on `transformers` models.

Routing and experts are written out here once more, one expert after another, so that they share nothing with the
program under test; with everything kept they must give what the published modules give.

Shapes: T tokens, K experts per token, E experts, H hidden, F expert ffn.
"""

import contextlib

import torch
import torch.nn.functional as F

from reference_minitron import Statistics, attention_layers, best, head_dim_of, keep_layers


def parts(layer):
    """(router, experts, shared expert or None) of a layer with experts, None of a dense one."""
    mlp = layer.mlp
    if not hasattr(mlp, "experts"):
        return None
    router = getattr(mlp, "router", None) or mlp.gate
    if "e_score_correction_bias" in mlp._buffers:  # MiniMax-M2 has it beside the router
        router.choice_bias = mlp.e_score_correction_bias.detach()
    return router, mlp.experts, next((getattr(mlp, n) for n in SHARED if getattr(mlp, n, None) is not None), None)


SHARED = ("shared_expert", "shared_experts", "shared_mlp")
# Routing by sigmoid and in groups, as DeepSeek-V3 does.
GROUPED = ("deepseek_v3", "glm4_moe", "glm4_moe_lite", "dots1", "deepseek_v32", "glm_moe_dsa")
# Experts as wide as the config's intermediate_size.
IN_SMALL = ("mixtral", "olmoe", "gpt_oss", "minimax_m2", "hunyuan_v1_moe", "phimoe")
NORMALISED = ("mixtral", "minimax_m2", "ernie4_5_moe", "hunyuan_v1_moe", "qwen3_5_moe_text")
# Norms of queries and keys over all heads.
NORMS_SPAN_HEADS = ("olmoe", "minimax_m2")


def is_latent(config):
    return config.model_type.startswith("deepseek") or config.model_type in ("glm4_moe_lite", "glm_moe_dsa")


def matrix_of(router):
    return router.wg.weight if hasattr(router, "wg") else router.weight


def choice_bias(router):
    """What is added to scores when experts are chosen, [E]; None where nothing is."""
    if hasattr(router, "moe_statics"):
        return router.moe_statics.e_score_correction_bias[0]
    return getattr(router, "choice_bias", getattr(router, "e_score_correction_bias", None))


def original_sizes(config):
    """What can be pruned, and how much of it there is."""
    latent = is_latent(config)
    family = config.model_type
    sizes = {"num_layers": config.num_hidden_layers, "hidden_size": config.hidden_size}
    if not latent:
        sizes["num_attention_heads"] = config.num_attention_heads
    counts = (getattr(config, name, None) for name in ("n_routed_experts", "num_experts", "num_local_experts"))
    sizes["num_moe_experts"] = next(count for count in counts if count)
    in_small = family in IN_SMALL
    sizes["moe_ffn_hidden_size"] = config.intermediate_size if in_small else config.moe_intermediate_size
    count = getattr(config, "n_shared_experts", None) or getattr(config, "moe_num_shared_experts", None)
    if count:
        sizes["moe_shared_expert_intermediate_size"] = count * config.moe_intermediate_size
    if family == "hunyuan_v1_moe":
        sizes["moe_shared_expert_intermediate_size"] = config.intermediate_size
    if family == "qwen2_moe":
        sizes["moe_shared_expert_intermediate_size"] = config.shared_expert_intermediate_size
    if not in_small:
        sizes["ffn_hidden_size"] = config.intermediate_size
    return sizes


def expert_groups(config):
    grouped = config.model_type in GROUPED or getattr(config, "topk_method", "") == "group_limited_greedy"
    return config.n_group if grouped else 1


def route(config, router, x, kept):
    """Weights and experts, [T, K] each, of tokens [T, H], with only the kept experts in reach."""
    family, k = config.model_type, config.num_experts_per_tok
    k = k[0] if isinstance(k, list) else k
    matrix = matrix_of(router)
    gone = torch.ones(matrix.shape[0], dtype=torch.bool)
    gone[kept] = False
    never = float("-inf")
    if family == "gpt_oss":
        logits = (x @ router.weight.T + router.bias).masked_fill(gone, never)
        values, chosen = logits.topk(k, dim=-1)
        return values.softmax(-1), chosen
    if family == "phimoe":
        return sparsely_mixed((x @ matrix.T).masked_fill(gone, never), 2 * config.router_jitter_noise)[:2]
    wide = x.float() if is_latent(config) or family in GROUPED + ("ernie4_5_moe",) else x
    logits = (wide @ matrix.to(wide.dtype).T).float().masked_fill(gone, never)
    scores = logits.sigmoid() if family in GROUPED + ("minimax_m2",) else logits.softmax(-1)
    bias = choice_bias(router)
    choice = scores if bias is None else scores + bias
    choice = choice.masked_fill(gone, never)
    if (groups := expert_groups(config)) > 1:
        by_group = choice.unflatten(-1, (groups, -1))
        if family in GROUPED:
            group_scores = by_group.sort(-1, descending=True).values[..., :2].sum(-1)
        else:
            group_scores = by_group.amax(-1)
        order = group_scores.argsort(-1, descending=True)
        shut = torch.ones_like(group_scores).scatter(1, order[:, : config.topk_group], 0).bool()
        choice = by_group.masked_fill(shut[..., None], never).flatten(1)
    chosen = choice.topk(k, dim=-1).indices
    weights = scores.gather(1, chosen)
    if family in NORMALISED or (family != "deepseek_v2" and getattr(config, "norm_topk_prob", False)):
        weights = weights / weights.sum(-1, keepdim=True)
    weights = weights * getattr(config, "routed_scaling_factor", 1.0)
    return weights, chosen


def sparsely_mixed(logits, reach):
    """SparseMixer outside training: the best expert, then the best of the rest, each with its share of those close to it; and
    which those are, [T, 2 × E]."""
    first, second = logits.sort(-1, descending=True).indices[:, :2].split(1, dim=-1)
    weights, close, left = [], [], logits
    for chosen in (first, second):
        best = left.gather(-1, chosen)
        near = ((best - logits) / torch.maximum(logits.abs(), best) <= reach) & left.isfinite()
        weights.append(best.exp() / torch.where(near, left.exp(), 0.0).sum(-1, keepdim=True))
        close.append(near)
        left = left.scatter(-1, chosen, float("-inf"))
    return torch.cat(weights, -1), torch.cat([first, second], -1), torch.cat(close, -1)


def expert_inner(config, experts, e, x):
    """The input of expert e's down projection, [T, F]."""
    if config.model_type == "gpt_oss":
        both = x @ experts.gate_up_proj[e] + experts.gate_up_proj_bias[e]
        gate, up = both[..., 0::2], both[..., 1::2]
        gate, up = gate.clamp(max=config.swiglu_limit), up.clamp(-config.swiglu_limit, config.swiglu_limit)
        return gate * torch.sigmoid(config.swiglu_alpha * gate) * (up + 1)
    gate, up = (x @ experts.gate_up_proj[e].T).chunk(2, dim=-1)
    return F.silu(gate) * up


def expert_output(config, experts, e, inner):
    if config.model_type == "gpt_oss":
        return inner @ experts.down_proj[e] + experts.down_proj_bias[e]
    return inner @ experts.down_proj[e].T


class MoEStatistics(Statistics):
    def __init__(self, model):
        super().__init__(model)
        layers = len(model.model.layers)
        self.sizes = original_sizes(model.config)
        self.shared = [None] * layers
        self.channels = [None] * layers
        experts = self.sizes["num_moe_experts"]
        self.norms = torch.zeros(layers, experts, dtype=torch.float64)
        self.counts = torch.zeros(layers, experts, dtype=torch.float64)

    def _add(self, store, index, x):
        super()._add(store, index, x if x.dim() == 3 else x[None])

    def _routed(self, config, layer, experts, x, chosen, weights):
        """One micro-batch at a layer's experts."""
        x, chosen, weights = (t[: self.valid] for t in (x, chosen, weights))
        total = 0
        for e in range(experts.down_proj.shape[0]):
            at = (chosen == e).nonzero()
            if not len(at):
                continue
            share = weights[at[:, 0], at[:, 1], None].double()
            inner = expert_inner(config, experts, e, x[at[:, 0]])
            output = expert_output(config, experts, e, inner)
            self.norms[layer, e] += (output.double() * share).norm(dim=-1).sum()
            self.counts[layer, e] += len(at)
            total = total + (inner.double() * share).abs().sum(0)
        mean = (total / chosen.numel()) ** 2
        self.channels[layer] = mean if self.channels[layer] is None else self.channels[layer] + mean

    def _hooks(self, model):
        config = model.config
        for i, layer in enumerate(model.model.layers):
            for tap, norm in enumerate((layer.input_layernorm, layer.post_attention_layernorm)):
                yield norm.register_forward_hook(lambda _m, _a, out, i=i, tap=tap: self._add(self.hidden[i], tap, out))
            if not is_latent(config):
                yield layer.self_attn.o_proj.register_forward_pre_hook(
                    lambda _m, args, i=i: self._add(self.heads, i, args[0])
                )
            if (found := parts(layer)) is None:
                yield layer.mlp.down_proj.register_forward_pre_hook(
                    lambda _m, args, i=i: self._add(self.ffn, i, args[0])
                )
            else:
                yield found[1].register_forward_pre_hook(
                    lambda m, args, i=i: self._routed(config, i, m, *args[:3])
                )
                if found[2] is not None:
                    yield found[2].down_proj.register_forward_pre_hook(
                        lambda _m, args, i=i: self._add(self.shared, i, args[0])
                    )

            def over_layer(_m, args, kwargs, out, i=i):
                before = args[0] if args else kwargs["hidden_states"]
                after = out[0] if isinstance(out, tuple) else out
                before, after = before[0, : self.valid].float(), after[0, : self.valid].float()
                self.cosines[i].append(F.cosine_similarity(before, after, dim=-1).double())

            yield layer.register_forward_hook(over_layer, with_kwargs=True)

    def importances(self):
        """Name → [H] or [L, C] in float32; rows of layers without the hyperparameter are zero."""
        taps = [tap.sqrt() for layer in self.hidden for tap in layer]
        out = {"hidden_size": torch.stack(taps).sum(dim=0).float()}

        def rows(name, store):
            if name in self.sizes:
                zero = torch.zeros(self.sizes[name], dtype=torch.float64)
                out[name] = torch.stack([zero if s is None else s.sqrt() for s in store]).float()

        rows("ffn_hidden_size", self.ffn)
        rows("moe_ffn_hidden_size", self.channels)
        rows("moe_shared_expert_intermediate_size", self.shared)
        if not is_latent(self.config):
            channels = torch.stack(self.heads).sqrt()
            out["num_attention_heads"] = channels.unflatten(-1, (-1, head_dim_of(self.config))).norm(dim=-1).float()
        out["num_moe_experts"] = (self.norms / (self.counts + 1e-8)).float()
        return out


def choose(model, importances, layer_scores, export_config):
    """The kept sets for an architecture, and the smallest relative gap at any cut."""
    config = model.config
    size = original_sizes(config) | export_config
    groups = {"num_attention_heads": config.num_key_value_heads, "num_moe_experts": expert_groups(config)}
    gaps = []

    def keep(scores, count):
        indices, gap = best(scores, count)
        gaps.append(gap)
        return indices

    kept_layers, gap = keep_layers(layer_scores, size["num_layers"], attention_layers(config))
    gaps.append(gap)
    kept = {
        "hidden_size": keep(importances["hidden_size"], size["hidden_size"]),
        "num_layers": [i + 1 for i in kept_layers],
    }
    for name in size:
        if name in kept:
            continue
        kept[name] = []
        for i, layer in enumerate(model.model.layers):
            if name != "num_attention_heads" and (parts(layer) is None) != (name == "ffn_hidden_size"):
                kept[name].append([])
                continue
            row, n = importances[name][i], groups.get(name, 1)
            width = len(row) // n
            assert size[name] % n == 0
            kept[name].append(
                [g * width + c for g in range(n) for c in keep(row[g * width : (g + 1) * width], size[name] // n)]
            )
    gaps = [gap for gap in gaps if gap is not None]
    return kept, (min(gaps) if gaps else None)


def flags_of(indices, size):
    flags = torch.zeros(size)
    flags[indices] = 1
    return flags


def norm_over(norm, flags):
    """The norm's function with statistics over the flagged channels, zero elsewhere."""
    count = flags.sum()
    if isinstance(norm, torch.nn.LayerNorm):

        def centred(x):
            y = x * flags
            y = (y - y.sum(-1, keepdim=True) / count) * flags
            return (y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) / count + norm.eps) * norm.weight + norm.bias) * flags

        return centred
    epsilon = norm.variance_epsilon
    return lambda x: x * flags * torch.rsqrt((x * flags).pow(2).sum(-1, keepdim=True) / count + epsilon) * norm.weight


@contextlib.contextmanager
def masked(model, kept):
    """The model with everything that is not kept masked out, its weights untouched."""
    config, sizes = model.config, original_sizes(model.config)
    hidden = flags_of(kept["hidden_size"], config.hidden_size)
    narrow = len(kept["hidden_size"]) < config.hidden_size
    handles, replaced = [], []

    def replace(module, forward):
        replaced.append(module)
        module.forward = forward

    def output_mask(module):
        def hook(_m, _a, out):
            return (out[0] * hidden, *out[1:]) if isinstance(out, tuple) else out * hidden

        handles.append(module.register_forward_hook(hook))

    def input_mask(module, flags):
        handles.append(module.register_forward_pre_hook(lambda _m, args: (args[0] * flags, *args[1:])))

    if narrow:
        output_mask(model.model.embed_tokens)
        replace(model.model.norm, norm_over(model.model.norm, hidden))
    for i, layer in enumerate(model.model.layers):
        if i + 1 not in kept["num_layers"]:
            passed = lambda h: (h, None) if config.model_type == "glm_moe_dsa" else h
            replace(layer, lambda hidden_states, *_args, passed=passed, **_kwargs: passed(hidden_states))
            continue
        if not is_latent(config):
            dim = head_dim_of(config)
            heads = flags_of(kept["num_attention_heads"][i], config.num_attention_heads).repeat_interleave(dim)
            input_mask(layer.self_attn.o_proj, heads)
            if config.model_type in NORMS_SPAN_HEADS:
                replace(layer.self_attn.q_norm, norm_over(layer.self_attn.q_norm, heads))
        if narrow:
            output_mask(layer.self_attn.o_proj)
            output_mask(layer.mlp)
            for norm in (layer.input_layernorm, layer.post_attention_layernorm):
                replace(norm, norm_over(norm, hidden))
        if (found := parts(layer)) is None:
            input_mask(layer.mlp.down_proj, flags_of(kept["ffn_hidden_size"][i], config.intermediate_size))
            continue
        router, experts, shared = found
        channels = flags_of(kept["moe_ffn_hidden_size"][i], sizes["moe_ffn_hidden_size"])

        def routed(x, *_bias, router=router, i=i):
            weights, chosen = route(config, router, x.reshape(-1, x.shape[-1]), kept["num_moe_experts"][i])
            return None, weights, chosen

        def mixed(x, chosen, weights, experts=experts, channels=channels):
            out = torch.zeros_like(x)
            for e in chosen.unique().tolist():
                at = (chosen == e).nonzero()
                inner = expert_inner(config, experts, e, x[at[:, 0]]) * channels
                out.index_add_(0, at[:, 0], expert_output(config, experts, e, inner) * weights[at[:, 0], at[:, 1], None])
            return out

        replace(router, routed)
        replace(experts, mixed)
        if shared is not None:
            name = "moe_shared_expert_intermediate_size"
            input_mask(shared.down_proj, flags_of(kept[name][i], sizes[name]))
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module in replaced:
            del module.forward


# Axes of published tensors, by the end of their names: H hidden, N heads' channels, F dense ffn, E experts,
# M expert ffn, G gate and up of each expert channel in turn, J gate's before up's, S shared ffn; "" stays whole.
AXES = [
    (r"(embed_tokens|lm_head)\.weight", ["", "H"]),
    (r"self_attn\.q_proj\.weight", ["N", "H"]), (r"self_attn\.q_proj\.bias", ["N"]),
    (r"self_attn\.[kv]_proj\.weight", ["", "H"]), (r"self_attn\.[kv]_proj\.bias", [""]),
    (r"self_attn\.o_proj\.weight", ["H", "N"]), (r"self_attn\.o_proj\.bias", ["H"]),
    (r"self_attn\.q_norm\.weight", ["Q"]), (r"self_attn\.k_norm\.weight", [""]), (r"self_attn\.sinks", ["A"]),
    (r"self_attn\.(q_a_proj|kv_a_proj_with_mqa)\.weight", ["", "H"]),
    (r"self_attn\.(q_a_proj|kv_a_proj_with_mqa)\.bias", [""]),
    (r"self_attn\.(q_b_proj|kv_b_proj)\.weight", ["", ""]),
    (r"indexer\.(wk|weights_proj)\.weight", ["", "H"]), (r"indexer\.wq_b\.weight", ["", ""]),
    (r"indexer\.k_norm\.(weight|bias)", [""]),
    (r"self_attn\.(query|key)_layernorm\.weight", [""]),
    (r"self_attn\.(q_a_layernorm|kv_a_layernorm)\.weight", [""]),
    (r"shared_(experts?|mlp)\.(gate|up)_proj\.weight", ["S", "H"]),
    (r"shared_(experts?|mlp)\.down_proj\.weight", ["H", "S"]),
    (r"shared_experts?\.(gate|up)_proj\.bias", ["S"]), (r"shared_experts?\.down_proj\.bias", ["H"]),
    (r"shared_expert_gate\.weight", ["", "H"]),
    (r"experts\.\d+\.(gate_proj|up_proj|w1|w3)\.weight", ["M", "H"]),
    (r"experts\.\d+\.(down_proj|w2)\.weight", ["H", "M"]),
    (r"experts\.gate_up_proj", ["E", "H", "G"]), (r"experts\.gate_up_proj_bias", ["E", "G"]),
    (r"experts\.down_proj", ["E", "M", "H"]), (r"experts\.down_proj_bias", ["E", "H"]),
    (r"(gate|router|wg)\.weight", ["E", "H"]), (r"moe_statics\.e_score_correction_bias", ["", "E"]),
    (r"(router\.bias|e_score_correction_bias)", ["E"]),
    (r"mlp\.(gate|up)_proj\.weight", ["F", "H"]), (r"mlp\.down_proj\.weight", ["H", "F"]),
    (r"mlp\.(gate|up)_proj\.bias", ["F"]), (r"mlp\.down_proj\.bias", ["H"]),
    (r"\w*norm\.(weight|bias)", ["H"]), (r"lm_head\.bias", [""]),
]
