"""What mutation_cases.py compares of Gemma 4: its base, which has all that its models have at once, and the values of fields
that only it has."""

ABSENT = "<absent>"
FLAG = [True, False]

VALUES = dict(
    vocab_size_per_layer_input=[176, 100], hidden_size_per_layer_input=[0, 4], attention_k_eq_v=FLAG,
    num_kv_shared_layers=[0, 2, 3, 4, 9, -1], enable_moe_block=FLAG, use_double_wide_mlp=FLAG, top_k_experts=[1, 3, 6, 9, 0],
)


def bases(dense):
    return {"gemma4_text": dense | dict(
        head_dim=16, sliding_window=9, layer_types=["sliding_attention", "full_attention"] * 2, tie_word_embeddings=True,
        global_head_dim=24, num_global_key_value_heads=1, attention_k_eq_v=True, hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=dense["vocab_size"], num_kv_shared_layers=1, use_double_wide_mlp=True,
        enable_moe_block=True, num_experts=6, top_k_experts=2, moe_intermediate_size=24)}


def pairs(crossed, windowed):
    return {"gemma4_text": crossed({"global_head_dim": [8, 16, None, ABSENT, "8"]}, {"head_dim": [16, 24, 512, ABSENT]}) + crossed(
        {"num_global_key_value_heads": [2, 4, 3, None, ABSENT, "2"]}, {"attention_k_eq_v": FLAG, "num_key_value_heads": [4, 1]})
    + crossed({"layer_types": windowed[:4] + [None, ABSENT]}, {"num_kv_shared_layers": [0, 1, 2], "sliding_window": [5, ABSENT]})
    + crossed({"enable_moe_block": [False]}, {"num_experts": [None, 8], "hidden_size_per_layer_input": [0], "moe_intermediate_size": [
        None]}) + crossed({"use_double_wide_mlp": FLAG}, {"num_kv_shared_layers": [0, 2]}) + crossed(
        {"use_bidirectional_attention": ["all", "vision", None]}, {"sliding_window": [5, 9]}) + [
            (f"per_layer_config {own}", {"per_layer_config": own, "global_head_dim": ABSENT}) for own in (
                {"1": {"head_dim": 8}, "3": {"head_dim": 8}}, {"1": {"head_dim": 8, "num_key_value_heads": 1}, "03": {
                    "head_dim": 8, "num_key_value_heads": 1}}, {"1": {"head_dim": 8}}, {}, None, {"0": {"head_dim": 8}, "2": {
                        "head_dim": 8}}, {"1": {"num_attention_heads": 2}, "3": {"num_attention_heads": 2}}, {"7": {"head_dim": 8}},
                {"1": {"num_key_value_heads": 4}, "3": {"num_key_value_heads": 4}}, {"1": {}, "3": {}}, {"x": {"head_dim": 8}},
                {"1": {"sliding_window": 3}, "3": {"sliding_window": 3}}, {"1": {"head_dim": 16}, "3": {"head_dim": 16}})] + [
            (f"proportional {label}, {kind}", {"rope_parameters": {
                kind: {"rope_type": "proportional", "rope_theta": 70.0} | extra, other: {"rope_type": "default", "rope_theta": 31.0}}})
            for kind, other in (("full_attention", "sliding_attention"), ("sliding_attention", "full_attention"))
            for label, extra in {"whole": {}, "quarter": {"partial_rotary_factor": 0.25}, "none": {"partial_rotary_factor": 0.0},
                                 "twice": {"partial_rotary_factor": 2.0}, "odd": {"partial_rotary_factor": 0.3},
                                 "factor": {"partial_rotary_factor": 0.5, "factor": 4.0}, "null": {"partial_rotary_factor": None},
                                 "no theta": {"rope_theta": None}}.items()] + [
            ("one kind of positions", {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 31.0}}})]}
