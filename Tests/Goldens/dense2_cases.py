"""Further dense families: one entry each, `config` being config.json as it is written, key for key.

`moves` names config changes that must move the logits: what a case is for has to matter in it. `rows` are the row
lengths; every row is padded to the first.
"""


def _config(model_type, architecture, hidden, ffn, layers, heads, kv_heads, vocab, **more):
    config = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "dtype": "bfloat16",
    } | more
    return {k: v for k, v in config.items() if v is not None}


def _case(config, rows, moves=None, spelling=None, **prunings):
    """`spelling` is what published checkpoints call some tensors."""
    return {"config": config, "rows": rows, "moves": moves or {}, "spelling": spelling or {}, "prunings": prunings}


CASES = {
    # Every second layer without positions, by the interval: the list has to be written once layers go.
    "smollm3_interval": _case(
        _config("smollm3", "SmolLM3ForCausalLM", 48, 42, 5, 4, 2, 47, no_rope_layer_interval=2, rope_theta=10000.0,
                rms_norm_eps=1e-6, hidden_act="silu", attention_bias=False, mlp_bias=False),
        [40, 19],
        moves={"no_rope": {"no_rope_layer_interval": 3}},
        width={"hidden_size": 37, "ffn_hidden_size": 29},
        depth={"num_layers": 3},
        everything={"hidden_size": 40, "ffn_hidden_size": 37, "num_attention_heads": 2, "num_layers": 3},
        identity={},
    ),
    # The layers listed, an untied head, biases, windows where there are no positions.
    "smollm3_list": _case(
        _config("smollm3", "SmolLM3ForCausalLM", 40, 38, 4, 4, 2, 43, no_rope_layers=[1, 0, 1, 0],
                rms_norm_eps=1e-6, hidden_act="silu", attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
                use_sliding_window=True, sliding_window=9,
                rope_parameters={"rope_type": "default", "rope_theta": 5000.0}),
        [40, 40, 23],
        moves={"window": {"sliding_window": 100}, "no_rope": {"no_rope_layers": [1, 1, 1, 0]}},
        heads={"num_attention_heads": 2},
        everything={"hidden_size": 33, "ffn_hidden_size": 27, "num_attention_heads": 2, "num_layers": 3},
    ),
    "granite_tied": _case(
        _config("granite", "GraniteForCausalLM", 48, 42, 4, 6, 2, 47, tie_word_embeddings=True, rms_norm_eps=1e-5,
                hidden_act="silu", rope_theta=10000.0, rope_scaling=None, attention_bias=False, mlp_bias=False,
                embedding_multiplier=3.0, attention_multiplier=0.25, residual_multiplier=0.7, logits_scaling=4.0),
        [40, 17],
        moves={"embedding": {"embedding_multiplier": 1.0}, "attention": {"attention_multiplier": 0.1},
               "residual": {"residual_multiplier": 1.0}, "logits": {"logits_scaling": 1.0}},
        width={"hidden_size": 37, "ffn_hidden_size": 29},
        depth={"num_layers": 2},
        everything={"hidden_size": 40, "ffn_hidden_size": 37, "num_attention_heads": 4, "num_layers": 3},
        identity={},
    ),
    "granite_bias": _case(
        _config("granite", "GraniteForCausalLM", 40, 38, 3, 4, 4, 41, tie_word_embeddings=False, rms_norm_eps=1e-6,
                hidden_act="silu", rope_theta=10000.0, attention_bias=True, mlp_bias=True,
                embedding_multiplier=2.0, attention_multiplier=0.3, residual_multiplier=0.5, logits_scaling=2.0),
        [40, 40, 27],
        moves={"attention": {"attention_multiplier": 0.1}},
        width={"hidden_size": 33, "ffn_hidden_size": 25},
        everything={"hidden_size": 32, "ffn_hidden_size": 27, "num_layers": 2},
    ),
    # Norms behind the blocks, norms of queries and keys over all heads together.
    "olmo2_grouped": _case(
        _config("olmo2", "Olmo2ForCausalLM", 48, 42, 4, 6, 2, 47, tie_word_embeddings=False, rms_norm_eps=1e-6,
                hidden_act="silu", rope_theta=10000.0, attention_bias=False),
        [40, 21],
        width={"hidden_size": 37, "ffn_hidden_size": 29},
        depth={"num_layers": 2},
        heads={"num_attention_heads": 4},
        everything={"hidden_size": 40, "ffn_hidden_size": 37, "num_attention_heads": 2, "num_layers": 3},
        identity={},
    ),
    # Heads that see a window and heads that see all, soft-capped scores and logits, a scale of its own.
    "gemma2_tied": _case(
        _config("gemma2", "Gemma2ForCausalLM", 48, 42, 4, 4, 2, 47, head_dim=16, rms_norm_eps=1e-6,
                hidden_activation="gelu_pytorch_tanh", hidden_act="gelu_pytorch_tanh", rope_theta=10000.0,
                query_pre_attn_scalar=24, sliding_window=9, attn_logit_softcapping=2.0, final_logit_softcapping=6.0),
        [40, 19],
        moves={"window": {"sliding_window": 100}, "softcap": {"attn_logit_softcapping": 50.0},
               "final": {"final_logit_softcapping": 30.0}, "scale": {"query_pre_attn_scalar": 16}},
        width={"hidden_size": 36, "ffn_hidden_size": 29},
        depth={"num_layers": 3},
        everything={"hidden_size": 40, "ffn_hidden_size": 37, "num_attention_heads": 2, "num_layers": 3},
        identity={},
    ),
    # A head of its own, no soft-capping, the layers' kinds listed.
    "gemma2_list": _case(
        _config("gemma2", "Gemma2ForCausalLM", 40, 38, 3, 2, 1, 43, head_dim=12, rms_norm_eps=1e-6,
                hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=12, sliding_window=7,
                attn_logit_softcapping="null", final_logit_softcapping="null", tie_word_embeddings=False,
                layer_types=["full_attention", "sliding_attention", "full_attention"], attention_bias=True,
                rope_parameters={"rope_type": "default", "rope_theta": 5000.0}),
        [40, 40, 33],
        moves={"window": {"sliding_window": 100}},
        width={"hidden_size": 34, "ffn_hidden_size": 27},
        everything={"hidden_size": 33, "ffn_hidden_size": 25, "num_attention_heads": 1, "num_layers": 2},
    ),
    # Local and global layers by a pattern, each kind with its own base; the published spelling.
    "gemma3_pattern": _case(
        _config("gemma3_text", "Gemma3ForCausalLM", 48, 34, 5, 4, 2, 37, head_dim=16, rms_norm_eps=1e-6,
                hidden_activation="gelu_pytorch_tanh", rope_theta=100000.0, rope_local_base_freq=100.0,
                rope_scaling={"rope_type": "linear", "factor": 4.0}, query_pre_attn_scalar=20, sliding_window=9,
                sliding_window_pattern=2, max_position_embeddings=128),
        [40, 25],
        moves={"window": {"sliding_window": 100}, "local": {"rope_local_base_freq": 5000.0},
               "global": {"rope_theta": 100.0}, "scaling": {"rope_scaling": None},
               "pattern": {"sliding_window_pattern": 3}},
        width={"hidden_size": 36, "ffn_hidden_size": 29},
        depth={"num_layers": 3},
        everything={"hidden_size": 40, "ffn_hidden_size": 25, "num_attention_heads": 2, "num_layers": 4},
        identity={},
    ),
    "gemma3_list": _case(
        _config("gemma3_text", "Gemma3ForCausalLM", 42, 38, 3, 2, 1, 43, head_dim=12, rms_norm_eps=1e-6,
                hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=12, sliding_window=7,
                final_logit_softcapping=5.0, tie_word_embeddings=False,
                layer_types=["full_attention", "sliding_attention", "full_attention"],
                rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 5000.0},
                                 "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}),
        [40, 40, 33],
        moves={"final": {"final_logit_softcapping": 50.0}},
        width={"hidden_size": 34, "ffn_hidden_size": 27},
        everything={"hidden_size": 33, "ffn_hidden_size": 25, "num_attention_heads": 1, "num_layers": 2},
    ),
    # Fused projections, half of a head's channels turning, a window.
    "phi3_partial": _case(
        _config("phi3", "Phi3ForCausalLM", 64, 38, 3, 4, 2, 47, rms_norm_eps=1e-5, hidden_act="silu",
                rope_theta=10000.0, rope_scaling="null", partial_rotary_factor=0.75, sliding_window=11,
                original_max_position_embeddings=64, tie_word_embeddings=True),
        [40, 19],
        moves={"partial": {"partial_rotary_factor": 1.0}, "window": {"sliding_window": 100}},
        width={"hidden_size": 49, "ffn_hidden_size": 29},
        depth={"num_layers": 2},
        everything={"hidden_size": 40, "ffn_hidden_size": 27, "num_attention_heads": 2, "num_layers": 2},
        identity={},
    ),
    # LongRoPE past its original context (the long factors hold). The loader derives their number from the shape.
    "phi3_longrope": _case(
        _config("phi3", "Phi3ForCausalLM", 48, 38, 3, 4, 2, 43, rms_norm_eps=1e-5, hidden_act="silu",
                rope_theta=10000.0, max_position_embeddings=128, original_max_position_embeddings=16,
                rope_scaling={"type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
                              "long_factor": [1.0, 1.5, 2.0, 3.0, 5.0, 8.0]}, sliding_window="null"),
        [40, 40, 23],
        moves={"original": {"original_max_position_embeddings": 64}},
        width={"ffn_hidden_size": 29},
        everything={"hidden_size": 24, "ffn_hidden_size": 25, "num_attention_heads": 2, "num_layers": 2},
    ),
    # … and inside it (the short ones do).
    "phi3_longrope_within": _case(
        _config("phi3", "Phi3ForCausalLM", 48, 38, 3, 4, 2, 43, rms_norm_eps=1e-5, hidden_act="silu",
                rope_theta=10000.0, max_position_embeddings=128, original_max_position_embeddings=64,
                rope_scaling={"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.4, 2.3, 3.4, 1.5],
                              "long_factor": [1.0, 1.5, 2.0, 3.0, 5.0, 8.0]}),
        [40, 40, 23],
        moves={"original": {"original_max_position_embeddings": 16}},
        depth={"num_layers": 2},
    ),
    "nemotron_half": _case(
        _config("nemotron", "NemotronForCausalLM", 48, 58, 4, 4, 2, 47, norm_eps=1e-5, hidden_act="relu2",
                rope_theta=10000.0, partial_rotary_factor=0.5, tie_word_embeddings=False),
        [40, 19],
        moves={"partial": {"partial_rotary_factor": 1.0}},
        width={"hidden_size": 37, "ffn_hidden_size": 29},
        depth={"num_layers": 3},
        everything={"hidden_size": 40, "ffn_hidden_size": 37, "num_attention_heads": 2, "num_layers": 3},
        identity={},
    ),
    "nemotron_bias": _case(
        _config("nemotron", "NemotronForCausalLM", 40, 38, 3, 4, 2, 41, head_dim=16, norm_eps=1e-5, hidden_act="relu2",
                attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
                rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.25}),
        [40, 40, 27],
        heads={"num_attention_heads": 2},
        everything={"hidden_size": 33, "ffn_hidden_size": 25, "num_attention_heads": 2, "num_layers": 2},
    ),
    # Gated delta nets, every third layer gated attention; more value heads than key heads; rows of more than a chunk.
    # A large epsilon: outputs close to zero, which the gated norm blows up, are where bfloat16 is noise.
    "qwen35_hybrid": _case(
        _config("qwen3_5_text", "Qwen3_5ForCausalLM", 40, 34, 4, 2, 1, 31, head_dim=16, rms_norm_eps=0.01,
                hidden_act="silu", tie_word_embeddings=True, linear_conv_kernel_dim=4, linear_key_head_dim=12,
                linear_value_head_dim=10, linear_num_key_heads=2, linear_num_value_heads=4, full_attention_interval=3,
                rope_parameters={
                    "rope_type": "default", "rope_theta": 1000.0, "partial_rotary_factor": 0.5,
                    "mrope_section": [2, 1, 1], "mrope_interleaved": True}),
        [90, 37],
        moves={"partial": {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0,
                                               "partial_rotary_factor": 1.0, "mrope_section": [4, 2, 2]}}},
        width={"hidden_size": 33, "ffn_hidden_size": 25},
        depth={"num_layers": 3},
        everything={"hidden_size": 36, "ffn_hidden_size": 27, "num_layers": 3},
        identity={},
    ),
    # As many value heads as key heads, the kinds listed, an untied head.
    "qwen35_list": _case(
        _config("qwen3_5_text", "Qwen3_5ForCausalLM", 32, 26, 3, 2, 2, 29, head_dim=16, rms_norm_eps=1e-6,
                hidden_act="silu", tie_word_embeddings=False, linear_conv_kernel_dim=3, linear_key_head_dim=6,
                linear_value_head_dim=8, linear_num_key_heads=2, linear_num_value_heads=2,
                layer_types=["full_attention", "linear_attention", "linear_attention"],
                rope_parameters={"rope_type": "default", "rope_theta": 1000.0}),
        [70, 64],
        width={"hidden_size": 25, "ffn_hidden_size": 19},
        everything={"hidden_size": 27, "ffn_hidden_size": 21, "num_layers": 2},
    ),
    # Branches side by side, queries, keys and values head by head, an older name for the head. Its loader takes
    # head_dim from hidden_size and heads, so that only layers and ffn channels can go.
    "gpt_neox_parallel": _case(
        _config("gpt_neox", "GPTNeoXForCausalLM", 48, 58, 4, 3, None, 47, layer_norm_eps=1e-5, hidden_act="gelu",
                rotary_pct=0.25, rotary_emb_base=500, use_parallel_residual=True, tie_word_embeddings=False),
        [40, 19],
        moves={"parallel": {"use_parallel_residual": False}, "rotary": {"rotary_pct": 1.0},
               "base": {"rotary_emb_base": 10000}},
        spelling={"lm_head.weight": "embed_out.weight"},
        width={"ffn_hidden_size": 29},
        depth={"num_layers": 3},
        everything={"ffn_hidden_size": 37, "num_layers": 2},
        identity={},
    ),
    "gpt_neox_serial": _case(
        _config("gpt_neox", "GPTNeoXForCausalLM", 32, 38, 3, 2, None, 43, layer_norm_eps=1e-5, hidden_act="gelu_new",
                use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True,
                rope_parameters={"rope_type": "default", "rope_theta": 1000.0, "partial_rotary_factor": 0.5}),
        [40, 40, 19],
        moves={"parallel": {"use_parallel_residual": True}},
        everything={"ffn_hidden_size": 25, "num_layers": 2},
    ),
    "starcoder2_window": _case(
        _config("starcoder2", "Starcoder2ForCausalLM", 48, 58, 4, 4, 2, 47, norm_epsilon=1e-5, use_bias=True,
                hidden_act="gelu_pytorch_tanh", rope_theta=10000.0, sliding_window=9, norm_type="layer_norm",
                mlp_type="default"),
        [40, 19],
        moves={"window": {"sliding_window": 100}},
        width={"hidden_size": 37, "ffn_hidden_size": 29},
        depth={"num_layers": 3},
        everything={"hidden_size": 40, "ffn_hidden_size": 37, "num_attention_heads": 2, "num_layers": 3},
        identity={},
    ),
}

# The string "null" marks a key that config.json spells as null.
for _entry in CASES.values():
    _entry["config"] = {k: (None if v == "null" else v) for k, v in _entry["config"].items()}
