"""What mutation_cases.py compares of the families in Tests/Goldens/dense3_cases.py: their bases and the values of fields that
only they have."""

ABSENT = "<absent>"
_flag = [True, False]
_types = ["sliding_attention", "full_attention"] * 2
_mscale = dict(mscale=1.0, mscale_all_dim=1.0)
GROWTH = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "rope_theta": 500.0,
          "llama_4_scaling_beta": 0.4} | _mscale


def bases(dense, rms):
    layered = dict(layer_norm_eps=1e-5)
    return {
        "glm": dense | rms | dict(head_dim=16, attention_bias=True),
        "glm4": dense | rms | dict(head_dim=16, attention_bias=True),
        "olmo3": dense | rms | dict(sliding_window=9, layer_types=_types),
        "seed_oss": dense | rms | dict(head_dim=16, attention_bias=True),
        "arcee": dense | rms | dict(head_dim=16),
        "gemma": dense | rms | dict(head_dim=16, tie_word_embeddings=True),
        "cwm": dense | rms | dict(head_dim=16, sliding_window=9, layer_types=_types, rope_parameters={"rope_type": "default"}),
        "exaone4": dense | rms | dict(sliding_window=9, layer_types=_types),
        "ministral3": {k: v for k, v in dense.items() if k != "rope_theta"} | rms | dict(
            head_dim=16, sliding_window=None, rope_parameters=GROWTH),
        "hunyuan_v1_dense": dense | rms | dict(
            head_dim=16, rope_scaling={"type": "dynamic", "factor": 1.0, "alpha": 50.0}),
        "phi": dense | layered | dict(partial_rotary_factor=0.5),
        "stablelm": dense | layered | dict(partial_rotary_factor=0.5, use_qkv_bias=True),
        "gpt2": dict(
            vocab_size=dense["vocab_size"], n_embd=48, n_head=4, n_layer=dense["num_hidden_layers"],
            n_positions=dense["max_position_embeddings"], n_inner=40, layer_norm_epsilon=1e-5, bos_token_id=1,
            eos_token_id=2, pad_token_id=0, tie_word_embeddings=True),
        "apertus": dense | rms | dict(hidden_act="xielu", rope_parameters={"rope_type": "default"}),
        "ernie4_5": dense | rms | dict(head_dim=16, use_bias=False),
        "cohere2": dense | layered | dict(sliding_window=9, logit_scale=0.25, layer_types=_types, tie_word_embeddings=True),
        "helium": dense | rms | dict(head_dim=12),
        "nanochat": dense | rms | dict(final_logit_softcapping=4.0),
    }


VALUES = dict(
    attention_out_bias=_flag, qk_layernorm=_flag, use_qkv_bias=_flag, use_parallel_residual=_flag,
    sliding_window_pattern=[1, 2, 3, "LG", 0], logit_scale=[0.3, 3, 0, -1.5], eod_token_id=[5],
    n_positions=[64, 1024], n_embd=[64, 60], n_layer=[2, 3], n_head=[2, 8, 5], n_inner=[36],
    activation_function=["gelu", "relu", "gelu_pytorch_tanh", "gelu_new", "silu", "relu2", "tanh", "nonsense"],
    attn_pdrop=[0.0, 0.9], scale_attn_weights=_flag, scale_attn_by_inverse_layer_idx=_flag,
    reorder_and_upcast_attn=_flag, add_cross_attention=_flag, summary_type=["mean"], summary_use_proj=_flag,
    summary_activation=["tanh"], summary_proj_to_labels=_flag, summary_first_dropout=[0.5],
)


def pairs(crossed, windowed):
    lists = {"layer_types": windowed[:4] + [None, ABSENT]}
    windows = crossed({"sliding_window": [None, ABSENT, 5]}, lists)
    growth = [(f"growth {label}", {"rope_parameters": section}) for label, section in {
        "beta 0": GROWTH | {"llama_4_scaling_beta": 0.0}, "beta 2": GROWTH | {"llama_4_scaling_beta": 2.0},
        "no beta": {k: v for k, v in GROWTH.items() if k != "llama_4_scaling_beta"},
        "original 5": GROWTH | {"original_max_position_embeddings": 5},
        "default": {"rope_type": "default", "rope_theta": 70.0, "llama_4_scaling_beta": 0.5,
                    "original_max_position_embeddings": 9},
        "default without original": {"rope_type": "default", "rope_theta": 70.0, "llama_4_scaling_beta": 0.5},
        "yarn without original": {k: v for k, v in GROWTH.items() if "original" not in k},
    }.items()] + [("growth, original outside", {"original_max_position_embeddings": 7}),
                  ("growth, max 20", {"max_position_embeddings": 20}),
                  ("growth, scaling and original outside", {
                      "rope_scaling": GROWTH | {"llama_4_scaling_beta": 1.0}, "original_max_position_embeddings": 7}),
                  ("growth absent", {"rope_parameters": ABSENT}), ("growth null", {"rope_parameters": None})]
    alpha = [(f"alpha {value}, factor {factor}, max {most}", {
        "rope_scaling": {"type": "dynamic", "factor": factor, "alpha": value}, "max_position_embeddings": most})
        for value in (0, 0.5, 1000.0, -2.0, None, "text") for factor in (1.0, 4.0) for most in (32, 256)]
    alpha += [("alpha in parameters", {"rope_scaling": ABSENT, "rope_parameters": {
        "rope_type": "dynamic", "factor": 1.0, "alpha": 9.0, "rope_theta": 70.0}}),
        ("alpha of linear", {"rope_scaling": {"type": "linear", "factor": 2.0, "alpha": 9.0}})]
    return {
        "olmo3": windows, "cwm": windows + crossed(
            {"rope_parameters": [None, ABSENT, {}]}, {"rope_theta": [7.0, ABSENT]}),
        "exaone4": windows + crossed({"layer_types": [ABSENT, None]}, {"sliding_window_pattern": [1, 2, 3, 4, "LG", None]}),
        "cohere2": windows + crossed({"layer_types": [ABSENT, None]}, {"sliding_window_pattern": [1, 2, 3, 4]}),
        "apertus": crossed({"rope_parameters": [None, ABSENT, {}]}, {"rope_theta": [7.0, ABSENT]})
        + crossed({"head_dim": [16, 8]}, {"attention_bias": _flag}),
        "ministral3": growth, "hunyuan_v1_dense": alpha,
        "phi": crossed({"qk_layernorm": _flag}, {"partial_rotary_factor": [0.25, 1.0, ABSENT]})
        + [("qk_layernorm and head_dim", {"qk_layernorm": True, "head_dim": 16}), ("partial null", {"partial_rotary_factor": None})],
        "stablelm": crossed({"use_parallel_residual": _flag}, {"qk_layernorm": _flag})
        + [("partial null", {"partial_rotary_factor": None})],
        "glm": [("partial null", {"partial_rotary_factor": None})], "glm4": [("partial null", {"partial_rotary_factor": None})],
        "gpt2": crossed({"scale_attn_weights": _flag}, {"scale_attn_by_inverse_layer_idx": _flag})
        + [("hidden_size", {"hidden_size": 64}), ("num_hidden_layers", {"num_hidden_layers": 2})],
        "helium": crossed({"attention_bias": _flag}, {"mlp_bias": _flag}),
        "gemma": [("gelu", {"hidden_act": "gelu"}), ("hidden_activation", {"hidden_activation": "relu"})],
    }
