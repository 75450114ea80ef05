"""The dense checkpoints: one entry each, `config` being config.json as it is written, key for key.

Between them the cases spell the rotary settings both ways (`rope_theta` and `rope_scaling`, with `type` or
`rope_type`; `rope_parameters`), give and leave out whatever a config may leave out, and reach past the original
context of every rope type. `rows` are the row lengths; every row is padded to the first.
"""


def _config(model_type, architecture, hidden, ffn, layers, heads, kv_heads, vocab, tied, **more):
    config = {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": tied,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config |= more
    # None marks a key that this config.json leaves out; the string "null" one that it spells as null.
    config = {k: v for k, v in config.items() if v is not None}
    return {k: (None if v == "null" else v) for k, v in config.items()}


def _case(config, dtype_key, rows, **prunings):
    return {
        "config": config | {dtype_key: "bfloat16"},
        "rows": rows,
        "prunings": {name: sizes for name, sizes in prunings.items()},
    }


def llama(*shape, **more):
    return _config("llama", "LlamaForCausalLM", *shape, **more)


def mistral(*shape, **more):
    return _config("mistral", "MistralForCausalLM", *shape, **more)


def qwen2(*shape, **more):
    return _config("qwen2", "Qwen2ForCausalLM", *shape, **more)


def qwen3(*shape, **more):
    return _config("qwen3", "Qwen3ForCausalLM", *shape, **more)


OLD, NEW = "torch_dtype", "dtype"

CASES = {
    # Llama 2: as many key/value heads as heads, and a config too old to say so.
    "llama2": _case(
        llama(40, 38, 4, 4, None, 47, False, rope_scaling="null", pretraining_tp=1),
        OLD,
        [40, 40, 23],
        width={"hidden_size": 36, "ffn_hidden_size": 29},
        depth={"num_layers": 3},
        everything={"hidden_size": 32, "ffn_hidden_size": 25, "num_layers": 2},
    ),
    "llama3": _case(
        llama(48, 42, 4, 6, 2, 47, False, rope_theta=500000.0, rope_scaling="null", attention_bias=False,
              mlp_bias=False),
        OLD,
        [40, 40, 17],
        heads={"num_attention_heads": 4},
        everything={"hidden_size": 40, "ffn_hidden_size": 37, "num_attention_heads": 4, "num_layers": 3},
        identity={},
    ),
    # Llama 3.1 and 3.2: all three branches of the frequency rule fall inside the eight frequencies.
    "llama31": _case(
        llama(64, 50, 3, 4, 2, 41, True, rope_theta=10000.0, max_position_embeddings=256, head_dim=16,
              rope_scaling={"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                            "original_max_position_embeddings": 32, "rope_type": "llama3"}),
        OLD,
        [48, 48, 31],
        depth={"num_layers": 2},
        everything={"hidden_size": 48, "ffn_hidden_size": 41, "num_attention_heads": 2, "num_layers": 2},
    ),
    # Biases everywhere Llama may have them; linear scaling in the oldest spelling.
    "llama_bias_linear": _case(
        llama(48, 42, 4, 4, 2, 43, False, attention_bias=True, mlp_bias=True, rope_theta=10000.0,
              max_position_embeddings=16, rope_scaling={"type": "linear", "factor": 2.5}),
        OLD,
        [40, 40, 29],
        width={"hidden_size": 40, "ffn_hidden_size": 31},
        heads={"num_attention_heads": 2},
        everything={"hidden_size": 44, "ffn_hidden_size": 23, "num_attention_heads": 2, "num_layers": 3},
    ),
    # A head_dim that hidden_size and heads do not imply, in the newer spelling, with the largest vocabulary.
    "llama_head_dim": _case(
        llama(48, 38, 3, 4, 2, 131, True, head_dim=16, rms_norm_eps=1e-06,
              rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0,
                               "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
        NEW,
        [40, 19],
        everything={"hidden_size": 36, "ffn_hidden_size": 29, "num_attention_heads": 2, "num_layers": 2},
    ),
    "llama_dynamic": _case(
        llama(48, 42, 3, 4, 2, 59, False, max_position_embeddings=16, rope_theta=10000.0,
              rope_scaling={"type": "dynamic", "factor": 2.0}),
        OLD,
        [40, 40, 21],
        width={"hidden_size": 32, "ffn_hidden_size": 26},
        depth={"num_layers": 2},
    ),
    # The same scaling inside the original context, where it must do nothing.
    "llama_dynamic_within": _case(
        llama(48, 42, 3, 4, 2, 59, False, max_position_embeddings=64,
              rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
        NEW,
        [40, 40, 21],
        heads={"num_attention_heads": 2},
    ),
    # YaRN with everything left to its defaults; a lone `mscale` has no say.
    "llama_yarn": _case(
        llama(48, 42, 4, 4, 2, 47, True, max_position_embeddings=128, rope_theta=500.0,
              rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
                            "mscale": 0.707}),
        OLD,
        [40, 40, 33],
        everything={"hidden_size": 40, "ffn_hidden_size": 29, "num_attention_heads": 2, "num_layers": 3},
    ),
    # Mistral: a window shorter than the rows in every layer.
    "mistral_window": _case(
        mistral(48, 42, 4, 4, 2, 41, False, head_dim=16, sliding_window=9,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
        NEW,
        [40, 40, 27],
        width={"hidden_size": 33, "ffn_hidden_size": 25},
        depth={"num_layers": 3},
        everything={"hidden_size": 40, "ffn_hidden_size": 37, "num_attention_heads": 2, "num_layers": 2},
    ),
    "mistral_full": _case(
        mistral(80, 38, 3, 5, 1, 31, True, head_dim="null", sliding_window="null", rope_theta=1000000.0),
        OLD,
        [40, 40, 11],
        heads={"num_attention_heads": 3},
        everything={"hidden_size": 61, "ffn_hidden_size": 29, "num_attention_heads": 2, "num_layers": 2},
        identity={},
    ),
    # A list of layers makes a Mistral what `transformers` calls a Ministral: some see all, some a window.
    "mistral_list": _case(
        mistral(32, 28, 4, 4, 2, 37, False, head_dim=12, sliding_window=7, rope_theta=500.0,
                layer_types=["full_attention", "sliding_attention", "sliding_attention", "full_attention"]),
        OLD,
        [24, 24, 15],
        depth={"num_layers": 3},
    ),
    "ministral_list": _case(
        _config("ministral", "MinistralForCausalLM", 32, 28, 4, 4, 2, 37, False, head_dim=12, sliding_window=7,
                layer_types=["sliding_attention", "full_attention"] * 2,
                rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
        NEW,
        [24, 24, 15],
        width={"hidden_size": 25, "ffn_hidden_size": 19},
        depth={"num_layers": 3},
        everything={"hidden_size": 27, "ffn_hidden_size": 21, "num_attention_heads": 2, "num_layers": 3},
    ),
    # YaRN with every setting given: its own attention factor, untruncated bounds inside the frequencies.
    "mistral_yarn": _case(
        mistral(48, 42, 3, 6, 3, 53, False, head_dim=16, sliding_window=24, max_position_embeddings=64,
                rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 2.0,
                                 "beta_slow": 0.05, "attention_factor": 1.25, "truncate": False,
                                 "original_max_position_embeddings": 16}),
        NEW,
        [40, 40, 25],
        width={"hidden_size": 35, "ffn_hidden_size": 26},
        heads={"num_attention_heads": 3},
    ),
    # Qwen2: a window that `use_sliding_window` turns off.
    "qwen2_tied": _case(
        qwen2(48, 58, 4, 4, 2, 47, True, rope_theta=1000000.0, rms_norm_eps=1e-06, use_sliding_window=False,
              sliding_window=8, max_window_layers=4),
        OLD,
        [40, 40, 19],
        heads={"num_attention_heads": 2},
        everything={"hidden_size": 33, "ffn_hidden_size": 37, "num_attention_heads": 2, "num_layers": 3},
    ),
    # … and one that holds from the third layer on: what is kept decides which layers have it.
    "qwen2_window": _case(
        qwen2(48, 38, 5, 4, 4, 29, False, rope_theta=10000.0, rms_norm_eps=1e-06, use_sliding_window=True,
              sliding_window=7, max_window_layers=2),
        OLD,
        [40, 40, 40, 30],
        depth={"num_layers": 3},
        everything={"hidden_size": 41, "ffn_hidden_size": 29, "num_layers": 4},
    ),
    # The context YaRN starts from left to max_position_embeddings.
    "qwen2_yarn": _case(
        qwen2(56, 42, 3, 4, 2, 47, False, rope_theta=1000.0, rms_norm_eps=1e-06, max_position_embeddings=16,
              use_sliding_window=False, rope_scaling={"type": "yarn", "factor": 4.0}),
        OLD,
        [40, 40, 39],
        width={"hidden_size": 42, "ffn_hidden_size": 31},
        everything={"hidden_size": 43, "ffn_hidden_size": 27, "num_attention_heads": 2, "num_layers": 2},
        identity={},
    ),
    "qwen3_tied": _case(
        qwen3(48, 74, 3, 4, 2, 53, True, head_dim=16, rope_theta=1000000.0, rope_scaling="null",
              rms_norm_eps=1e-06, attention_bias=False, use_sliding_window=False, sliding_window="null",
              max_window_layers=3),
        OLD,
        [40, 40, 13],
        width={"hidden_size": 37, "ffn_hidden_size": 50},
        everything={"hidden_size": 40, "ffn_hidden_size": 37, "num_attention_heads": 2, "num_layers": 2},
    ),
    # Biases on all four projections, heads that do not divide hidden_size, windows layer by layer.
    "qwen3_bias": _case(
        qwen3(80, 38, 3, 6, 2, 43, False, head_dim=8, rms_norm_eps=1e-06, attention_bias=True,
              use_sliding_window=True, sliding_window=11, max_window_layers=0,
              layer_types=["sliding_attention", "full_attention", "sliding_attention"],
              rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
        NEW,
        [40, 40, 37],
        heads={"num_attention_heads": 4},
        everything={"hidden_size": 57, "ffn_hidden_size": 31, "num_attention_heads": 2, "num_layers": 2},
    ),
    # YaRN whose attention factor is the ratio of two scales.
    "qwen3_yarn": _case(
        qwen3(48, 42, 4, 4, 2, 43, False, head_dim=12, rms_norm_eps=1e-06, max_position_embeddings=128,
              use_sliding_window=False, rope_theta=1000.0,
              rope_scaling={"type": "yarn", "rope_type": "yarn", "factor": 8.0, "mscale": 1.4,
                            "mscale_all_dim": 0.6, "beta_fast": 4, "beta_slow": 0.5,
                            "original_max_position_embeddings": 16}),
        OLD,
        [40, 40, 40, 22],
        depth={"num_layers": 2},
        heads={"num_attention_heads": 2},
    ),
}
