"""The checkpoints with Mamba-2 layers: one entry each, `config` being config.json as it is written, key for key.

Between them the cases spell the kinds of layers both ways (`hybrid_override_pattern`, `layers_block_type` with names of
today and of older checkpoints), write infinity as Python's json and as `transformers` do, and reach past a chunk of
the scan. `rows` are the row lengths; every row is padded to the first.
"""

INFINITY = float("inf")  # json writes Infinity
WRITTEN_INFINITY = {"__float__": "Infinity"}


def mamba2(hidden, layers, heads, head_dim, groups, vocab, tied, **more):
    config = {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_heads": heads,
        "head_dim": head_dim,
        "n_groups": groups,
        "state_size": 8,
        "conv_kernel": 4,
        "expand": heads * head_dim // hidden,
        "chunk_size": 16,
        "hidden_act": "silu",
        "layer_norm_epsilon": 1e-05,
        "use_bias": False,
        "use_conv_bias": True,
        "residual_in_fp32": True,
        "rms_norm": True,
        "time_step_limit": [0.0, INFINITY],
        "tie_word_embeddings": tied,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    return {k: v for k, v in (config | more).items() if v is not None}


def nemotron_h(layers, hidden, vocab, **more):
    config = {
        "architectures": ["NemotronHForCausalLM"],
        "model_type": "nemotron_h",
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": len(layers),
        ("hybrid_override_pattern" if isinstance(layers, str) else "layers_block_type"): layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 38,
        "mlp_hidden_act": "relu2",
        "mamba_num_heads": 8,
        "mamba_head_dim": 6,
        "mamba_hidden_act": "silu",
        "n_groups": 2,
        "ssm_state_size": 8,
        "conv_kernel": 4,
        "expand": 2,
        "chunk_size": 16,
        "use_conv_bias": True,
        "use_bias": False,
        "mlp_bias": False,
        "attention_bias": False,
        "mamba_proj_bias": False,
        "layer_norm_epsilon": 1e-05,
        "residual_in_fp32": False,
        "time_step_min": 0.001,
        "time_step_max": 0.1,
        "time_step_limit": [0.0, INFINITY],
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return {k: v for k, v in (config | more).items() if v is not None}


EXPERTS = {
    "intermediate_size": 14,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 14,
    "moe_shared_expert_intermediate_size": 26,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "n_group": 1,
    "topk_group": 1,
}


def _case(config, dtype_key, rows, **prunings):
    return {"config": config | {dtype_key: "bfloat16"}, "rows": rows, "prunings": prunings}


OLD, NEW = "torch_dtype", "dtype"

CASES = {
    # Rows longer than two chunks of the scan.
    "mamba2_tied": _case(
        mamba2(24, 4, 6, 8, 2, 19, True),
        OLD,
        [140, 140, 89],
        width={"hidden_size": 16, "mamba_num_heads": 4},
        depth={"num_layers": 3},
        everything={"hidden_size": 12, "mamba_num_heads": 4, "mamba_head_dim": 6, "num_layers": 2},
    ),
    # Biases on the projections, none on the convolution, Δ bounded on both sides, one group.
    "mamba2_bias": _case(
        mamba2(20, 3, 5, 8, 1, 29, False, use_bias=True, use_conv_bias=False, conv_kernel=3, intermediate_size=40,
               rms_norm=None, time_step_limit=[0.02, 0.7], residual_in_fp32=False),
        NEW,
        [40, 40, 23],
        heads={"mamba_num_heads": 4, "mamba_head_dim": 5},
        everything={"hidden_size": 18, "mamba_num_heads": 3, "mamba_head_dim": 6, "num_layers": 2},
        identity={},
    ),
    # Nemotron-H and Nemotron Nano v2: letters, infinity as Python writes it.
    "nemotron_h_pattern": _case(
        nemotron_h("M-M*-M-", 24, 19),
        OLD,
        [100, 100, 71],
        width={"hidden_size": 17, "ffn_hidden_size": 29, "mamba_num_heads": 6, "mamba_head_dim": 5},
        depth={"num_layers": 5},
        everything={"hidden_size": 20, "ffn_hidden_size": 21, "num_attention_heads": 2, "mamba_num_heads": 4,
                    "mamba_head_dim": 3, "num_layers": 4},
        identity={},
    ),
    # The list, by names of today; biases, four groups, no least Δ.
    "nemotron_h_list": _case(
        nemotron_h(["linear_attention", "full_attention", "mlp", "linear_attention", "mlp"], 26, 31, n_groups=4,
                   use_bias=True, mlp_bias=True, use_conv_bias=False, time_step_min=0.0, num_key_value_heads=4,
                   time_step_limit=[0.0, WRITTEN_INFINITY], num_hidden_layers=None),
        NEW,
        [40, 40, 27],
        heads={"mamba_num_heads": 4, "mamba_head_dim": 4},
        everything={"hidden_size": 21, "ffn_hidden_size": 30, "mamba_num_heads": 4, "num_layers": 3},
    ),
    # Nemotron 3 Nano: routed and shared experts, and no MLP layers.
    "nemotron_h_experts": _case(
        nemotron_h("ME*EM", 24, 23, **EXPERTS),
        OLD,
        [40, 40, 31],
        width={"hidden_size": 18, "moe_ffn_hidden_size": 11, "moe_shared_expert_intermediate_size": 19},
        experts={"num_moe_experts": 6},
        everything={"hidden_size": 20, "num_attention_heads": 2, "mamba_num_heads": 6, "mamba_head_dim": 5,
                    "num_moe_experts": 5, "moe_ffn_hidden_size": 9, "moe_shared_expert_intermediate_size": 21,
                    "num_layers": 4},
        identity={},
    ),
    # Nemotron 3 Super: experts in a latent space; routing in groups; names of older checkpoints.
    "nemotron_h_latent": _case(
        nemotron_h(["mamba", "moe", "attention", "moe", "mlp"], 24, 23,
                   **(EXPERTS | {"moe_latent_size": 12, "n_group": 2, "topk_group": 1, "norm_topk_prob": False,
                                 "routed_scaling_factor": 1.0, "intermediate_size": 30})),
        NEW,
        [40, 40, 19],
        depth={"num_layers": 3},
        everything={"hidden_size": 19, "ffn_hidden_size": 22, "mamba_num_heads": 4, "num_moe_experts": 6,
                    "moe_ffn_hidden_size": 10, "moe_shared_expert_intermediate_size": 17, "num_layers": 4},
    ),
}
