"""The dense families of 2024 and 2025, and two old ones: in the form of dense2_cases.py, made by make_dense2.py."""

import torch

from dense2_cases import _case, _config as _second


def _config(model_type, architecture, hidden, ffn, layers, heads, kv_heads, vocab, **more):
    more = {"hidden_act": "silu", "rms_norm_eps": 1e-6} | more
    return _second(model_type, architecture, hidden, ffn, layers, heads, kv_heads, vocab, **more)


_CUTS = {
    "width": {"hidden_size": 27, "ffn_hidden_size": 19},
    "depth": {"num_layers": 3},
    "everything": {"hidden_size": 24, "ffn_hidden_size": 21, "num_attention_heads": 2, "num_layers": 3},
    "identity": {},
}
_SMALL = {"hidden_size": 19, "ffn_hidden_size": 17, "num_attention_heads": 1, "num_layers": 2}
_LAYERS = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
_YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8, "beta_fast": 32.0, "beta_slow": 1.0}

CASES = {
    # Norms around the blocks, gate and up in one, part of each head turning by neighbours.
    "glm4_around": _case(
        _config("glm4", "Glm4ForCausalLM", 32, 26, 4, 4, 2, 23, head_dim=12, attention_bias=True, rope_theta=1000.0,
                partial_rotary_factor=0.5),
        [24, 13],
        moves={"partial": {"partial_rotary_factor": 1.0}},
        **_CUTS,
    ),
    "glm4_tied": _case(
        _config("glm4", "Glm4ForCausalLM", 24, 22, 3, 2, 1, 19, head_dim=16, attention_bias=False,
                tie_word_embeddings=True,
                rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.25}),
        [24, 24, 11],
        everything=_SMALL,
    ),
    "glm_before": _case(
        _config("glm", "GlmForCausalLM", 32, 26, 4, 4, 2, 23, head_dim=12, attention_bias=True, rope_theta=1000.0),
        [24, 13],
        moves={"partial": {"partial_rotary_factor": 1.0}},
        **_CUTS,
    ),
    # A window in three of four layers, scaled positions where there is none.
    "olmo3_yarn": _case(
        _config("olmo3", "Olmo3ForCausalLM", 32, 26, 5, 4, 2, 23, tie_word_embeddings=False, rope_theta=1000.0,
                rope_scaling=_YARN, sliding_window=7, attention_bias=False, max_position_embeddings=64),
        [24, 13],
        moves={"window": {"sliding_window": 100}, "scaling": {"rope_scaling": None}, "theta": {"rope_theta": 50.0}},
        width={"hidden_size": 27, "ffn_hidden_size": 19},
        depth={"num_layers": 4},
        everything={"hidden_size": 24, "ffn_hidden_size": 21, "num_attention_heads": 2, "num_layers": 4},
        identity={},
    ),
    "olmo3_sections": _case(
        _config("olmo3", "Olmo3ForCausalLM", 24, 22, 3, 2, 2, 19, tie_word_embeddings=True, sliding_window=9,
                attention_bias=True, layer_types=["full_attention", "sliding_attention", "full_attention"],
                rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 500.0},
                                 "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}),
        [24, 24, 11],
        moves={"window": {"sliding_window": 100}},
        everything={"hidden_size": 19, "ffn_hidden_size": 17, "num_layers": 2},
    ),
    "seed_oss_bias": _case(
        _config("seed_oss", "SeedOssForCausalLM", 32, 26, 4, 4, 2, 23, head_dim=12, attention_bias=True,
                attention_out_bias=False, mlp_bias=False, tie_word_embeddings=False, rope_theta=1000.0),
        [24, 13],
        **_CUTS,
    ),
    "seed_oss_tied": _case(
        _config("seed_oss", "SeedOssForCausalLM", 24, 22, 3, 2, 1, 19, head_dim="null", attention_bias=False,
                attention_out_bias=True, mlp_bias=True, tie_word_embeddings=True),
        [24, 24, 11],
        everything=_SMALL,
    ),
    "arcee_plain": _case(
        _config("arcee", "ArceeForCausalLM", 32, 26, 4, 4, 2, 23, hidden_act="relu2", attention_bias=False,
                mlp_bias=False, tie_word_embeddings=False, rope_theta=1000.0),
        [24, 13],
        width={"hidden_size": 28, "ffn_hidden_size": 19},
        depth={"num_layers": 3},
        everything={"hidden_size": 26, "ffn_hidden_size": 21, "num_attention_heads": 2, "num_layers": 3},
        identity={},
    ),
    "arcee_bias": _case(
        _config("arcee", "ArceeForCausalLM", 24, 22, 3, 2, 1, 19, hidden_act="relu2", attention_bias=True,
                mlp_bias=True, tie_word_embeddings=True, rope_scaling=_YARN),
        [24, 24, 11],
        moves={"scaling": {"rope_scaling": None}},
        everything=_SMALL,
    ),
    # Embeddings times the root of hidden_size and no norms after the blocks: a quarter of the channels halves it, which
    # bfloat16 holds exactly.
    "gemma_tied": _case(
        _config("gemma", "GemmaForCausalLM", 48, 26, 4, 4, 2, 23, head_dim=12, hidden_act="gelu", rope_theta=1000.0),
        [24, 13],
        width={"hidden_size": 12, "ffn_hidden_size": 19},
        depth={"num_layers": 3},
        everything={"hidden_size": 12, "ffn_hidden_size": 21, "num_attention_heads": 2, "num_layers": 3},
        identity={},
    ),
    # Stored in float32, where any number of channels will do; a head of its own.
    "gemma_float32": _case(
        _config("gemma", "GemmaForCausalLM", 24, 22, 3, 2, 1, 19, head_dim=12, hidden_act="gelu_pytorch_tanh",
                attention_bias=True, tie_word_embeddings=False, dtype="float32"),
        [24, 24, 11],
        everything=_SMALL,
    ) | {"stored": torch.float32},
    "cwm_default": _case(
        _config("cwm", "CwmForCausalLM", 32, 26, 5, 4, 2, 23, head_dim=12, sliding_window=7, mlp_bias=False,
                tie_word_embeddings=False, max_position_embeddings=131072),
        [24, 13],
        moves={"window": {"sliding_window": 100}, "theta": {"rope_parameters": {}, "rope_theta": 50.0}},
        width={"hidden_size": 28, "ffn_hidden_size": 19},
        depth={"num_layers": 4},
        everything={"hidden_size": 26, "ffn_hidden_size": 21, "num_attention_heads": 2, "num_layers": 4},
        identity={},
    ),
    # Norms behind the blocks; layers that see all have no positions.
    "exaone4_hybrid": _case(
        _config("exaone4", "Exaone4ForCausalLM", 32, 26, 4, 4, 2, 23, sliding_window=7, sliding_window_pattern="LG",
                layer_types=_LAYERS, tie_word_embeddings=False, rope_theta=1000.0),
        [24, 13],
        moves={"window": {"sliding_window": 100}, "base": {"rope_theta": 50.0}},
        **_CUTS,
    ),
    "exaone4_full": _case(
        _config("exaone4", "Exaone4ForCausalLM", 24, 22, 3, 2, 1, 19, sliding_window="null",
                sliding_window_pattern="null", layer_types=["full_attention"] * 3, tie_word_embeddings=True,
                head_dim=16, rope_theta=1000.0),
        [24, 24, 11],
        moves={"base": {"rope_theta": 50.0}},
        everything=_SMALL,
    ),
    # Queries that grow every eight positions.
    "ministral3_growing": _case(
        _config("ministral3", "Ministral3ForCausalLM", 32, 26, 4, 4, 2, 23, head_dim=12, tie_word_embeddings=True,
                sliding_window="null",
                rope_parameters=_YARN | {"rope_theta": 1000.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                                         "llama_4_scaling_beta": 0.7}),
        [24, 13],
        moves={"growth": {"rope_parameters": _YARN | {"rope_theta": 1000.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                                                      "llama_4_scaling_beta": 0.1}}},
        **_CUTS,
    ),
    # Norms of queries and keys after they turn, a base stretched for good.
    "hunyuan_alpha": _case(
        _config("hunyuan_v1_dense", "HunYuanDenseV1ForCausalLM", 32, 26, 4, 4, 2, 23, head_dim=12,
                attention_bias=False, tie_word_embeddings=True, rope_theta=100.0, use_qk_norm=True,
                rope_scaling={"alpha": 50.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0,
                              "mscale_all_dim": 0.0, "type": "dynamic"}),
        [24, 13],
        moves={"alpha": {"rope_scaling": None}},
        **_CUTS,
    ),
    "hunyuan_bias": _case(
        _config("hunyuan_v1_dense", "HunYuanDenseV1ForCausalLM", 24, 22, 3, 2, 1, 19, head_dim=16,
                attention_bias=True, tie_word_embeddings=False, rope_theta=1000.0),
        [24, 24, 11],
        everything=_SMALL,
    ),
    # Side by side behind one LayerNorm, the head with a bias.
    "phi_parallel": _case(
        _config("phi", "PhiForCausalLM", 32, 26, 4, 4, 2, 23, rms_norm_eps=None, hidden_act="gelu_new",
                partial_rotary_factor=0.5, layer_norm_eps=1e-5, rope_theta=1000.0, tie_word_embeddings=False),
        [24, 13],
        moves={"partial": {"partial_rotary_factor": 1.0}},
        **_CUTS,
    ),
    # Norms of queries and keys as wide as hidden_size / num_attention_heads.
    "phi_normed": _case(
        _config("phi", "PhiForCausalLM", 24, 22, 3, 2, 2, 19, rms_norm_eps=None, hidden_act="gelu",
                qk_layernorm=True, layer_norm_eps=1e-5, rope_theta=1000.0, tie_word_embeddings=True),
        [24, 24, 11],
        everything={"ffn_hidden_size": 17, "num_layers": 2},
    ),
    "stablelm_serial": _case(
        _config("stablelm", "StableLmForCausalLM", 32, 26, 4, 4, 2, 23, rms_norm_eps=None, layer_norm_eps=1e-5,
                use_qkv_bias=True, rope_theta=1000.0, partial_rotary_factor=0.25, tie_word_embeddings=False),
        [24, 13],
        moves={"partial": {"partial_rotary_factor": 1.0}},
        width={"ffn_hidden_size": 19},
        depth={"num_layers": 3},
        everything={"ffn_hidden_size": 21, "num_layers": 3},
        identity={},
    ),
    # Side by side, and a norm for each head.
    "stablelm_parallel": _case(
        _config("stablelm", "StableLmForCausalLM", 24, 22, 3, 2, 1, 19, rms_norm_eps=None, layer_norm_eps=1e-5,
                use_qkv_bias=False, qk_layernorm=True, use_parallel_residual=True, partial_rotary_factor=0.5,
                tie_word_embeddings=True),
        [24, 24, 11],
        everything={"ffn_hidden_size": 17, "num_layers": 2},
    ),
    # Learned positions, weights that lie the other way round.
    "gpt2_learned": _case(
        {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 23, "n_embd": 32, "n_head": 4,
         "n_layer": 4, "n_positions": 112, "n_ctx": 112, "n_inner": 26, "activation_function": "gelu_new",
         "layer_norm_epsilon": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "dtype": "bfloat16"},
        [24, 13],
        moves={"scale": {"scale_attn_weights": False}},
        width={"ffn_hidden_size": 19},
        depth={"num_layers": 3},
        everything={"ffn_hidden_size": 21, "num_layers": 3},
        identity={},
    ),
    # The nonlinearity has parameters.
    "apertus_xielu": _case(
        _config("apertus", "ApertusForCausalLM", 32, 26, 4, 4, 2, 23, hidden_act="xielu", attention_bias=False,
                tie_word_embeddings=False, rope_theta=1000.0, rms_norm_eps=1e-5,
                rope_scaling={"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                              "original_max_position_embeddings": 8, "rope_type": "llama3", "type": "llama3"}),
        [24, 13],
        moves={"scaling": {"rope_scaling": None, "rope_parameters": {}}},
        **_CUTS,
    ),
    "apertus_bias": _case(
        _config("apertus", "ApertusForCausalLM", 24, 22, 3, 2, 1, 19, hidden_act="xielu", attention_bias=True,
                tie_word_embeddings=True, head_dim=16),
        [24, 24, 11],
        everything=_SMALL,
    ),
    "ernie4_5_tied": _case(
        _config("ernie4_5", "Ernie4_5ForCausalLM", 32, 26, 4, 4, 2, 23, head_dim=12, use_bias=False,
                rope_theta=1000.0),
        [24, 13],
        **_CUTS,
    ),
    "ernie4_5_bias": _case(
        _config("ernie4_5", "Ernie4_5ForCausalLM", 24, 22, 3, 2, 1, 19, head_dim="null", use_bias=True,
                tie_word_embeddings=False, rope_theta=1000.0),
        [24, 24, 11],
        everything=_SMALL,
    ),
    # Side by side behind one norm, layers that see all without positions, by an older field.
    "cohere2_pattern": _case(
        _config("cohere2", "Cohere2ForCausalLM", 32, 26, 4, 4, 2, 23, rms_norm_eps=None, layer_norm_eps=1e-5,
                logit_scale=0.25, sliding_window=7, sliding_window_pattern=2, rope_theta=1000.0),
        [24, 13],
        moves={"window": {"sliding_window": 100}, "pattern": {"sliding_window_pattern": 4},
               "logits": {"logit_scale": 0.5}, "base": {"rope_theta": 50.0}},
        **_CUTS,
    ),
    "cohere2_list": _case(
        _config("cohere2", "Cohere2ForCausalLM", 24, 22, 3, 2, 1, 19, rms_norm_eps=None, layer_norm_eps=1e-5,
                logit_scale=1.5, sliding_window=9, attention_bias=True, tie_word_embeddings=False,
                layer_types=["full_attention", "sliding_attention", "full_attention"]),
        [24, 24, 11],
        moves={"window": {"sliding_window": 100}},
        everything=_SMALL,
    ),
    # Its output projection is square, so that heads go with hidden_size.
    "helium_square": _case(
        _config("helium", "HeliumForCausalLM", 48, 26, 4, 4, 2, 23, head_dim=12, rms_norm_eps=1e-6,
                tie_word_embeddings=False, rope_theta=1000.0),
        [24, 13],
        width={"hidden_size": 24, "num_attention_heads": 2, "ffn_hidden_size": 19},
        depth={"num_layers": 3},
        everything={"hidden_size": 24, "ffn_hidden_size": 21, "num_attention_heads": 2, "num_layers": 3},
        identity={},
    ),
    "helium_bias": _case(
        _config("helium", "HeliumForCausalLM", 24, 22, 3, 2, 1, 19, head_dim=12, rms_norm_eps=1e-6,
                attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
        [24, 24, 11],
        everything={"ffn_hidden_size": 17, "num_layers": 2},
    ),
    # Norms without weights, of embeddings too; positions turn the other way.
    "nanochat_bare": _case(
        _config("nanochat", "NanoChatForCausalLM", 32, 26, 4, 4, 2, 23, hidden_act="relu2", rope_theta=1000.0,
                final_logit_softcapping=9.0, tie_word_embeddings=False),
        [24, 13],
        moves={"softcap": {"final_logit_softcapping": 30.0}},
        **_CUTS,
    ),
    "nanochat_tied": _case(
        _config("nanochat", "NanoChatForCausalLM", 24, 22, 3, 2, 1, 19, hidden_act="relu2", attention_bias=True,
                head_dim=16, tie_word_embeddings=True),
        [24, 24, 11],
        everything=_SMALL,
    ),
}

# The string "null" marks a key that config.json spells as null.
for _entry in CASES.values():
    _entry["config"] = {k: (None if v == "null" else v) for k, v in _entry["config"].items()}
