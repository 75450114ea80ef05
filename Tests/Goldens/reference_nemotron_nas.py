"""Nemotron-NAS out of `transformers`' Llama modules, for it has no code of its own: the loader's names and rules are those of vLLM's
nemotron_nas.py. Importing this makes `AutoConfig` and `AutoModelForCausalLM` know the type. Then Minitron's statistics, choices and
masks on it, through hooks (reference_minitron.py has the method).
"""

import contextlib
import copy

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaModel, LlamaPreTrainedModel
from transformers.models.llama.modeling_llama import (
    LlamaAttention, LlamaDecoderLayer, LlamaMLP, LlamaRMSNorm, LlamaRotaryEmbedding)

from reference_minitron import Statistics, _flags, best, head_dim_of, keep_layers


@strict
class NemotronNASConfig(LlamaConfig):
    model_type = "nemotron-nas"
    intermediate_size: int | None = None
    block_configs: list | None = None

    def validate_architecture(self):
        assert len(self.block_configs or []) == self.num_hidden_layers


def ffn_width(ffn, hidden):
    """Of an entry's `ffn`: by its factor in multiples of 256, or as it says."""
    if ffn.get("ffn_mult") is None:
        return ffn["intermediate_size"]
    return -(-int(2 * ffn["ffn_mult"] * hidden / 3) // 256) * 256


class LinearPart(torch.nn.Module):
    """A linear map under the name it has in place of attention or MLP."""

    def __init__(self, name, hidden):
        super().__init__()
        self.add_module(name, torch.nn.Linear(hidden, hidden, bias=False))

    def forward(self, x):
        return next(iter(self.children()))(x)


class NASLayer(LlamaDecoderLayer):
    def __init__(self, config, block, cached):
        torch.nn.Module.__init__(self)
        own, (attention, ffn) = copy.copy(config), (block["attention"], block["ffn"])
        norm = lambda: LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        if not attention.get("no_op"):
            self.input_layernorm = norm()
            if attention.get("replace_with_linear"):
                self.self_attn = LinearPart("linear_attn", config.hidden_size)
            else:
                own.num_key_value_heads = config.num_attention_heads // attention["n_heads_in_group"]
                self.self_attn = LlamaAttention(own, layer_idx=cached)
        if not ffn.get("no_op"):
            self.post_attention_layernorm = norm()
            if ffn.get("replace_with_linear"):
                self.mlp = LinearPart("linear_mlp", config.hidden_size)
            else:
                own.intermediate_size = ffn_width(ffn, config.hidden_size)
                own.hidden_act = ffn.get("hidden_act") or config.hidden_act
                self.mlp = LlamaMLP(own)

    def forward(self, hidden_states, **kwargs):
        if hasattr(self, "self_attn"):
            x = self.input_layernorm(hidden_states)
            attends = isinstance(self.self_attn, LlamaAttention)
            hidden_states = hidden_states + (self.self_attn(hidden_states=x, **kwargs)[0] if attends else self.self_attn(x))
        if hasattr(self, "mlp"):
            hidden_states = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))
        return hidden_states


class NASModel(LlamaModel):
    config_class = NemotronNASConfig

    def __init__(self, config):
        LlamaPreTrainedModel.__init__(self, config)
        self.padding_idx, self.vocab_size = config.pad_token_id, config.vocab_size
        self.embed_tokens = torch.nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        # Caches know of the layers that attend, one after another.
        attends = [not (b["attention"].get("no_op") or b["attention"].get("replace_with_linear")) for b in config.block_configs]
        self.layers = torch.nn.ModuleList(
            NASLayer(config, block, sum(attends[:i])) for i, block in enumerate(config.block_configs))
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config=config)
        self.gradient_checkpointing = False
        self.post_init()


class NASForCausalLM(LlamaForCausalLM):
    config_class = NemotronNASConfig

    def __init__(self, config):
        LlamaPreTrainedModel.__init__(self, config)
        self.model, self.vocab_size = NASModel(config), config.vocab_size
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


AutoConfig.register("nemotron-nas", NemotronNASConfig)
AutoModelForCausalLM.register(NemotronNASConfig, NASForCausalLM)


def attention_of(layer):
    attention = getattr(layer, "self_attn", None)
    return attention if isinstance(attention, LlamaAttention) else None


def norms(layer):
    return [getattr(layer, name) for name in ("input_layernorm", "post_attention_layernorm") if hasattr(layer, name)]


class NASStatistics(Statistics):
    def _hooks(self, model):
        self.layers = model.model.layers
        for i, layer in enumerate(self.layers):
            for tap, norm in enumerate(norms(layer)):
                yield norm.register_forward_hook(lambda _m, _a, out, i=i, tap=tap: self._add(self.hidden[i], tap, out))
            if attention_of(layer):
                yield layer.self_attn.o_proj.register_forward_pre_hook(
                    lambda _m, args, i=i: self._add(self.heads, i, args[0]))

            def over_layer(_m, args, out, i=i):
                before, after = args[0][0, : self.valid].float(), out[0, : self.valid].float()
                self.cosines[i].append(F.cosine_similarity(before, after, dim=-1).double())

            yield layer.register_forward_hook(over_layer)

    def importances(self):
        """Rows of layers without attention are zero."""
        none = torch.zeros(self.config.num_attention_heads, dtype=torch.float64)
        heads = [none if x is None else x.sqrt().unflatten(-1, (-1, head_dim_of(self.config))).norm(dim=-1) for x in self.heads]
        taps = [tap.sqrt() for layer in self.hidden for tap in layer if tap is not None]
        return {"hidden_size": torch.stack(taps).sum(dim=0).float(), "num_attention_heads": torch.stack(heads).float()}


def choose(model, importances, layer_scores, sizes):
    """The kept sets for an architecture, and the smallest relative gap at any cut."""
    config, layers = model.config, model.model.layers
    size = {"hidden_size": config.hidden_size, "num_attention_heads": config.num_attention_heads, "num_layers": len(layers)} | sizes
    gaps, heads = [], []

    def keep(scores, count):
        indices, gap = best(scores, count)
        gaps.append(gap)
        return indices

    for layer, row in zip(layers, importances["num_attention_heads"]):
        attention = attention_of(layer)
        width = attention.num_key_value_groups if attention else 1
        count = size["num_attention_heads"] * width // len(row)
        heads.append([start + head for start in range(0, len(row), width) for head in keep(row[start : start + width], count)]
                     if attention else [])
    attends = [i for i, layer in enumerate(layers) if attention_of(layer)]
    kept_layers, gap = keep_layers(layer_scores, size["num_layers"], attends)
    gaps = [g for g in gaps + [gap] if g is not None]
    kept = {"hidden_size": keep(importances["hidden_size"], size["hidden_size"]), "num_attention_heads": heads,
            "num_layers": [i + 1 for i in kept_layers]}
    return kept, min([g for g in gaps if g is not None], default=None)


@contextlib.contextmanager
def masked(model, kept):
    """The model with everything that is not kept masked out, its weights untouched."""
    config, handles, replaced = model.config, [], []
    hidden = _flags(kept["hidden_size"], config.hidden_size)

    def replace(module, forward):
        replaced.append(module)
        module.forward = forward

    def over_kept(norm):
        def forward(x):
            y = x.float() * hidden
            return norm.weight * y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) / hidden.sum() + norm.variance_epsilon)

        replace(norm, forward)

    # What reads the residual stream reads it through a norm.
    over_kept(model.model.norm)
    for i, layer in enumerate(model.model.layers):
        if i + 1 not in kept["num_layers"]:
            replace(layer, lambda hidden_states, **_: hidden_states)
            continue
        for norm in norms(layer):
            over_kept(norm)
        if attention_of(layer):
            heads = _flags(kept["num_attention_heads"][i], config.num_attention_heads).repeat_interleave(head_dim_of(config))
            handles.append(layer.self_attn.o_proj.register_forward_pre_hook(
                lambda _m, args, heads=heads: (args[0] * heads, *args[1:])))
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module in replaced:
            del module.forward
