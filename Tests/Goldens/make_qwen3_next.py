"""Makes Tests/Goldens/moe/qwen3_next* and qwen3_5_moe*: make_moe.py's way, where mixers are gated delta nets or gated attention.

    python make_qwen3_next.py [CASE …]        (no names: all of them)

Norms multiply by 1 + weight, no heads can be pruned; the rest is make_moe.py's.
"""

import contextlib
import sys

import torch
import torch.nn.functional as F

import make_moe
import reference_moe
from make_dense2 import Anatomy, adds_one, norm_over
from moe_cases import _case
from reference_moe import MoEStatistics, expert_inner, expert_output, flags_of, parts, route
from transformers import AutoConfig, AutoModelForCausalLM

LINEAR = {"linear_conv_kernel_dim": 4, "linear_key_head_dim": 10, "linear_value_head_dim": 8,
          "linear_num_key_heads": 2, "linear_num_value_heads": 4}

make_moe.CASES = {
    # A dense layer among the sparse ones, three delta nets to each attention, a shared expert with a gate. The large
    # epsilon is for the gated norm, which blows up outputs close to zero, where bfloat16 is noise.
    "qwen3_next": _case(
        "qwen3_next", "Qwen3NextForCausalLM", 4, 37,
        {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "rms_norm_eps": 0.01,
         "intermediate_size": 34, "moe_intermediate_size": 14, "shared_expert_intermediate_size": 20,
         "num_experts": 6, "num_experts_per_tok": 2, "norm_topk_prob": True, "decoder_sparse_step": 1,
         "mlp_only_layers": [1], "full_attention_interval": 3, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 10,
         "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
         "partial_rotary_factor": 0.5, "rope_theta": 1000.0},
        [20, 20, 13],
        {"width": {"hidden_size": 26, "ffn_hidden_size": 27, "num_moe_experts": 4, "moe_ffn_hidden_size": 11,
                   "moe_shared_expert_intermediate_size": 15},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 27, "ffn_hidden_size": 25, "num_moe_experts": 5,
                        "moe_ffn_hidden_size": 9, "moe_shared_expert_intermediate_size": 13},
         "identity": {}},
        {"norm_topk_prob": {"norm_topk_prob": False}, "partial": {"partial_rotary_factor": 1.0}},
    ),
    # Experts in every layer, all of them in one tensor.
    "qwen3_5_moe": _case(
        "qwen3_5_moe_text", "Qwen3_5MoeForCausalLM", 4, 37,
        LINEAR | {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
                  "rms_norm_eps": 0.01, "moe_intermediate_size": 14, "shared_expert_intermediate_size": 20,
                  "num_experts": 6, "num_experts_per_tok": 2, "full_attention_interval": 3,
                  "partial_rotary_factor": 0.5, "rope_theta": 1000.0},
        [14, 14, 9],
        {"width": {"hidden_size": 26, "num_moe_experts": 4, "moe_ffn_hidden_size": 11,
                   "moe_shared_expert_intermediate_size": 15},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 27, "num_moe_experts": 5, "moe_ffn_hidden_size": 9,
                        "moe_shared_expert_intermediate_size": 13},
         "identity": {}},
        {"partial": {"partial_rotary_factor": 1.0}, "experts per token": {"num_experts_per_tok": 3}},
    ),
}


def original_sizes(config):
    dense = {} if config.model_type == "qwen3_5_moe_text" else {"ffn_hidden_size": config.intermediate_size}
    return {
        "num_layers": config.num_hidden_layers, "hidden_size": config.hidden_size,
        "num_moe_experts": config.num_experts, "moe_ffn_hidden_size": config.moe_intermediate_size,
        "moe_shared_expert_intermediate_size": config.shared_expert_intermediate_size,
    } | dense


class Statistics(MoEStatistics):
    def _hooks(self, model):
        for i, layer in enumerate(model.model.layers):
            # The heads' tap has to be somewhere; nobody asks for it.
            layer.self_attn = Anatomy.attention(layer)
            layer.self_attn.o_proj = Anatomy.output(layer)
        yield from super()._hooks(model)

    def run(self, *arguments):
        layers = arguments[0].model.layers
        before = [dict(layer._modules) for layer in layers]
        inside = [dict(Anatomy.attention(layer)._modules) for layer in layers]
        try:
            return super().run(*arguments)
        finally:
            for layer, modules, inner in zip(layers, before, inside):
                Anatomy.attention(layer)._modules = inner
                layer._modules = modules

    def importances(self):
        width = self.heads[0].numel()
        if any(h.numel() != width for h in self.heads):
            self.heads = [torch.ones(self.config.head_dim) for _ in self.heads]
        out = super().importances()
        out.pop("num_attention_heads", None)
        return out


@contextlib.contextmanager
def masked(model, kept):
    config, sizes = model.config, original_sizes(model.config)
    hidden = flags_of(kept["hidden_size"], config.hidden_size)
    narrow = len(kept["hidden_size"]) < config.hidden_size
    handles, replaced = [], []

    def replace(module, forward):
        replaced.append(module)
        module.forward = forward

    def output_mask(module):
        handles.append(module.register_forward_hook(lambda _m, _a, out: out * hidden))

    def input_mask(module, flags):
        handles.append(module.register_forward_pre_hook(lambda _m, args: (args[0] * flags, *args[1:])))

    if narrow:
        output_mask(model.model.embed_tokens)
        replace(model.model.norm, norm_over(model.model.norm, hidden))
    for i, layer in enumerate(model.model.layers):
        if i + 1 not in kept["num_layers"]:
            replace(layer, lambda hidden_states, *_args, **_kwargs: hidden_states)
            continue
        if narrow:
            output_mask(Anatomy.output(layer))
            output_mask(layer.mlp)
            for norm in Anatomy.norms(layer):
                replace(norm, norm_over(norm, hidden))
        if (found := parts(layer)) is None:
            input_mask(layer.mlp.down_proj, flags_of(kept["ffn_hidden_size"][i], config.intermediate_size))
            continue
        router, experts, shared = found
        channels = flags_of(kept["moe_ffn_hidden_size"][i], sizes["moe_ffn_hidden_size"])

        def routed(x, router=router, i=i):
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
        name = "moe_shared_expert_intermediate_size"
        input_mask(shared.down_proj, flags_of(kept[name][i], sizes[name]))
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module in replaced:
            del module.forward


published_checkpoint = make_moe.checkpoint


def checkpoint(config, draw):
    state = published_checkpoint(config, draw)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    shapes = {name: tuple(parameter.shape) for name, parameter in model.state_dict().items()}
    for name, module in model.named_modules():
        if adds_one(module):
            state[f"{name}.weight"] = (state[f"{name}.weight"].float() - 1).bfloat16()
    for name in state:
        if name.endswith("conv1d.weight"):
            state[name] = draw.matrix(shapes[name][0], shapes[name][2], 2.0).unsqueeze(1)
        elif name.endswith("A_log"):
            state[name] = draw.uniform(*shapes[name], low=-2.0, high=1.0)
        elif name.endswith("out_proj.weight"):
            state[name] = draw.matrix(*shapes[name], 0.5)
    return {k: v.contiguous() for k, v in state.items()}


def exported_config(config, kept, model):
    settings, layers = model.config, [n - 1 for n in kept["num_layers"]]
    size = lambda name: max(len(row) for row in kept[name])
    dense = {} if "ffn_hidden_size" not in kept else {
        "intermediate_size": size("ffn_hidden_size"),
        "mlp_only_layers": [at for at, i in enumerate(layers) if parts(model.model.layers[i]) is None],
    }
    return dict(config) | dense | {
        "hidden_size": len(kept["hidden_size"]), "num_hidden_layers": len(layers), "num_experts": size("num_moe_experts"),
        "moe_intermediate_size": size("moe_ffn_hidden_size"),
        "shared_expert_intermediate_size": size("moe_shared_expert_intermediate_size"),
        "layer_types": [settings.layer_types[i] for i in layers],
    }


reference_moe.original_sizes = make_moe.original_sizes = original_sizes
make_moe.is_latent = lambda _config: True  # heads stay, as in latent attention
make_moe.MoEStatistics, make_moe.masked, make_moe.checkpoint = Statistics, masked, checkpoint
make_moe.exported_config = exported_config
make_moe.AXES = [
    (r"linear_attn\.in_proj_\w+\.weight", ["", "H"]), (r"linear_attn\.out_proj\.weight", ["H", ""]),
    (r"linear_attn\.conv1d\.weight", ["", "", ""]), (r"linear_attn\.(norm\.weight|A_log|dt_bias)", [""]),
    (r"experts\.gate_up_proj", ["E", "J", "H"]), (r"experts\.down_proj", ["E", "H", "M"]),
] + make_moe.AXES

if __name__ == "__main__":
    make_moe.make_all(sys.argv[1:], make_moe.CASES, make_moe.attempt, seeds=30)
