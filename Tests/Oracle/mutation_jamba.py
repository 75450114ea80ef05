"""What mutation_cases.py compares of Jamba: its base, and the values of fields that only it has."""

ABSENT = "<absent>"
FLAG = [True, False]

VALUES = dict(
    attn_layer_period=[1, 3, 4, 9, 0], attn_layer_offset=[0, 1, 2, 9, -1], expert_layer_period=[1, 3, 4, 9, 0],
    expert_layer_offset=[0, 1, 2, 9, -1], mamba_dt_rank=["auto", 5, 1], use_mambapy=FLAG, use_associative_scan=FLAG,
)


def bases(dense):
    return {"jamba": {k: v for k, v in dense.items() if k != "rope_theta"} | dict(
        num_experts=6, num_experts_per_tok=2, attn_layer_period=2, attn_layer_offset=1, expert_layer_period=3, expert_layer_offset=1,
        mamba_d_state=8, mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=4)}


def pairs(crossed):
    return {"jamba": crossed({"attn_layer_period": [2, 4, ABSENT, None]}, {"attn_layer_offset": [0, 3, ABSENT, None]}) + crossed(
        {"expert_layer_period": [2, 4, ABSENT]}, {"expert_layer_offset": [0, 3, ABSENT]}) + crossed(
        {"num_experts": [1, 8, 0, ABSENT]}, {"num_local_experts": [1, 4, ABSENT], "num_experts_per_tok": [1, 2, 3]}) + crossed(
        {"mamba_dt_rank": ["auto", ABSENT, None, 7]}, {"mamba_expand": [1, 4, ABSENT]}) + crossed(
        {"hidden_size": [60]}, {"mamba_dt_rank": ["auto", ABSENT], "head_dim": [8, 16, ABSENT]}) + crossed(
        {"mamba_conv_bias": FLAG}, {"mamba_proj_bias": FLAG}) + [
            (f"{name} of jamba", {name: ["full_attention"] * 4}) for name in ("layer_types", "layers_block_type")]}
