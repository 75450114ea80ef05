"""What a pruned checkpoint of the models in hybrid/ holds: its tensors, sliced, and its config. See make_hybrid.py."""

from make_moe import by_axes
from reference_hybrid import SHARED, SHORT, channels_of, sizes_of
from reference_minitron import head_dim_of

# Axes of published tensors, by the end of their names; "" stays whole.
AXES = [
    (r"(embed_tokens|lm_head)\.weight", ["", "H"]),
    (r"self_attn\.q_proj\.weight", ["N", "H"]), (r"self_attn\.q_proj\.bias", ["N"]),
    (r"self_attn\.[kv]_proj\.weight", ["", "H"]), (r"self_attn\.[kv]_proj\.bias", [""]),
    (r"self_attn\.o_proj\.weight", ["H", "N"]), (r"self_attn\.o_proj\.bias", ["H"]),
    (r"mamba\.x_proj\.weight", ["", "inner"]), (r"mamba\.dt_proj\.weight", ["inner", ""]), (r"mamba\.dt_proj\.bias", ["inner"]),
    (r"mamba\.(dt|b|c)_layernorm\.weight", [""]), (r"experts\.\d+\.(gate|up)_proj\.weight", ["M", "H"]),
    (r"experts\.\d+\.down_proj\.weight", ["H", "M"]),
    (r"mamba\.in_proj\.weight", ["projected", "H"]), (r"mamba\.in_proj\.bias", ["projected"]),
    (r"mamba\.conv1d\.weight", ["convolved", "", ""]), (r"mamba\.conv1d\.bias", ["convolved"]),
    (r"mamba\.(A_log|D|dt_bias)", ["mamba heads"]), (r"mamba\.norm\.weight", ["inner"]),
    (r"mamba\.out_proj\.weight", ["H", "inner"]), (r"mamba\.out_proj\.bias", ["H"]),
    (r"shared_mlp\.input_linear\.weight", ["both", "H"]), (r"shared_mlp\.output_linear\.weight", ["H", "F"]),
    (r"feed_forward\.(gate|up)_proj\.weight", ["F", "H"]), (r"feed_forward\.down_proj\.weight", ["H", "F"]),
    (r"feed_forward\.(gate|up)_proj\.bias", ["F"]), (r"feed_forward\.down_proj\.bias", ["H"]),
    (r"moe\.input_linear\.weight", ["E", "both of an expert", "H"]), (r"moe\.output_linear\.weight", ["E", "H", "M"]),
    (r"router\.layer\.weight", ["E", "H"]),
    (r"self_attn\.out_proj\.weight", ["H", "N"]), (r"self_attn\.[qk]_layernorm\.weight", [""]),
    (r"conv\.in_proj\.weight", ["short, three", "H"]), (r"conv\.in_proj\.bias", ["short, three"]),
    (r"conv\.conv\.weight", ["short", "", ""]), (r"conv\.conv\.bias", ["short"]),
    (r"conv\.out_proj\.weight", ["H", "short"]), (r"conv\.out_proj\.bias", ["H"]),
    (r"experts\.\d+\.w[13]\.weight", ["M", "H"]), (r"experts\.\d+\.w2\.weight", ["H", "M"]),
    (r"feed_forward\.w[13]\.weight", ["F", "H"]), (r"feed_forward\.w2\.weight", ["H", "F"]),
    (r"feed_forward\.gate\.weight", ["E", "H"]), (r"feed_forward\.expert_bias", ["E"]),
    (r"experts\.gate_up_proj", ["E", "H", "both of an expert"]), (r"experts\.down_proj", ["E", "M", "H"]),
    (r"feed_forward\.router\.weight", ["E", "H"]),
    (r"shared_expert\.(gate|up)_proj\.weight", ["S", "H"]), (r"shared_expert\.down_proj\.weight", ["H", "S"]),
    (r"\w*norm\.weight", ["H"]),
]


def indices_of(kept, model, layer):
    config = model.config
    sizes, _ = sizes_of(config)
    dim = head_dim_of(config)
    of = lambda name: kept[name][layer] if name in kept else []
    ffn = SHARED if "ffn_hidden_size" not in sizes else "ffn_hidden_size"
    twice = lambda indices, size: indices + [size + i for i in indices]
    if config.model_type == "llama4_text":
        mixer = {}
    elif config.model_type == "jamba":
        inner = of("mamba_channels")
        mixer = {"inner": inner, "convolved": inner, "mamba heads": inner, "projected": twice(inner, sizes["mamba_channels"])}
    elif config.model_type in SHORT:
        short = of("conv_channels")
        mixer = {"short": short, "short, three": [part * config.hidden_size + c for part in range(3) for c in short]}
    else:
        wide = sizes["mamba_num_heads"] * sizes["mamba_head_dim"]
        shared = 2 * config.mamba_n_groups * config.mamba_d_state
        inner = channels_of(kept, layer, sizes["mamba_head_dim"])
        convolved = inner + list(range(wide, wide + shared))
        mixer = {
            "inner": inner, "convolved": convolved, "mamba heads": of("mamba_num_heads"),
            "projected": inner + [wide + c for c in convolved] + [2 * wide + shared + h for h in of("mamba_num_heads")],
        }
    return mixer | {
        "": None, "H": kept["hidden_size"], "N": [h * dim + d for h in of("num_attention_heads") for d in range(dim)],
        "F": of(ffn), "S": of(SHARED), "both": twice(of(ffn), sizes[ffn]), "E": of("num_moe_experts"), "M": of("moe_ffn_hidden_size"),
        "both of an expert": twice(of("moe_ffn_hidden_size"), sizes.get("moe_ffn_hidden_size", 0)),
    }


def sliced(state, model, kept):
    return by_axes(state, kept, AXES, lambda layer: indices_of(kept, model, layer), before=r"(^|\.|_)")


def exported_config(config, sizes, kept, model):
    """config.json of the pruned model."""
    settings = model.config
    granite = settings.model_type == "granitemoehybrid"
    target = sizes_of(settings)[0] | sizes
    layers = [n - 1 for n in kept["num_layers"]]
    out = dict(config) | {
        "hidden_size": target["hidden_size"], "num_hidden_layers": len(layers), "head_dim": head_dim_of(settings),
        "num_attention_heads": target["num_attention_heads"],
    }
    if settings.model_type == "llama4_text":
        assert target[SHARED] == target["moe_ffn_hidden_size"]
        return out | {
            "intermediate_size": target[SHARED], "num_local_experts": target["num_moe_experts"],
            "intermediate_size_mlp": target.get("ffn_hidden_size", 1),
            "no_rope_layers": [settings.no_rope_layers[i] for i in layers],
            "moe_layers": [at for at, i in enumerate(layers) if i in settings.moe_layers]}
    if settings.model_type == "jamba":
        out |= {"intermediate_size": target["ffn_hidden_size"], "mamba_dt_rank": settings.mamba_dt_rank}
        if "num_moe_experts" in target:
            assert target["ffn_hidden_size"] == target["moe_ffn_hidden_size"]
            out["num_experts"] = target["num_moe_experts"]
        return out
    if settings.model_type in SHORT:
        out["intermediate_size"] = target["ffn_hidden_size"]
        if "layer_types" in config:
            out["layer_types"] = [config["layer_types"][i] for i in layers]
        if "full_attn_idxs" in config:
            out["full_attn_idxs"] = [at for at, i in enumerate(layers) if i in config["full_attn_idxs"]]
        if settings.model_type == "lfm2":
            out.pop("block_ff_dim", None)
            return out | {"block_auto_adjust_ff_dim": False}
        return out | {"num_experts": target["num_moe_experts"], "moe_intermediate_size": target["moe_ffn_hidden_size"],
                      "num_dense_layers": sum(i < config["num_dense_layers"] for i in layers)}
    out |= {"mamba_n_heads": target["mamba_num_heads"], "mamba_d_head": target["mamba_head_dim"]}
    inner = target["mamba_num_heads"] * target["mamba_head_dim"]
    if settings.model_type == "falcon_h1":
        out["mamba_d_ssm"] = inner
    else:
        assert inner % target["hidden_size"] == 0, (inner, target["hidden_size"])
        out["mamba_expand"] = inner // target["hidden_size"]
    if "ffn_hidden_size" in target:
        out["shared_intermediate_size" if granite else "intermediate_size"] = target["ffn_hidden_size"]
    else:
        out |= {"num_local_experts": target["num_moe_experts"], "intermediate_size": target["moe_ffn_hidden_size"],
                "shared_intermediate_size": target[SHARED]}
    if "layer_types" in config:
        out["layer_types"] = [config["layer_types"][i] for i in layers]
    if "attn_layer_indices" in config:
        out["attn_layer_indices"] = [at for at, i in enumerate(layers) if i in config["attn_layer_indices"]]
    return out
