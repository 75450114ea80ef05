"""The hybrids whose layers are a mixer and an MLP: one entry each, `config` being config.json as it is written, key for key.

`rows` are the row lengths; every row is padded to the first. `moves` are changes of the config that must move the logits.
"""

INFINITY = float("inf")  # json writes Infinity


def _case(model_type, architecture, layers, vocab, config, rows, prunings, moves=None):
    config = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        "hidden_act": "silu",
        "max_position_embeddings": 256,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    } | config
    config = {k: v for k, v in config.items() if v is not None}
    return {"config": config, "rows": rows, "prunings": prunings, "moves": moves or {}}


MAMBA = {
    "mamba_n_heads": 8, "mamba_d_head": 6, "mamba_n_groups": 2, "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2,
    "mamba_chunk_size": 16,
}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-05}
SHORT = {
    "hidden_size": 24, "num_attention_heads": 4, "num_key_value_heads": 2, "norm_eps": 1e-05, "conv_L_cache": 3,
    "rope_theta": 100.0,
}
GRANITE = {"embedding_multiplier": 1.5, "logits_scaling": 2.0, "residual_multiplier": 0.7, "attention_multiplier": 0.3}

CASES = {
    # Granite 4 H Small: experts beside a shared MLP, no positions; kinds of layers by their older names.
    "granitemoehybrid_experts": _case(
        "granitemoehybrid", "GraniteMoeHybridForCausalLM", 4, 37,
        HEADS | MAMBA | GRANITE | {
            "hidden_size": 24, "intermediate_size": 14, "shared_intermediate_size": 20, "num_local_experts": 6,
            "num_experts_per_tok": 2, "position_embedding_type": "nope", "layer_types": ["mamba", "attention", "mamba", "mamba"],
            "time_step_limit": [0.0, INFINITY]},
        [40, 40, 23],
        {"width": {"hidden_size": 16, "mamba_num_heads": 8, "num_moe_experts": 4, "moe_ffn_hidden_size": 11,
                   "moe_shared_expert_intermediate_size": 15},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 18, "num_attention_heads": 2, "mamba_num_heads": 6,
                        "mamba_head_dim": 3, "num_moe_experts": 5, "moe_ffn_hidden_size": 9,
                        "moe_shared_expert_intermediate_size": 13},
         "identity": {}},
        {"experts per token": {"num_experts_per_tok": 3}, "positions": {"position_embedding_type": "rope"},
         "scale": {"attention_multiplier": 0.9}},
    ),
    # Granite 4 H Micro without experts, with positions; the head's size follows, tied, biases, no convolution bias.
    "granitemoehybrid_dense": _case(
        "granitemoehybrid", "GraniteMoeHybridForCausalLM", 4, 31,
        HEADS | MAMBA | GRANITE | {
            "hidden_size": 24, "intermediate_size": 10, "shared_intermediate_size": 30, "num_local_experts": 0,
            "num_experts_per_tok": 0, "position_embedding_type": "rope", "rope_theta": 100.0, "mamba_d_head": "auto",
            "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
            "attention_bias": True, "mamba_proj_bias": True, "mamba_conv_bias": False, "tie_word_embeddings": True,
            "time_step_limit": [0.02, 0.9]},
        [30, 30, 19],
        {"width": {"hidden_size": 16, "ffn_hidden_size": 23, "mamba_num_heads": 8},
         "everything": {"num_layers": 3, "hidden_size": 20, "ffn_hidden_size": 21, "num_attention_heads": 2,
                        "mamba_num_heads": 4, "mamba_head_dim": 5}},
        {"positions": {"position_embedding_type": None}, "steps": {"time_step_limit": [0.0, INFINITY]}},
    ),
    "bamba": _case(
        "bamba", "BambaForCausalLM", 4, 31,
        HEADS | MAMBA | {"hidden_size": 24, "head_dim": 8, "intermediate_size": 34, "attn_layer_indices": [2],
                         "rope_theta": 100.0},
        [40, 40, 23],
        {"width": {"hidden_size": 16, "ffn_hidden_size": 23, "mamba_num_heads": 8},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 18, "ffn_hidden_size": 21, "num_attention_heads": 2,
                        "mamba_num_heads": 6, "mamba_head_dim": 3},
         "identity": {}},
        {"positions": {"rope_theta": 10000.0}},
    ),
    # Biases everywhere, tied, one group.
    "bamba_bias": _case(
        "bamba", "BambaForCausalLM", 3, 29,
        HEADS | MAMBA | {"hidden_size": 20, "mamba_n_heads": 5, "mamba_d_head": 8, "mamba_n_groups": 1, "head_dim": 8,
                         "intermediate_size": 30, "attn_layer_indices": [1], "mlp_bias": True, "attention_bias": True,
                         "mamba_proj_bias": True, "mamba_conv_bias": False, "tie_word_embeddings": True,
                         "time_step_limit": [0.02, 0.9], "num_key_value_heads": 4},
        [24, 24, 17],
        {"everything": {"hidden_size": 16, "ffn_hidden_size": 23, "mamba_num_heads": 4, "num_layers": 2}},
        {"steps": {"time_step_limit": [0.0, INFINITY]}},
    ),
    # No norm after the scan, its width by a field; factors that all differ.
    "falcon_h1": _case(
        "falcon_h1", "FalconH1ForCausalLM", 3, 31,
        HEADS | MAMBA | {
            "hidden_size": 28, "head_dim": 8, "intermediate_size": 34, "mamba_d_ssm": 48, "rope_theta": 1000.0,
            "lm_head_multiplier": 0.6, "embedding_multiplier": 1.7, "mlp_multipliers": [0.8, 1.3], "key_multiplier": 0.6,
            "attention_out_multiplier": 1.4, "attention_in_multiplier": 0.8, "ssm_multipliers": [1.3, 0.8, 1.5, 0.7, 1.2],
            "ssm_in_multiplier": 1.25, "ssm_out_multiplier": 0.9},
        [40, 40, 23],
        {"width": {"hidden_size": 21, "ffn_hidden_size": 23, "mamba_num_heads": 6},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 19, "ffn_hidden_size": 21, "num_attention_heads": 2,
                        "mamba_num_heads": 4, "mamba_head_dim": 5},
         "identity": {}},
        {name: {name: value} for name, value in {
            "key_multiplier": 1.0, "attention_out_multiplier": 1.0, "attention_in_multiplier": 1.0,
            "ssm_in_multiplier": 1.0, "ssm_out_multiplier": 1.0, "ssm_multipliers": [1.0] * 5}.items()},
    ),
    # Norms after the gate and before it, in groups; biases, tied.
    "falcon_h1_normed": _case(
        "falcon_h1", "FalconH1ForCausalLM", 3, 29,
        HEADS | MAMBA | {
            "hidden_size": 24, "intermediate_size": 30, "mamba_d_ssm": 48, "mamba_rms_norm": True,
            "mamba_norm_before_gate": False, "projectors_bias": True, "mlp_bias": True, "attention_bias": True,
            "mamba_proj_bias": True, "mamba_conv_bias": False, "tie_word_embeddings": True, "mlp_multipliers": [0.8, 1.3],
            "attention_in_multiplier": 0.8, "ssm_in_multiplier": 1.2},
        [24, 24, 17],
        {"everything": {"num_layers": 2, "hidden_size": 19, "ffn_hidden_size": 21, "num_attention_heads": 2,
                        "mamba_num_heads": 4, "mamba_head_dim": 5}},
        {"order": {"mamba_norm_before_gate": True}},
    ),
    "falcon_h1_gated": _case(
        "falcon_h1", "FalconH1ForCausalLM", 2, 29,
        HEADS | MAMBA | {
            "hidden_size": 24, "intermediate_size": 30, "mamba_d_ssm": 48, "mamba_rms_norm": True,
            "mamba_norm_before_gate": True, "attention_out_multiplier": 0.8},
        [20, 20, 13],
        {"width": {"hidden_size": 17, "mamba_num_heads": 6, "mamba_head_dim": 4}},
        {"order": {"mamba_norm_before_gate": False}},
    ),
    # The width of MLPs by the rule of older configs, under its older name.
    "lfm2": _case(
        "lfm2", "Lfm2ForCausalLM", 4, 31,
        SHORT | {"block_ff_dim": 44, "block_multiple_of": 8, "block_ffn_dim_multiplier": 1.1,
                 "tie_word_embeddings": True, "block_dim": 24, "conv_dim": 24, "conv_dim_out": 24,
                 "layer_types": ["conv", "conv", "full_attention", "conv"]},
        [24, 24, 13],
        {"width": {"hidden_size": 17, "ffn_hidden_size": 23},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 19, "ffn_hidden_size": 21, "num_attention_heads": 2},
         "identity": {}},
        {"positions": {"rope_theta": 1000000.0}},
    ),
    # Biases, the layers with attention by their numbers, widths as they are said.
    "lfm2_bias": _case(
        "lfm2", "Lfm2ForCausalLM", 3, 29,
        SHORT | {"intermediate_size": 30, "block_auto_adjust_ff_dim": False, "conv_bias": True, "conv_L_cache": 4,
                 "full_attn_idxs": [1]},
        [20, 20, 13],
        {"everything": {"num_layers": 2, "hidden_size": 19, "ffn_hidden_size": 21, "num_attention_heads": 2}},
    ),
    # Experts after one layer without.
    "lfm2_moe": _case(
        "lfm2_moe", "Lfm2MoeForCausalLM", 4, 37,
        SHORT | {"intermediate_size": 30, "moe_intermediate_size": 14, "num_experts": 6, "num_experts_per_tok": 2,
                 "num_dense_layers": 1, "routed_scaling_factor": 1.4,
                 "layer_types": ["conv", "conv", "full_attention", "conv"]},
        [20, 20, 13],
        {"width": {"hidden_size": 17, "ffn_hidden_size": 23, "num_moe_experts": 4, "moe_ffn_hidden_size": 11},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 19, "ffn_hidden_size": 21, "num_attention_heads": 2,
                        "num_moe_experts": 5, "moe_ffn_hidden_size": 9},
         "identity": {}},
        {"normalised": {"norm_topk_prob": False}, "scale": {"routed_scaling_factor": 1.0}},
    ),
    # Chunks shorter than rows, a layer without positions whose queries grow; experts in every other layer.
    "llama4": _case(
        "llama4_text", "Llama4ForCausalLM", 4, 37,
        HEADS | {"hidden_size": 24, "head_dim": 8, "intermediate_size": 14, "intermediate_size_mlp": 30,
                 "num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2,
                 "no_rope_layers": [1, 0, 1, 1], "attention_chunk_size": 6, "attn_temperature_tuning": True, "floor_scale": 4,
                 "attn_scale": 0.3, "use_qk_norm": True, "rope_theta": 100.0},
        [20, 20, 13],
        {"width": {"hidden_size": 17, "ffn_hidden_size": 23, "num_moe_experts": 3, "moe_ffn_hidden_size": 11,
                   "moe_shared_expert_intermediate_size": 11},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 19, "ffn_hidden_size": 21, "num_attention_heads": 2,
                        "num_moe_experts": 3, "moe_ffn_hidden_size": 9, "moe_shared_expert_intermediate_size": 9},
         "identity": {}},
        {"chunks": {"attention_chunk_size": 64}, "growth": {"attn_temperature_tuning": False}, "norm": {"use_qk_norm": False},
         "positions": {"rope_theta": 10000.0}},
    ),
    # Two experts a token in every layer, biases, tied, no norms.
    "llama4_pairs": _case(
        "llama4_text", "Llama4ForCausalLM", 2, 31,
        HEADS | {"hidden_size": 24, "head_dim": 8, "intermediate_size": 14, "num_local_experts": 4, "num_experts_per_tok": 2,
                 "attention_chunk_size": 5, "layer_types": ["full_attention", "chunked_attention"], "attention_bias": True,
                 "attn_temperature_tuning": False, "use_qk_norm": False, "tie_word_embeddings": True},
        [14, 14, 9],
        {"width": {"hidden_size": 17, "num_moe_experts": 3, "moe_ffn_hidden_size": 11,
                   "moe_shared_expert_intermediate_size": 11}},
        {"experts per token": {"num_experts_per_tok": 1}},
    ),
    # Jamba: the first Mamba, attention without positions, experts in every second layer; layers go in whole periods.
    "jamba": _case(
        "jamba", "JambaForCausalLM", 6, 37,
        HEADS | {"hidden_size": 20, "num_attention_heads": 4, "intermediate_size": 18, "num_experts": 5, "num_experts_per_tok": 2,
                 "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 0,
                 "mamba_d_state": 6, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": 3},
        [30, 30, 21],
        {"width": {"hidden_size": 16, "ffn_hidden_size": 13, "moe_ffn_hidden_size": 13},
         "depth": {"num_layers": 4},
         "everything": {"num_layers": 4, "hidden_size": 17, "num_attention_heads": 2, "ffn_hidden_size": 15,
                        "moe_ffn_hidden_size": 15, "num_moe_experts": 4},
         "identity": {}},
        {"experts per token": {"num_experts_per_tok": 3}},
    ),
    # Without experts, biases, a rank that follows from the hidden size; an incomplete period at the end, tied.
    "jamba_dense": _case(
        "jamba", "JambaForCausalLM", 5, 31,
        HEADS | {"hidden_size": 24, "intermediate_size": 22, "num_experts": 1, "num_experts_per_tok": 1, "attn_layer_period": 3,
                 "attn_layer_offset": 1, "mamba_d_state": 5, "mamba_d_conv": 3, "mamba_expand": 3, "mamba_dt_rank": "auto",
                 "mamba_proj_bias": True, "mamba_conv_bias": True, "tie_word_embeddings": True},
        [30, 19],
        {"width": {"hidden_size": 19, "ffn_hidden_size": 15},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 20, "num_attention_heads": 2, "ffn_hidden_size": 17},
         "identity": {}},
    ),
}
