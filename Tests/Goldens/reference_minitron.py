"""Minitron's statistics, choices and masks in plain PyTorch, on an unchanged `transformers` model.

Everything here works through hooks on the published modules, so that it shares no code and no idea of layout
with the program it checks. Shapes: B rows, S tokens, H hidden, F ffn, N query heads, G key/value heads, D head_dim.

Method: Muralidharan et al. 2024 (arXiv 2407.14679); layer scores by cosine, arXiv 2504.11409.
"""

import contextlib

import torch
import torch.nn.functional as F


def head_dim_of(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def attention_mask_of(lengths, width):
    """[B, S] of ones over each row's tokens and zeros over its padding on the right."""
    return (torch.arange(width)[None, :] < torch.as_tensor(lengths)[:, None]).long()


def reset_positions(model):
    """Dynamic positions, once stretched for a long row, stay so for the rows after it: makes them as they were."""
    rotary = getattr(model.base_model, "rotary_emb", None)
    if getattr(rotary, "rope_type", None) == "dynamic":
        model.base_model.rotary_emb = type(rotary)(model.config)


@torch.no_grad()
def logits_of(model, tokens, lengths):
    """[B, S, V] in float32, rows run one at a time and at their own length, zeros where a row is padded."""
    width = tokens.shape[1]
    rows = []
    for b, length in enumerate(int(n) for n in lengths):
        reset_positions(model)
        logits = model(input_ids=tokens[b : b + 1, :length], use_cache=False).logits.float()
        rows.append(F.pad(logits, (0, 0, 0, width - length)))
    return torch.cat(rows)


class Statistics:
    """Sums of squared token means per tap, and the cosine of every token over every layer."""

    def __init__(self, model):
        self.config = model.config
        layers = len(model.model.layers)
        self.hidden = [[None, None] for _ in range(layers)]
        self.ffn = [None] * layers
        self.heads = [None] * layers
        self.cosines = [[] for _ in range(layers)]  # per layer, per row: [tokens]
        self.valid = 0  # tokens of the row under way

    def _add(self, store, index, x):
        # The mean runs over the row's own tokens; its square is what rows add up.
        a = x[0, : self.valid].abs().double().mean(dim=0)
        store[index] = a**2 if store[index] is None else store[index] + a**2

    def _hooks(self, model):
        for i, layer in enumerate(model.model.layers):
            for tap, norm in enumerate((layer.input_layernorm, layer.post_attention_layernorm)):
                yield norm.register_forward_hook(
                    lambda _m, _a, out, i=i, tap=tap: self._add(self.hidden[i], tap, out)
                )
            yield layer.mlp.down_proj.register_forward_pre_hook(
                lambda _m, args, i=i: self._add(self.ffn, i, args[0])
            )
            yield layer.self_attn.o_proj.register_forward_pre_hook(
                lambda _m, args, i=i: self._add(self.heads, i, args[0])
            )

            def over_layer(_m, args, kwargs, out, i=i):
                before = args[0] if args else kwargs["hidden_states"]
                after = out[0] if isinstance(out, tuple) else out
                before, after = before[0, : self.valid].float(), after[0, : self.valid].float()
                self.cosines[i].append(F.cosine_similarity(before, after, dim=-1).double())

            yield layer.register_forward_hook(over_layer, with_kwargs=True)

    @torch.no_grad()
    def run(self, model, tokens, lengths):
        handles = list(self._hooks(model))
        try:
            for b in range(tokens.shape[0]):
                self.valid = int(lengths[b])
                reset_positions(model)
                model.model(input_ids=tokens[b : b + 1, : self.valid], use_cache=False)
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
        """hidden_size [H], ffn_hidden_size [L, F], num_attention_heads [L, N], in float32."""
        taps = [tap.sqrt() for layer in self.hidden for tap in layer]
        channels = torch.stack(self.heads).sqrt()
        heads = channels.unflatten(-1, (-1, head_dim_of(self.config))).norm(dim=-1)
        return {
            "hidden_size": torch.stack(taps).sum(dim=0).float(),
            "ffn_hidden_size": torch.stack(self.ffn).sqrt().float(),
            "num_attention_heads": heads.float(),
        }


def best(scores, count):
    """Indices of the `count` largest scores in ascending order, ties to the lower index, and the relative gap
    between the last one kept and the first one dropped (None when nothing is dropped)."""
    values = [float(s) for s in scores]
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    gap = None
    if count < len(values):
        first, last = values[order[count - 1]], values[order[count]]
        gap = (first - last) / max(abs(first), 1e-30)
    return sorted(order[:count]), gap


def keep_layers(scores, count, attention=()):
    """The kept layers (0-based) and the gap of `best`. Where only some layers attend, the best of these is kept
    whatever its rank: the published modules cannot generate without one."""
    if not attention or len(attention) == len(scores):
        return best(scores, count)
    first = max(attention, key=lambda i: (float(scores[i]), -i))
    others = [i for i in range(len(scores)) if i != first]
    chosen, gap = best([scores[i] for i in others], count - 1) if count > 1 else ([], None)
    return sorted([first, *(others[i] for i in chosen)]), gap


def attention_layers(config):
    types = getattr(config, "layer_types", None) or []
    return [i for i, name in enumerate(types) if name != "linear_attention"]


def choose(config, importances, layer_scores, export_config):
    """The kept sets for an architecture, and the smallest relative gap at any cut."""
    layers, heads, groups = config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads
    size = {
        "hidden_size": config.hidden_size,
        "ffn_hidden_size": config.intermediate_size,
        "num_attention_heads": heads,
        "num_layers": layers,
    } | export_config
    gaps = []

    def keep(scores, count):
        indices, gap = best(scores, count)
        gaps.append(gap)
        return indices

    per_group = heads // groups
    assert size["num_attention_heads"] % groups == 0
    kept_heads = []
    for row in importances["num_attention_heads"]:
        kept = []
        for g in range(groups):
            first = g * per_group
            chosen = keep(row[first : first + per_group], size["num_attention_heads"] // groups)
            kept += [first + h for h in chosen]
        kept_heads.append(kept)
    kept_layers, gap = keep_layers(layer_scores, size["num_layers"], attention_layers(config))
    gaps.append(gap)
    kept = {
        "hidden_size": keep(importances["hidden_size"], size["hidden_size"]),
        "ffn_hidden_size": [keep(row, size["ffn_hidden_size"]) for row in importances["ffn_hidden_size"]],
        "num_attention_heads": kept_heads,
        "num_layers": [i + 1 for i in kept_layers],
    }
    gaps = [gap for gap in gaps if gap is not None]
    return kept, (min(gaps) if gaps else None)


def _flags(indices, size):
    flags = torch.zeros(size)
    flags[indices] = 1
    return flags


@contextlib.contextmanager
def masked(model, kept):
    """The model with everything that is not kept masked out, its weights untouched.

    Dropped layers hand their input on. Dropped ffn channels and heads are zeroed where the projection back to
    the residual stream reads them. Dropped hidden channels are zeroed in everything written to the residual
    stream, and each norm over it takes its mean over the kept channels.
    """
    config = model.config
    hidden = _flags(kept["hidden_size"], config.hidden_size)
    count = len(kept["hidden_size"])
    handles, restore = [], []

    def replace_forward(module, forward):
        restore.append(module)
        module.forward = forward

    def norm_over_kept(norm):
        def forward(x):
            y = x.float() * hidden
            y = y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) / count + norm.variance_epsilon)
            return norm.weight * y.to(x.dtype)

        replace_forward(norm, forward)

    def output_mask(module):
        handles.append(module.register_forward_hook(lambda _m, _a, out: out * hidden))

    def input_mask(module, flags):
        handles.append(module.register_forward_pre_hook(lambda _m, args: (args[0] * flags, *args[1:])))

    dim = head_dim_of(config)
    narrow = count < config.hidden_size
    if narrow:
        output_mask(model.model.embed_tokens)
        norm_over_kept(model.model.norm)
    for i, layer in enumerate(model.model.layers):
        if i + 1 not in kept["num_layers"]:
            replace_forward(layer, lambda hidden_states, *_args, **_kwargs: hidden_states)
            continue
        input_mask(layer.mlp.down_proj, _flags(kept["ffn_hidden_size"][i], config.intermediate_size))
        heads = _flags(kept["num_attention_heads"][i], config.num_attention_heads)
        input_mask(layer.self_attn.o_proj, heads.repeat_interleave(dim))
        if narrow:
            output_mask(layer.mlp.down_proj)
            output_mask(layer.self_attn.o_proj)
            norm_over_kept(layer.input_layernorm)
            norm_over_kept(layer.post_attention_layernorm)
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module in restore:
            del module.forward  # the instance's own; the class's shows again


def sliced(state, config, kept):
    """The tensors that a pruned checkpoint holds, by index-selecting the original's. Names are renumbered."""
    dim = head_dim_of(config)
    hidden = torch.tensor(kept["hidden_size"])
    out = {}
    for name, tensor in state.items():
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            out[name] = tensor[:, hidden]
        elif name == "model.norm.weight":
            out[name] = tensor[hidden]
        else:
            number, part = name.removeprefix("model.layers.").split(".", 1)
            layer = int(number)
            if layer + 1 not in kept["num_layers"]:
                continue
            ffn = torch.tensor(kept["ffn_hidden_size"][layer])
            rows = torch.tensor([h * dim + d for h in kept["num_attention_heads"][layer] for d in range(dim)])
            module, kind = part.rsplit(".", 2)[-2:]
            writes = {"q_proj": rows, "gate_proj": ffn, "up_proj": ffn, "o_proj": hidden, "down_proj": hidden}
            reads = {"o_proj": rows, "down_proj": ffn}
            if module in ("input_layernorm", "post_attention_layernorm"):
                tensor = tensor[hidden]
            elif module not in ("q_norm", "k_norm"):
                if module in writes:
                    tensor = tensor[writes[module]]
                if kind == "weight":
                    tensor = tensor[:, reads.get(module, hidden)]
            renumbered = kept["num_layers"].index(layer + 1)
            name = f"model.layers.{renumbered}.{part}"
            out[name] = tensor
    return {name: tensor.contiguous() for name, tensor in out.items()}
