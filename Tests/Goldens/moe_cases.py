"""The mixtures of experts: one entry each, `config` being config.json as it is written, key for key.

`rows` are the row lengths; every row is padded to the first. `moves` are changes of the config that must move the
logits: a case that would pass without what it tests is no test.
"""


def _case(model_type, architecture, layers, vocab, config, rows, prunings, moves=None, **more):
    config = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        "hidden_act": "silu",
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-06,
        "tie_word_embeddings": False,
        "initializer_range": 0.02,
        "use_cache": True,
        "dtype": "bfloat16",
    } | config
    return {"config": config, "rows": rows, "prunings": prunings, "moves": moves or {}, **more}


HEADS = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
LATENT = {
    "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 4, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4, "v_head_dim": 6, "kv_lora_rank": 12,
}

CASES = {
    # Experts in every layer; head_dim that hidden_size does not imply.
    "qwen3_moe": _case(
        "qwen3_moe", "Qwen3MoeForCausalLM", 3, 41,
        HEADS | {"intermediate_size": 40, "moe_intermediate_size": 20, "head_dim": 12, "num_experts": 8,
                 "num_experts_per_tok": 2, "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
                 "rope_theta": 10000.0},
        [20, 20, 11],
        {"width": {"hidden_size": 26, "num_moe_experts": 6, "moe_ffn_hidden_size": 14},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 24, "num_attention_heads": 2, "num_moe_experts": 5,
                        "moe_ffn_hidden_size": 11},
         "identity": {}},
        {"norm_topk_prob": {"norm_topk_prob": False}, "experts per token": {"num_experts_per_tok": 3}},
    ),
    # Dense layers by both rules, biases, a window; what stays decides which layers are dense.
    "qwen3_moe_mixed": _case(
        "qwen3_moe", "Qwen3MoeForCausalLM", 6, 37,
        HEADS | {"intermediate_size": 36, "moe_intermediate_size": 18, "num_experts": 6, "num_experts_per_tok": 2,
                 "norm_topk_prob": False, "decoder_sparse_step": 2, "mlp_only_layers": [3], "attention_bias": True,
                 "use_sliding_window": True, "sliding_window": 7, "tie_word_embeddings": True,
                 "rope_parameters": PLAIN},
        [20, 20, 13],
        {"width": {"hidden_size": 28, "ffn_hidden_size": 27, "num_moe_experts": 4, "moe_ffn_hidden_size": 13},
         "depth": {"num_layers": 4},
         "everything": {"num_layers": 5, "hidden_size": 25, "num_attention_heads": 2, "ffn_hidden_size": 21,
                        "num_moe_experts": 3, "moe_ffn_hidden_size": 10}},
        {"norm_topk_prob": {"norm_topk_prob": True}, "window": {"sliding_window": 60}},
    ),
    # A gated shared expert, a dense layer in front, windows in every other layer of those in front.
    "qwen2_moe": _case(
        "qwen2_moe", "Qwen2MoeForCausalLM", 4, 43,
        HEADS | {"intermediate_size": 36, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 28,
                 "num_experts": 6, "num_experts_per_tok": 2, "norm_topk_prob": False, "decoder_sparse_step": 1,
                 "mlp_only_layers": [1], "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 3,
                 "rope_theta": 10000.0},
        [20, 20, 12],
        {"width": {"hidden_size": 26, "ffn_hidden_size": 27, "num_moe_experts": 5, "moe_ffn_hidden_size": 11,
                   "moe_shared_expert_intermediate_size": 19},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 25, "num_attention_heads": 2, "ffn_hidden_size": 30,
                        "num_moe_experts": 4, "moe_ffn_hidden_size": 9, "moe_shared_expert_intermediate_size": 15},
         "identity": {}},
        {"norm_topk_prob": {"norm_topk_prob": True}, "window": {"use_sliding_window": False}},
    ),
    "mixtral": _case(
        "mixtral", "MixtralForCausalLM", 3, 41,
        HEADS | {"intermediate_size": 20, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": 9,
                 "rope_theta": 1000.0, "output_router_logits": False, "router_aux_loss_coef": 0.02},
        [20, 20, 9],
        {"width": {"hidden_size": 26, "num_moe_experts": 6, "moe_ffn_hidden_size": 13},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 24, "num_attention_heads": 2, "num_moe_experts": 4,
                        "moe_ffn_hidden_size": 11},
         "identity": {}},
        {"window": {"sliding_window": None}, "experts per token": {"num_experts_per_tok": 1}},
        noise=0.02,
    ),
    # Norms over all heads: hidden_size goes with the heads.
    "olmoe": _case(
        "olmoe", "OlmoeForCausalLM", 3, 41,
        HEADS | {"intermediate_size": 20, "num_experts": 8, "num_experts_per_tok": 3, "norm_topk_prob": False,
                 "clip_qkv": None, "rope_parameters": PLAIN},
        [18, 18, 11],
        {"width": {"hidden_size": 16, "num_attention_heads": 2, "num_moe_experts": 6, "moe_ffn_hidden_size": 13},
         "experts": {"num_moe_experts": 5},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "num_moe_experts": 4,
                        "moe_ffn_hidden_size": 11}},
        {"norm_topk_prob": {"norm_topk_prob": True}},
    ),
    # Sinks, biases everywhere, a clamp that is reached, YaRN with untruncated bounds.
    "gpt_oss": _case(
        "gpt_oss", "GptOssForCausalLM", 4, 37,
        HEADS | {"intermediate_size": 14, "head_dim": 12, "num_local_experts": 6, "num_experts_per_tok": 2,
                 "sliding_window": 6, "swiglu_limit": 1.5, "attention_bias": True,
                 "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
                 "rope_theta": 1000.0,
                 "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "beta_slow": 1.0,
                                  "truncate": False, "original_max_position_embeddings": 16}},
        [20, 20, 13],
        {"width": {"hidden_size": 26, "num_moe_experts": 4, "moe_ffn_hidden_size": 9},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 24, "num_attention_heads": 2, "num_moe_experts": 3,
                        "moe_ffn_hidden_size": 8},
         "identity": {}},
        {"window": {"sliding_window": 60}, "clamp": {"swiglu_limit": 7.0}, "alpha": {"swiglu_alpha": 1.0}},
    ),
    # Groups, a bias on the choice, two shared experts, YaRN that also scales scores, neighbouring channels turning.
    "deepseek_v3": _case(
        "deepseek_v3", "DeepseekV3ForCausalLM", 4, 41,
        LATENT | {"intermediate_size": 36, "moe_intermediate_size": 12, "q_lora_rank": 14, "n_routed_experts": 12,
                  "n_shared_experts": 2, "num_experts_per_tok": 3, "n_group": 3, "topk_group": 2,
                  "first_k_dense_replace": 2, "routed_scaling_factor": 1.7, "norm_topk_prob": True,
                  "scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1, "rope_theta": 1000.0,
                  "num_nextn_predict_layers": 0,
                  "rope_scaling": {"type": "yarn", "factor": 4.0, "beta_fast": 8, "beta_slow": 1, "mscale": 1.0,
                                   "mscale_all_dim": 1.0, "original_max_position_embeddings": 16}},
        [10, 10, 7],
        {"width": {"hidden_size": 26, "ffn_hidden_size": 25, "num_moe_experts": 9, "moe_ffn_hidden_size": 9,
                   "moe_shared_expert_intermediate_size": 18},
         "shared": {"moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 24},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 24, "ffn_hidden_size": 23, "num_moe_experts": 6,
                        "moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 8},
         "identity": {}},
        {"groups": {"topk_group": 1}, "scaling": {"routed_scaling_factor": 1.0},
         "norm_topk_prob": {"norm_topk_prob": False}, "interleave": {"rope_interleave": False}},
    ),
    # One group, queries in one step, halves turning, a bias in attention, values wider than nothing published.
    "deepseek_v3_plain": _case(
        "deepseek_v3", "DeepseekV3ForCausalLM", 3, 37,
        LATENT | {"intermediate_size": 36, "moe_intermediate_size": 12, "q_lora_rank": None, "n_routed_experts": 8,
                  "v_head_dim": 12, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
                  "first_k_dense_replace": 0, "routed_scaling_factor": 1.0, "norm_topk_prob": False,
                  "rope_interleave": False, "attention_bias": True, "rope_parameters": PLAIN},
        [18, 18, 11],
        {"experts": {"num_moe_experts": 5, "moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 8}},
        {"interleave": {"rope_interleave": True}},
    ),
    "deepseek_v2": _case(
        "deepseek_v2", "DeepseekV2ForCausalLM", 3, 41,
        LATENT | {"intermediate_size": 36, "moe_intermediate_size": 12, "q_lora_rank": 14, "n_routed_experts": 12,
                  "n_shared_experts": 2, "num_experts_per_tok": 3, "n_group": 3, "topk_group": 2,
                  "topk_method": "group_limited_greedy", "first_k_dense_replace": 1, "routed_scaling_factor": 1.6,
                  "norm_topk_prob": False, "scoring_func": "softmax", "moe_layer_freq": 1,
                  "rope_theta": 1000.0,
                  "rope_scaling": {"type": "yarn", "factor": 4.0, "beta_fast": 8, "beta_slow": 1, "mscale": 0.7,
                                   "mscale_all_dim": 0.9, "original_max_position_embeddings": 16}},
        [10, 10, 7],
        {"width": {"hidden_size": 24, "ffn_hidden_size": 25, "num_moe_experts": 9, "moe_ffn_hidden_size": 9,
                   "moe_shared_expert_intermediate_size": 18},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 20, "ffn_hidden_size": 23, "num_moe_experts": 6,
                        "moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 16},
         "identity": {}},
        {"groups": {"topk_group": 1}, "scaling": {"routed_scaling_factor": 1.0}},
    ),
    # Groups that the method does not look at, biases in MLPs.
    "deepseek_v2_lite": _case(
        "deepseek_v2", "DeepseekV2ForCausalLM", 3, 37,
        LATENT | {"intermediate_size": 36, "moe_intermediate_size": 12, "q_lora_rank": None, "n_routed_experts": 8,
                  "n_shared_experts": 2, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
                  "topk_method": "greedy", "first_k_dense_replace": 1, "norm_topk_prob": False, "mlp_bias": True,
                  "rope_parameters": PLAIN},
        [18, 18, 11],
        {"everything": {"num_layers": 2, "hidden_size": 24, "ffn_hidden_size": 23, "num_moe_experts": 5,
                        "moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 24}},
        {"groups": {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 1}},
    ),
    # Groups, a shared expert, positions in half of a head, norms of heads, biases.
    "glm4_moe": _case(
        "glm4_moe", "Glm4MoeForCausalLM", 4, 41,
        HEADS | {"intermediate_size": 36, "moe_intermediate_size": 12, "head_dim": 12, "n_routed_experts": 8,
                 "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
                 "first_k_dense_replace": 1, "routed_scaling_factor": 1.7, "norm_topk_prob": True, "use_qk_norm": True,
                 "attention_bias": True, "partial_rotary_factor": 0.5, "rope_theta": 1000.0,
                 "num_nextn_predict_layers": 0},
        [10, 10, 7],
        {"width": {"hidden_size": 26, "ffn_hidden_size": 25, "num_moe_experts": 6, "moe_ffn_hidden_size": 9,
                   "moe_shared_expert_intermediate_size": 9},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 24, "num_attention_heads": 2, "ffn_hidden_size": 23,
                        "num_moe_experts": 6, "moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 8},
         "identity": {}},
        {"groups": {"topk_group": 2}, "scaling": {"routed_scaling_factor": 1.0}, "norm_topk_prob": {"norm_topk_prob": False},
         "partial": {"partial_rotary_factor": 1.0}},
    ),
    # Latent attention, layers without experts that are not the first.
    "glm4_moe_lite": _case(
        "glm4_moe_lite", "Glm4MoeLiteForCausalLM", 4, 37,
        LATENT | {"intermediate_size": 36, "moe_intermediate_size": 12, "q_lora_rank": 14, "n_routed_experts": 6,
                  "n_shared_experts": 2, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
                  "routed_scaling_factor": 1.8, "norm_topk_prob": True, "rope_theta": 1000.0,
                  "mlp_layer_types": ["dense", "sparse", "dense", "sparse"], "num_nextn_predict_layers": 0},
        [12, 12, 9],
        {"width": {"hidden_size": 26, "ffn_hidden_size": 25, "num_moe_experts": 4, "moe_ffn_hidden_size": 9,
                   "moe_shared_expert_intermediate_size": 18},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 24, "ffn_hidden_size": 23, "num_moe_experts": 5,
                        "moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 8}},
        {"scaling": {"routed_scaling_factor": 1.0}, "interleave": {"rope_interleave": False},
         "norm_topk_prob": {"norm_topk_prob": False}},
    ),
    # Kimi K2 is DeepSeek-V3 by another name: `transformers` reads it as such.
    "kimi_k2": _case(
        "deepseek_v3", "DeepseekV3ForCausalLM", 3, 37,
        LATENT | {"intermediate_size": 36, "moe_intermediate_size": 12, "q_lora_rank": 14, "n_routed_experts": 8,
                  "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
                  "first_k_dense_replace": 1, "routed_scaling_factor": 2.8, "norm_topk_prob": True,
                  "scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1, "rope_theta": 50000.0,
                  "num_nextn_predict_layers": 0},
        [12, 12, 7],
        {"width": {"hidden_size": 26, "num_moe_experts": 6},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 24, "ffn_hidden_size": 23, "num_moe_experts": 5,
                        "moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 8}},
        {"scaling": {"routed_scaling_factor": 1.0}}, published="kimi_k2",
    ),
    # Norms over all heads with hidden_size apart from them, a part of each head turning, a bias on the choice.
    "minimax_m2": _case(
        "minimax_m2", "MiniMaxM2ForCausalLM", 3, 41,
        HEADS | {"intermediate_size": 14, "head_dim": 12, "num_local_experts": 8, "num_experts_per_tok": 2,
                 "rotary_dim": 6, "rope_theta": 1000.0, "use_qk_norm": True, "scoring_func": "sigmoid"},
        [14, 14, 9],
        {"width": {"hidden_size": 26, "num_moe_experts": 6, "moe_ffn_hidden_size": 11},
         "heads": {"num_attention_heads": 2},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 24, "num_attention_heads": 2, "num_moe_experts": 4,
                        "moe_ffn_hidden_size": 9},
         "identity": {}},
        {"partial": {"rotary_dim": 12}, "experts per token": {"num_experts_per_tok": 1}},
    ),
    # Windows from a layer on, a dense layer in front, norms of heads.
    "dots1": _case(
        "dots1", "Dots1ForCausalLM", 4, 41,
        HEADS | {"intermediate_size": 36, "moe_intermediate_size": 12, "n_routed_experts": 8, "n_shared_experts": 2,
                 "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1,
                 "routed_scaling_factor": 2.5, "norm_topk_prob": True, "attention_bias": True, "sliding_window": 6,
                 "max_window_layers": 2, "moe_layer_freq": 1, "rope_parameters": PLAIN},
        [14, 14, 9],
        {"width": {"hidden_size": 26, "ffn_hidden_size": 25, "num_moe_experts": 6, "moe_ffn_hidden_size": 9,
                   "moe_shared_expert_intermediate_size": 18},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 24, "num_attention_heads": 2, "ffn_hidden_size": 23,
                        "num_moe_experts": 6, "moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 8},
         "identity": {}},
        {"groups": {"topk_group": 2}, "scaling": {"routed_scaling_factor": 1.0}, "window": {"sliding_window": 60},
         "norm_topk_prob": {"norm_topk_prob": False}},
    ),
    # Layers without experts in front and behind, shared experts, a tied head.
    "ernie4_5_moe": _case(
        "ernie4_5_moe", "Ernie4_5_MoeForCausalLM", 4, 41,
        HEADS | {"intermediate_size": 36, "moe_intermediate_size": 12, "head_dim": 12, "moe_num_experts": 8,
                 "moe_k": 2, "moe_num_shared_experts": 2, "moe_layer_start_index": 1, "moe_layer_end_index": 2,
                 "moe_layer_interval": 1, "use_bias": False, "tie_word_embeddings": True, "rope_theta": 1000.0,
                 "rms_norm_eps": 1e-05},
        [14, 14, 9],
        {"width": {"hidden_size": 26, "ffn_hidden_size": 25, "num_moe_experts": 6, "moe_ffn_hidden_size": 9,
                   "moe_shared_expert_intermediate_size": 18},
         "depth": {"num_layers": 3},
         "everything": {"num_layers": 3, "hidden_size": 24, "num_attention_heads": 2, "ffn_hidden_size": 23,
                        "num_moe_experts": 6, "moe_ffn_hidden_size": 8, "moe_shared_expert_intermediate_size": 8},
         "identity": {}},
        {"base": {"rope_theta": 30.0}},
    ),
    # Experts and the shared one of one size, a list of experts per token, positions with a stretched base.
    "hunyuan_v1_moe": _case(
        "hunyuan_v1_moe", "HunYuanMoEV1ForCausalLM", 3, 41,
        HEADS | {"intermediate_size": 14, "head_dim": 12, "num_experts": 8, "moe_topk": [2, 2, 2],
                 "rope_theta": 1000.0, "rms_norm_eps": 1e-05,
                 "rope_scaling": {"type": "dynamic", "factor": 1.0, "alpha": 50.0}},
        [14, 14, 9],
        {"width": {"hidden_size": 26, "num_moe_experts": 6, "moe_ffn_hidden_size": 11,
                   "moe_shared_expert_intermediate_size": 11},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 24, "num_attention_heads": 2, "num_moe_experts": 4,
                        "moe_ffn_hidden_size": 9, "moe_shared_expert_intermediate_size": 9},
         "identity": {}},
        {"base": {"rope_theta": 30.0}},
    ),
    # SparseMixer's routing, whose reach is narrow.
    "phimoe": _case(
        "phimoe", "PhimoeForCausalLM", 2, 37,
        HEADS | {"intermediate_size": 18, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_theta": 1000.0,
                 "router_jitter_noise": 0.1},
        [12, 12, 7],
        {"width": {"hidden_size": 25, "num_moe_experts": 3, "moe_ffn_hidden_size": 13}, "depth": {"num_layers": 1}},
        {"reach": {"router_jitter_noise": 0.6}}, noise=0.006,
    ),
    # LayerNorms and biases throughout, the head's too; rows on both sides of the length at which the
    # magnitude of positions changes.
    "phimoe_longrope": _case(
        "phimoe", "PhimoeForCausalLM", 3, 41,
        HEADS | {"intermediate_size": 18, "num_local_experts": 6, "num_experts_per_tok": 2, "attention_bias": True,
                 "lm_head_bias": True, "router_jitter_noise": 0.2, "sliding_window": 7, "rms_norm_eps": 1e-05,
                 "original_max_position_embeddings": 11,
                 "rope_scaling": {"type": "longrope", "short_mscale": 1.2, "long_mscale": 0.8, "long_factor": [
                     1.0, 2.0, 3.0, 4.0], "short_factor": [1.0, 1.5, 1.2, 2.0], "original_max_position_embeddings": 11},
                 "rope_theta": 1000.0},
        [13, 13, 9],
        {"width": {"hidden_size": 26, "num_moe_experts": 4, "moe_ffn_hidden_size": 13},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 28, "num_attention_heads": 2, "num_moe_experts": 5,
                        "moe_ffn_hidden_size": 11},
         "identity": {}},
        {"window": {"sliding_window": None}, "reach": {"router_jitter_noise": 0.01}}, noise=0.006,
    ),
    # An indexer beside the attention, which picks all tokens of rows as short as these.
    "deepseek_v32": _case(
        "deepseek_v32", "DeepseekV32ForCausalLM", 3, 37,
        LATENT | {"intermediate_size": 30, "moe_intermediate_size": 12, "q_lora_rank": 14, "n_routed_experts": 6,
                  "n_shared_experts": 2, "num_experts_per_tok": 2, "first_k_dense_replace": 1,
                  "routed_scaling_factor": 1.7, "index_topk": 512, "index_n_heads": 3, "index_head_dim": 8,
                  "n_group": 2, "topk_group": 1, "rope_theta": 1000.0},
        [14, 14, 9],
        {"width": {"hidden_size": 26, "ffn_hidden_size": 23, "num_moe_experts": 4, "moe_ffn_hidden_size": 9,
                   "moe_shared_expert_intermediate_size": 18},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 28, "ffn_hidden_size": 25, "num_moe_experts": 4,
                        "moe_ffn_hidden_size": 10, "moe_shared_expert_intermediate_size": 20},
         "identity": {}},
        {"scale": {"routed_scaling_factor": 1.0}},
    ),
    # The same, with biases and layers without experts by a list.
    "glm_moe_dsa": _case(
        "glm_moe_dsa", "GlmMoeDsaForCausalLM", 3, 37,
        LATENT | {"intermediate_size": 30, "moe_intermediate_size": 12, "q_lora_rank": 14, "n_routed_experts": 6,
                  "n_shared_experts": 2, "num_experts_per_tok": 2, "mlp_layer_types": ["dense", "sparse", "sparse"],
                  "routed_scaling_factor": 1.7, "index_topk": 512, "index_n_heads": 3, "index_head_dim": 8,
                  "n_group": 1, "topk_group": 1, "rope_theta": 500.0, "attention_bias": True},
        [14, 14, 9],
        {"width": {"hidden_size": 26, "ffn_hidden_size": 23, "num_moe_experts": 4, "moe_ffn_hidden_size": 9,
                   "moe_shared_expert_intermediate_size": 18},
         "depth": {"num_layers": 2},
         "everything": {"num_layers": 2, "hidden_size": 28, "ffn_hidden_size": 25, "num_moe_experts": 4,
                        "moe_ffn_hidden_size": 10, "moe_shared_expert_intermediate_size": 20},
         "identity": {}},
        {"scale": {"routed_scaling_factor": 1.0}},
    ),
}

# The same with indexers that pick some of the tokens of rows as long as these.
for _name in ("deepseek_v32", "glm_moe_dsa"):
    _base = CASES[_name]
    CASES[_name + "_picked"] = _base | {
        "config": _base["config"] | {"vocab_size": 41, "index_topk": 8, "index_n_heads": 12}, "rows": [12, 12, 10],
        "moves": {"picks": {"index_topk": 64}, "fewer": {"index_topk": 4}}}
# Two layers share what the indexer of the first picks.
_base = CASES["glm_moe_dsa_picked"]
CASES["glm_moe_dsa_shared"] = _base | {
    "config": _base["config"] | {"indexer_types": ["full", "shared", "shared"]},
    "prunings": {name: {key: size for key, size in sizes.items() if key != "num_layers"}
                 for name, sizes in _base["prunings"].items() if name != "depth"}}
