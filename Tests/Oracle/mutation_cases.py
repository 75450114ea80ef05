"""The configs that mutations.py compares: a base for each model type, and what is changed in it.

A mutation is a label and the keys of config.json it sets; ABSENT takes a key out. Values are drastic, so that a field
that is read wrongly shows in the loss.
"""

import dataclasses

import transformers

import mutation_dense
import mutation_gemma4
import mutation_jamba
import mutation_nas

ABSENT = "<absent>"
VOCAB, LAYERS, POSITIONS = 160, 4, 256

DENSE = dict(
    vocab_size=VOCAB, hidden_size=48, intermediate_size=40, num_hidden_layers=LAYERS, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=POSITIONS, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    tie_word_embeddings=False, rope_theta=500.0,
)
RMS = dict(rms_norm_eps=1e-5)
MIXTURE = dict(num_experts_per_tok=2, moe_intermediate_size=24, norm_topk_prob=True)
LATENT = dict(
    num_key_value_heads=4, kv_lora_rank=12, q_lora_rank=20, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=10,
    n_routed_experts=8, n_shared_experts=2, first_k_dense_replace=1, routed_scaling_factor=1.7,
)
DEEP = dict(
    n_routed_experts=8, n_shared_experts=2, first_k_dense_replace=1, routed_scaling_factor=1.7, n_group=4, topk_group=2,
    num_nextn_predict_layers=0,
)
LINEAR = dict(
    head_dim=16, linear_conv_kernel_dim=4, linear_key_head_dim=8, linear_value_head_dim=12, linear_num_key_heads=2,
    linear_num_value_heads=4, layer_types=["linear_attention", "full_attention"] * 2,
)
# With few heads some tokens' scores are zero in all of them, and PyTorch's choice among these follows no rule.
INDEXED = dict(
    index_topk=64, index_head_dim=12, index_n_heads=16, num_nextn_predict_layers=0, kv_lora_rank=14)
SHORT = dict(norm_eps=1e-5, conv_L_cache=3)
SCANS = dict(
    mamba_n_heads=8, mamba_d_head=12, mamba_n_groups=2, mamba_d_state=16, mamba_d_conv=4, mamba_expand=2, mamba_chunk_size=16,
)
MAGNITUDES = {
    "type": "longrope", "short_factor": [1.0, 1.5, 1.2, 2.0, 1.1, 1.3], "long_factor": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
    "short_mscale": 1.2, "long_mscale": 0.7, "original_max_position_embeddings": 50,
}

BASES = {
    "llama": DENSE | RMS | dict(head_dim=16),
    "mistral": DENSE | RMS | dict(head_dim=16, sliding_window=9),
    "ministral": DENSE | RMS | dict(head_dim=16, sliding_window=9,
                                    layer_types=["full_attention", "sliding_attention"] * 2),
    "qwen2": DENSE | RMS | dict(use_sliding_window=True, sliding_window=9, max_window_layers=2),
    "qwen3": DENSE | RMS | dict(head_dim=16, use_sliding_window=True, sliding_window=9, max_window_layers=2),
    "smollm3": DENSE | RMS | dict(use_sliding_window=True, sliding_window=9, no_rope_layers=[1, 0, 1, 0]),
    "granite": DENSE | RMS | dict(embedding_multiplier=1.5, logits_scaling=2.0, residual_multiplier=0.7,
                                  attention_multiplier=0.3),
    "olmo2": DENSE | RMS,
    "gemma2": DENSE | RMS | dict(head_dim=16, query_pre_attn_scalar=24, sliding_window=9, final_logit_softcapping=4.0,
                                 attn_logit_softcapping=3.0, tie_word_embeddings=True),
    "gemma3_text": DENSE | RMS | dict(head_dim=16, query_pre_attn_scalar=24, sliding_window=9,
                                      layer_types=["sliding_attention", "full_attention"] * 2,
                                      rope_local_base_freq=50.0, tie_word_embeddings=True),
    "phi3": DENSE | RMS | dict(sliding_window=None, original_max_position_embeddings=POSITIONS),
    "nemotron": DENSE | dict(norm_eps=1e-5, head_dim=16, partial_rotary_factor=0.5),
    "gpt_neox": {k: v for k, v in DENSE.items() if k not in ("rope_theta", "num_key_value_heads")}
    | dict(layer_norm_eps=1e-5, rotary_pct=0.5, rotary_emb_base=500.0, use_parallel_residual=True),
    "starcoder2": DENSE | dict(norm_epsilon=1e-5, sliding_window=9, use_bias=True),
    "qwen2_moe": DENSE | RMS | MIXTURE | dict(
        num_experts=6, shared_expert_intermediate_size=32, use_sliding_window=True, sliding_window=9,
        max_window_layers=4, mlp_only_layers=[0]),
    "qwen3_moe": DENSE | RMS | MIXTURE | dict(num_experts=6, head_dim=16, mlp_only_layers=[0]),
    "mixtral": DENSE | RMS | dict(num_local_experts=6, num_experts_per_tok=2),
    "olmoe": DENSE | RMS | dict(num_experts=6, num_experts_per_tok=2, norm_topk_prob=True),
    "gpt_oss": DENSE | RMS | dict(
        head_dim=16, num_local_experts=6, num_experts_per_tok=2, sliding_window=9,
        rope_scaling={"rope_type": "yarn", "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
                      "original_max_position_embeddings": 32}),
    "deepseek_v2": DENSE | RMS | MIXTURE | LATENT | dict(
        topk_method="group_limited_greedy", n_group=4, topk_group=2),
    "deepseek_v3": DENSE | RMS | MIXTURE | LATENT | dict(n_group=4, topk_group=2, num_nextn_predict_layers=0),
    "qwen3_next": DENSE | RMS | MIXTURE | LINEAR | dict(
        num_experts=6, shared_expert_intermediate_size=32, partial_rotary_factor=0.5, mlp_only_layers=[0]),
    "qwen3_5_text": DENSE | RMS | LINEAR | dict(partial_rotary_factor=0.5),
    "mamba2": dict(
        vocab_size=VOCAB, hidden_size=32, num_hidden_layers=LAYERS, num_heads=8, head_dim=8, expand=2, n_groups=2,
        state_size=16, conv_kernel=4, layer_norm_epsilon=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=False, chunk_size=16, time_step_limit=[0.0, 100.0]),
    "nemotron_h": dict(
        vocab_size=VOCAB, hidden_size=48, layers_block_type=["mamba", "attention", "mlp", "moe", "mamba"],
        num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=40,
        max_position_embeddings=POSITIONS, ssm_state_size=16, mamba_num_heads=8, mamba_head_dim=8, n_groups=2,
        conv_kernel=4, expand=2, chunk_size=16, n_routed_experts=8, moe_intermediate_size=24,
        moe_shared_expert_intermediate_size=32, num_experts_per_tok=2, n_group=4, topk_group=2,
        routed_scaling_factor=1.7, norm_topk_prob=True, layer_norm_epsilon=1e-5, bos_token_id=1, eos_token_id=2,
        pad_token_id=0, tie_word_embeddings=False),
    "qwen3_5_moe_text": {k: v for k, v in (DENSE | RMS | LINEAR).items() if k != "intermediate_size"} | dict(
        num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, shared_expert_intermediate_size=32,
        partial_rotary_factor=0.5),
    "glm4_moe": DENSE | RMS | MIXTURE | DEEP | dict(head_dim=16, partial_rotary_factor=0.5, use_qk_norm=True),
    "glm4_moe_lite": DENSE | RMS | MIXTURE | LATENT | dict(n_group=4, topk_group=2, num_nextn_predict_layers=0),
    "minimax_m2": DENSE | RMS | dict(head_dim=16, num_local_experts=6, num_experts_per_tok=2, rotary_dim=8),
    "dots1": DENSE | RMS | MIXTURE | DEEP | dict(sliding_window=9, max_window_layers=2),
    "ernie4_5_moe": DENSE | RMS | dict(
        moe_intermediate_size=24, moe_num_experts=6, moe_k=2, moe_num_shared_experts=2, moe_layer_start_index=1),
    "hunyuan_v1_moe": DENSE | RMS | dict(
        head_dim=16, num_experts=6, moe_topk=2, rope_scaling={"type": "dynamic", "factor": 1.0, "alpha": 50.0}),
    "granitemoehybrid": DENSE | RMS | SCANS | dict(
        embedding_multiplier=1.5, logits_scaling=2.0, residual_multiplier=0.7, attention_multiplier=0.3, num_local_experts=6,
        num_experts_per_tok=2, shared_intermediate_size=32, position_embedding_type="rope",
        layer_types=["mamba", "attention"] * 2),
    "bamba": DENSE | RMS | SCANS | dict(attn_layer_indices=[1, 3]),
    "falcon_h1": DENSE | RMS | SCANS | dict(
        mamba_d_ssm=96, mamba_rms_norm=True, lm_head_multiplier=0.6, embedding_multiplier=1.7, mlp_multipliers=[0.8, 1.3],
        key_multiplier=0.6, attention_out_multiplier=1.4, attention_in_multiplier=0.8, ssm_in_multiplier=1.25,
        ssm_multipliers=[1.3, 0.8, 1.5, 0.7, 1.2], ssm_out_multiplier=0.9),
    "lfm2": DENSE | SHORT | dict(block_multiple_of=8, layer_types=["conv", "full_attention"] * 2),
    "lfm2_moe": DENSE | SHORT | dict(
        num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, num_dense_layers=1, routed_scaling_factor=1.7,
        layer_types=["conv", "full_attention"] * 2),
    "llama4_text": DENSE | RMS | dict(
        head_dim=16, intermediate_size_mlp=36, num_local_experts=6, num_experts_per_tok=1, interleave_moe_layer_step=2,
        no_rope_layers=[1, 0, 1, 1], attention_chunk_size=9, floor_scale=7, attn_scale=0.4),
    "deepseek_v32": DENSE | RMS | MIXTURE | LATENT | INDEXED | dict(n_group=4, topk_group=2),
    "glm_moe_dsa": DENSE | RMS | MIXTURE | LATENT | INDEXED | dict(n_group=4, topk_group=2),
    "phimoe": DENSE | RMS | dict(
        num_local_experts=6, num_experts_per_tok=2, attention_bias=True, lm_head_bias=True, sliding_window=9,
        router_jitter_noise=0.3, rope_scaling=MAGNITUDES),
} | mutation_dense.bases(DENSE, RMS) | mutation_gemma4.bases(DENSE | RMS) | mutation_jamba.bases(DENSE | RMS) | mutation_nas.bases(DENSE | RMS)

# By towers.py; Kimi K2 is DeepSeek-V3 by another name, which `transformers` does not know.
COMPARED_ELSEWHERE = {"qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "gemma3", "gemma4", "mistral3", "llava", "llama4",
                      "kimi_k2", "kimi_k25"}

# No part of what a loss is computed with: bookkeeping, training, generation.
IDLE = set(
    """transformers_version architectures output_hidden_states output_attentions return_dict dtype id2label label2id
    problem_type use_cache initializer_range bos_token_id eos_token_id output_router_logits router_aux_loss_coef
    num_logits_to_keep classifier_dropout tie_encoder_decoder name_or_path torch_dtype
    use_mamba_kernels""".split()
)

_activations = ["gelu", "relu", "gelu_pytorch_tanh", "gelu_new", "swish", "silu", "relu2", "tanh", "quick_gelu", "nonsense"]
_scale = [0.3, 3, 0, -1.5]
_eps = [0.3, 1e-6, 1]
_alternating = ["full_attention", "sliding_attention"] * 2
_windowed = [["sliding_attention"] * LAYERS, ["full_attention"] * LAYERS, _alternating, _alternating[::-1],
             _alternating + ["full_attention"], ["chunked_attention"] * LAYERS, "sliding_attention"]
_flag = [True, False]
_dropout = [0.0, 0.9]

VALUES = dict(
    vocab_size=[176], hidden_size=[64, 60], intermediate_size=[36], num_hidden_layers=[2, 3], num_attention_heads=[2, 8, 3],
    num_key_value_heads=[1, 4, 3], head_dim=[8, 24, 12], hidden_act=_activations, hidden_activation=_activations,
    mamba_hidden_act=_activations, mlp_hidden_act=_activations, max_position_embeddings=[16, 1024],
    original_max_position_embeddings=[16, 4096], rms_norm_eps=_eps, norm_eps=_eps, norm_epsilon=_eps,
    layer_norm_eps=_eps, layer_norm_epsilon=_eps, pad_token_id=[5, -1, 400], pretraining_tp=[2],
    tie_word_embeddings=_flag, attention_bias=_flag, mlp_bias=_flag, use_bias=_flag, qkv_bias=_flag,
    use_conv_bias=_flag, mamba_proj_bias=_flag, attention_dropout=_dropout, hidden_dropout=_dropout,
    resid_pdrop=_dropout, embd_pdrop=_dropout, residual_dropout=_dropout, embedding_dropout=_dropout,
    use_sliding_window=_flag, sliding_window=[1, 5, 1000, 0], max_window_layers=[0, 1, 3, 40],
    layer_types=_windowed, use_bidirectional_attention=_flag, query_pre_attn_scalar=[4, 100],
    final_logit_softcapping=[1.5, 30.0, 0.0], attn_logit_softcapping=[0.7, 50.0, 0.0],
    embedding_multiplier=_scale, logits_scaling=[0.3, 3, -1.5], residual_multiplier=_scale, attention_multiplier=_scale,
    no_rope_layers=[[0] * LAYERS, [1] * LAYERS, [0, 1, 1, 0], [1, 0]], no_rope_layer_interval=[1, 2, 3],
    is_decoder=_flag, use_parallel_residual=_flag,
    num_experts=[8], num_local_experts=[8], n_routed_experts=[12], num_experts_per_tok=[1, 3, 6],
    moe_intermediate_size=[20], shared_expert_intermediate_size=[20], norm_topk_prob=_flag,
    decoder_sparse_step=[1, 2, 3], mlp_only_layers=[[], [1, 3], [0, 1, 2, 3], [-1], [9]], clip_qkv=[0.5, 8.0],
    swiglu_alpha=[0.5, 3.0], swiglu_limit=[0.5, 100.0], first_k_dense_replace=[0, 2, 9], kv_lora_rank=[16],
    q_lora_rank=[16, None], n_group=[1, 2, 8], topk_group=[1, 4], n_shared_experts=[1, 3], qk_nope_head_dim=[8],
    qk_rope_head_dim=[4, 12], v_head_dim=[16], routed_scaling_factor=[0.5, 4, 0.0], topk_method=[
        "greedy", "group_limited_greedy", "noaux_tc", "nonsense"],
    rope_interleave=_flag, num_mtp_layers=[0, 2], linear_conv_kernel_dim=[3, 2], linear_key_head_dim=[12],
    linear_value_head_dim=[8], linear_num_key_heads=[1, 4], linear_num_value_heads=[2, 8], state_size=[8],
    ssm_state_size=[8], expand=[1, 4], conv_kernel=[2, 3], n_groups=[1, 4], residual_in_fp32=_flag,
    time_step_rank=[3], time_step_min=[0.3, 0.0], time_step_max=[0.5], time_step_floor=[0.4],
    time_step_limit=[[0.0, 0.3], [0.4, 0.9], [0.0, float("inf")], [0.5, float("inf")]],
    rescale_prenorm_residual=_flag, chunk_size=[8, 64], num_heads=[4], mamba_num_heads=[4], mamba_head_dim=[16],
    moe_shared_expert_intermediate_size=[20], moe_latent_size=[24], moe_shared_expert_overlap=_flag,
    num_nextn_predict_layers=[1], mtp_layers_block_type=[["attention"]], mamba_ssm_cache_dtype=["bfloat16"],
    layers_block_type=[["mamba"] * 5, ["attention", "mlp"], ["linear_attention", "full_attention", "mlp", "moe", "mlp"],
                       ["nonsense"] * 5],
    chunk_size_feed_forward=[8], is_encoder_decoder=_flag, use_qk_norm=_flag,
    mlp_layer_types=[["sparse"] * LAYERS, ["sparse", "dense"] * 2, ["dense"] * LAYERS, ["dense", "nonsense"] * 2, ["dense"]],
    moe_num_experts=[8], moe_k=[1, 3, 6], moe_num_shared_experts=[0, 1, 3], moe_layer_start_index=[0, 2, 9, -1],
    moe_layer_end_index=[1, 2, 9, -1, -2], moe_layer_interval=[2, 3], moe_norm_min=[0.9, 3.0, 0.0],
    shared_intermediate_size=[20], position_embedding_type=["rope", "nope", "alibi"], mamba_n_heads=[4, 16, 6],
    mamba_n_groups=[1, 4, 3], mamba_d_state=[8], mamba_d_head=["auto", 6, 24], mamba_d_conv=[2, 3], mamba_expand=[1, 4],
    mamba_chunk_size=[8, 256], mamba_conv_bias=_flag, attn_layer_indices=[[], [0], [0, 1, 2, 3], [9], [-1], [1, 1], ["1"]],
    z_loss_coefficient=[0.5], mamba_d_ssm=[64, 48], mamba_norm_before_gate=_flag, mamba_rms_norm=_flag, projectors_bias=_flag,
    lm_head_multiplier=_scale, mlp_multipliers=[[1.0, 1.0], [0.3, 2], [0, 1], [1.0], [1, 1, 1]], key_multiplier=_scale,
    attention_out_multiplier=_scale, attention_in_multiplier=_scale, ssm_in_multiplier=_scale, ssm_out_multiplier=_scale,
    ssm_multipliers=[[1.0] * 5, [0.5, 2, 0.7, 1.4, 3], [1.0] * 4, [1, 0, 1, 1, 1]],
    conv_bias=_flag, conv_L_cache=[2, 4], block_multiple_of=[16, 1], block_ffn_dim_multiplier=[0.5, 2],
    block_auto_adjust_ff_dim=_flag, full_attn_idxs=[[], [0], [0, 1, 2, 3], [9], [-1], ["1"]], num_dense_layers=[0, 2, 4, 9],
    use_expert_bias=_flag, intermediate_size_mlp=[20], moe_layers=[[], [0], [0, 1, 2, 3], [9], [-1], ["1"]],
    interleave_moe_layer_step=[1, 3, 9], attention_chunk_size=[1, 5, 64, 1000, 0], attn_temperature_tuning=_flag + [4],
    floor_scale=[1, 20, 8192], attn_scale=[0.0, 2.0, -1.0], index_topk=[16, 65, 63, 0], index_head_dim=[16], index_n_heads=[2],
    indexer_types=[["full"] * 4, ["full", "shared"] * 2, ["shared"] * 4, ["full"]], router_jitter_noise=[0.01, 0.9, 0.0], input_jitter_noise=[0.5], lm_head_bias=_flag,
    moe_topk=[1, 3, [2, 2, 2, 2], [1, 2, 2, 2], [3] * LAYERS, [2]], sep_token_id=[5],
) | mutation_dense.VALUES | mutation_gemma4.VALUES | mutation_jamba.VALUES | mutation_nas.VALUES

# Fields that a config class takes without naming them, or that all models read.
UNNAMED = dict(
    is_causal=[False], per_layer_config=[{"1": {"intermediate_size": 20}}, {"0": {"sliding_window": 3}}],
    attention_chunk_size=[8], scoring_func=["softmax", "sigmoid"], moe_layer_freq=[2], use_qk_norm=_flag, scale_attn=[3],
    partial_rotary_factor=[0.25, 1.0, 2.0], rotary_pct=[0.25, 1.0], rotary_emb_base=[50.0],
    sliding_window_pattern=[1, 2, 3], full_attention_interval=[1, 2], rope_local_base_freq=[7.0],
    attention_head_dim=[8], hybrid_override_pattern=["M*-EM", "MMMMM"], head_dim=[12, 20], layer_types=_windowed[:4],
    no_rope_layers=[[0] * LAYERS], sliding_window=[3], attn_logit_softcapping=[0.7], final_logit_softcapping=[1.5],
    logits_scaling=[3.0], embedding_multiplier=[3.0], attention_bias=[True], mlp_bias=[True], qk_layernorm=[True],
    use_mup=[True], tie_word_embeddings=_flag, mamba_n_groups=[1], mamba_d_conv=[3], mamba_expand=[4],
    mamba_dt_min=[0.3], mamba_dt_max=[0.5], mamba_dt_limit=[[0.1, 0.3]], mamba_conv_bias=[False], mamba_chunk_size=[8],
    rotary_dim=[4, 16, 0], n_routed_experts=[4], mlp_layer_types=[["sparse"] * LAYERS], first_k_dense_replace=[2],
    hidden_act=["relu"], activation_function=["relu"], hidden_activation=["relu"], num_local_experts=[4],
    num_experts=[4], use_sliding_window=[True], use_bidirectional_attention=[True], add_bias_linear=[True],
    cross_attention_hidden_size=[8], n_head=[2], n_embd=[64], scale_embeddings=[True], rms_norm_eps=[0.3],
)

LAYER_TYPES_OF = {
    "qwen3_next": [["linear_attention"] * 3 + ["full_attention"], ["full_attention"] * 4, ["linear_attention"] * 4,
                   ["sliding_attention"] * 4],
}
LAYER_TYPES_OF["granitemoehybrid"] = [
    ["linear_attention", "full_attention"] * 2, ["mamba"] * 4, ["attention"] * 4, ["attention", "full_attention", "mamba",
                                                                                    "linear_attention"],
    ["sliding_attention", "mamba"] * 2, ["mamba"] * 3, ["moe"] * 4]
LAYER_TYPES_OF["lfm2"] = LAYER_TYPES_OF["lfm2_moe"] = [
    ["conv"] * 4, ["full_attention"] * 4, ["attention", "conv"] * 2, ["conv"] * 3, ["sliding_attention", "conv"] * 2,
    ["linear_attention", "conv"] * 2, ["nonsense"] * 4]
LAYER_TYPES_OF["llama4_text"] = [
    ["full_attention"] * 4, ["chunked_attention"] * 4, ["chunked_attention", "full_attention"] * 2, ["attention"] * 4,
    ["chunked_attention"] * 3, ["sliding_attention"] * 4]
LAYER_TYPES_OF["deepseek_v32"] = LAYER_TYPES_OF["glm_moe_dsa"] = [
    ["indexed_attention"] * 4, ["deepseek_sparse_attention"] * 4, ["full_attention"] * 4, ["indexed_attention"] * 3]
LAYER_TYPES_OF["qwen3_5_text"] = LAYER_TYPES_OF["qwen3_5_moe_text"] = LAYER_TYPES_OF["qwen3_next"]


def _scalings(rotated):
    """Sections by name, for `rotated` channels; each changes a sequence of 64 positions."""
    half = rotated // 2
    short, long = [1 + 0.3 * i for i in range(half)], [2 + 0.9 * i for i in range(half)]
    yarn = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32}
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 32}
    longrope = {"rope_type": "longrope", "short_factor": short, "long_factor": long}
    return {
        "default": {"rope_type": "default"},
        "linear": {"rope_type": "linear", "factor": 4.0},
        "linear 0.5": {"rope_type": "linear", "factor": 0.5},
        "linear by type": {"type": "linear", "factor": 4.0},
        "linear by both": {"type": "dynamic", "rope_type": "linear", "factor": 4.0},
        "dynamic": {"rope_type": "dynamic", "factor": 4.0},
        "yarn": yarn,
        "yarn by type": {k: v for k, v in yarn.items() if k != "rope_type"} | {"type": "yarn"},
        "yarn without factor": yarn | {"factor": None},
        "yarn absent factor": {k: v for k, v in yarn.items() if k != "factor"},
        "yarn without original": {k: v for k, v in yarn.items() if "original" not in k},
        "yarn betas": yarn | {"beta_fast": 4.0, "beta_slow": 0.5},
        "yarn beta zero": yarn | {"beta_fast": 0, "beta_slow": None},
        "yarn whole": yarn | {"truncate": False, "beta_fast": 5.0},
        "yarn truncate null": yarn | {"truncate": None, "beta_fast": 5.0},
        "yarn attention": yarn | {"attention_factor": 0.4},
        "yarn mscale": yarn | {"mscale": 0.5, "mscale_all_dim": 2.0},
        "yarn mscale alone": yarn | {"mscale": 0.5},
        "yarn mscale_all_dim": yarn | {"mscale_all_dim": 1.0},
        "llama3": llama3,
        "llama3 narrow": llama3 | {"low_freq_factor": 2.0, "high_freq_factor": 2.5},
        "llama3 without original": {k: v for k, v in llama3.items() if "original" not in k},
        "llama3 without factor": {k: v for k, v in llama3.items() if k != "factor"},
        "longrope beyond": longrope | {"original_max_position_embeddings": 32, "factor": 8.0},
        "longrope within": longrope | {"original_max_position_embeddings": 200},
        "longrope attention": longrope | {"original_max_position_embeddings": 32, "attention_factor": 0.5},
        "longrope without original": longrope,
        "longrope too few": longrope | {"short_factor": short[:-1], "original_max_position_embeddings": 32},
        "su": longrope | {"type": "su", "rope_type": None, "original_max_position_embeddings": 32},
        "su by type": {k: v for k, v in longrope.items() if k != "rope_type"} | {"type": "su"},
        "nonsense": {"rope_type": "nonsense", "factor": 4.0},
        "null type": {"rope_type": None, "factor": 4.0},
        "proportional": {"rope_type": "proportional", "partial_rotary_factor": 0.5},
        "mrope": {"rope_type": "default", "mrope_section": [1, 1, 2], "mrope_interleaved": True},
        "type mrope": {"type": "mrope", "mrope_section": [2, 2, 4]},
    }


def rope_mutations(model_type, base):
    """Every scaling in both spellings, and pairs of scaling × rotated part × base."""
    if model_type in ("mamba2", "nemotron_h", "gpt2", "jamba"):
        # Without positions: what a config says about them has no say.
        return [("rope_theta", {"rope_theta": 7.0}), ("rope_scaling", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}})]
    head = base.get("qk_rope_head_dim") or base.get("head_dim") or base["hidden_size"] // base["num_attention_heads"]
    part = base.get("partial_rotary_factor", base.get("rotary_pct", 1.0))
    theta_key = "rotary_emb_base" if model_type == "gpt_neox" else "rope_theta"
    scalings = _scalings(int(head * part))
    drop = {"rope_scaling": ABSENT, "rope_parameters": ABSENT}
    result = []
    for name, section in scalings.items():
        result.append((f"rope_scaling {name}", drop | {"rope_scaling": section}))
        parameters = section | {"rope_theta": 70.0}
        if model_type in ("gemma3_text", "gemma4_text", "olmo3"):
            result.append((f"rope_parameters {name}, full", drop | {
                "rope_parameters": {"full_attention": parameters, "sliding_attention": {"rope_type": "default"}}}))
            result.append((f"rope_parameters {name}, sliding", drop | {
                "rope_parameters": {"sliding_attention": parameters, "full_attention": {"rope_type": "default"}}}))
        else:
            result.append((f"rope_parameters {name}", drop | {"rope_parameters": parameters, theta_key: ABSENT}))
    linear, dynamic, yarn = scalings["linear"], scalings["dynamic"], scalings["yarn"]
    both = {"rope_scaling": linear, "rope_parameters": {"rope_type": "default", "rope_theta": 70.0}}
    result += [
        ("dynamic beyond", drop | {"rope_scaling": dynamic, "max_position_embeddings": 50}),
        ("dynamic at the length", drop | {"rope_scaling": dynamic, "max_position_embeddings": 64}),
        ("dynamic far beyond", drop | {"rope_scaling": dynamic | {"factor": 1.0}, "max_position_embeddings": 8}),
        ("dynamic, original", drop | {"rope_scaling": dynamic | {"original_max_position_embeddings": 16},
                                      "max_position_embeddings": 50}),
        ("dynamic, max absent", drop | {"rope_scaling": dynamic, "max_position_embeddings": ABSENT}),
        ("both spellings", both),
        ("both spellings, theta absent", both | {theta_key: ABSENT}),
        ("both spellings, scaling empty", both | {"rope_scaling": {}}),
        ("both spellings, scaling null", both | {"rope_scaling": None}),
        ("both spellings, parameters null", both | {"rope_parameters": None}),
        ("both spellings, parameters empty", both | {"rope_parameters": {}}),
        ("scaling empty alone", drop | {"rope_scaling": {}}),
        ("parameters empty alone", drop | {"rope_parameters": {}}),
        ("both scaled", both | {"rope_parameters": yarn | {"rope_theta": 70.0}}),
        ("by type beside parameters", both | {"rope_scaling": scalings["linear by type"]}),
        ("theta in scaling", drop | {"rope_scaling": linear | {"rope_theta": 31.0}}),
        ("theta null in scaling", drop | {"rope_scaling": linear | {"rope_theta": None}}),
        ("theta, parameters without", drop | {"rope_parameters": {"rope_type": "default"}}),
        ("theta in both places", drop | {"rope_parameters": {"rope_type": "default", "rope_theta": 31.0}}),
        ("theta absent", drop | {theta_key: ABSENT}),
        ("theta null", drop | {theta_key: None}),
        ("theta 1", drop | {theta_key: 1.0}),
        ("theta whole number", drop | {theta_key: 31}),
        ("theta text", drop | {theta_key: "31"}),
        ("rope_theta beside", drop | {"rope_theta": 31.0}),
        ("yarn, original outside", drop | {"rope_scaling": yarn, "original_max_position_embeddings": 16}),
        ("yarn, max 64", drop | {"rope_scaling": scalings["yarn without factor"], "max_position_embeddings": 64}),
        ("yarn, max absent", drop | {"rope_scaling": scalings["yarn without factor"], "max_position_embeddings": ABSENT}),
        ("llama3, original outside", drop | {"rope_scaling": scalings["llama3"], "original_max_position_embeddings": 16}),
        ("longrope, original outside", drop | {"rope_scaling": scalings["longrope within"],
                                               "original_max_position_embeddings": 16}),
        ("longrope, original outside beyond", drop | {"rope_scaling": scalings["longrope beyond"],
                                                      "original_max_position_embeddings": 200}),
        ("longrope, max 50", drop | {"rope_scaling": scalings["longrope attention"], "max_position_embeddings": 50}),
        ("flat parameters", drop | {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 31.0}}),
        ("sections", drop | {"rope_parameters": {"full_attention": linear | {"rope_theta": 31.0},
                                                 "sliding_attention": {"rope_type": "default", "rope_theta": 70.0}}}),
        ("sections and scaling", {"rope_parameters": {"full_attention": {"rope_theta": 31.0},
                                                      "sliding_attention": {"rope_theta": 70.0}},
                                  "rope_scaling": scalings["yarn by type"]}),
        ("one section", drop | {"rope_parameters": {"full_attention": yarn | {"rope_theta": 31.0}}}),
        ("section null", drop | {"rope_parameters": {"full_attention": None, "sliding_attention": {"rope_theta": 70.0}}}),
        ("sections, original outside", drop | {
            "original_max_position_embeddings": 16,
            "rope_parameters": {"full_attention": yarn | {"rope_theta": 31.0},
                                "sliding_attention": {"rope_type": "default", "rope_theta": 70.0}}}),
        ("scaling text", drop | {"rope_scaling": "linear"}),
        ("scaling list", drop | {"rope_scaling": [1, 2]}),
        ("factor text", drop | {"rope_scaling": linear | {"factor": "4"}}),
        ("factor zero", drop | {"rope_scaling": linear | {"factor": 0.0}}),
        ("factor absent", drop | {"rope_scaling": {"rope_type": "linear"}}),
    ]
    for name in ("default", "linear", "dynamic", "yarn", "llama3"):
        for part in (0.5, 0.25, 1.0):
            for theta in (31.0, 7000.0):
                pair = f"{name} × partial {part} × theta {theta:g}"
                section = scalings[name] | {"rope_theta": theta}
                more = {"max_position_embeddings": 50} if name == "dynamic" else {}
                result.append((pair + ", outside", drop | more | {"rope_scaling": section, "partial_rotary_factor": part}))
                result.append((pair + ", inside", drop | more | {
                    "rope_scaling": section | {"partial_rotary_factor": part}, "partial_rotary_factor": ABSENT}))
    return result


def mutations(model_type):
    """(label, changes) of one model type, the unchanged base first; labels are unique."""
    base = BASES[model_type]
    known = [field.name for field in dataclasses.fields(transformers.CONFIG_MAPPING[model_type])]
    result = [("base", {})]

    def add(key, value):
        if base.get(key, ABSENT) != value:
            result.append((f"{key} = {value if isinstance(value, str) else str(value)}", {key: value}))

    for key in known:
        if key in IDLE or key in ("rope_parameters", "model_type") or key.startswith("_"):
            continue
        if key not in VALUES:
            raise KeyError(f"{model_type}: no values for the config field {key!r}; add some to mutation_cases.py")
        values = LAYER_TYPES_OF.get(model_type, VALUES[key]) if key == "layer_types" else VALUES[key]
        for value in values:
            add(key, value)
        add(key, ABSENT)
        add(key, None)
        add(key, "text")
        add(key, {})
    for key, values in UNNAMED.items():
        if key not in known:
            for value in values:
                add(key, value)
    result += rope_mutations(model_type, base)
    result += PAIRS.get(model_type, [])
    seen, unique = set(), []
    for label, changes in result:
        if label not in seen:
            seen.add(label)
            unique.append((label, changes))
    return unique


def _crossed(first, second):
    return [(f"{a} = {x}, {b} = {y}", {a: x, b: y}) for a, xs in first.items() for x in xs
            for b, ys in second.items() for y in ys]


_windows = _crossed({"use_sliding_window": [True, False, ABSENT]}, {"layer_types": _windowed[:4]}) + _crossed(
    {"sliding_window": [None, ABSENT, 5]}, {"layer_types": _windowed[:4]}) + _crossed(
    {"sliding_window": [None, ABSENT, 0]}, {"use_sliding_window": [True, False, ABSENT]}) + _crossed(
    {"max_window_layers": [0, ABSENT]}, {"layer_types": [ABSENT, _alternating]})
_sparse = _crossed({"decoder_sparse_step": [1, 2, 3, 5]}, {"mlp_only_layers": [[], [1], [0, 2], None, ABSENT]})
_groups = _crossed({"n_group": [1, 2, 4, 8]}, {"topk_group": [1, 2, 4]}) + _crossed(
    {"n_group": [None, ABSENT]}, {"topk_group": [None, ABSENT, 1]})

PAIRS = {
    "mistral": _crossed({"sliding_window": [None, ABSENT, 5]}, {"layer_types": _windowed[:4] + [None]}),
    "ministral": _crossed({"sliding_window": [None, ABSENT, 5]}, {"layer_types": _windowed[:4] + [None, ABSENT]}),
    "qwen2": _windows, "qwen3": _windows, "qwen2_moe": _windows + _sparse, "qwen3_moe": _sparse + _crossed(
        {"use_sliding_window": [True, False]}, {"sliding_window": [5, None, ABSENT, 0]}),
    "smollm3": _windows + _crossed({"no_rope_layers": [ABSENT, None]}, {"no_rope_layer_interval": [1, 2, 3, ABSENT]}),
    "gemma2": _crossed({"sliding_window": [None, ABSENT, 5]}, {"layer_types": _windowed[:4] + [None, ABSENT]}),
    "gemma3_text": _crossed({"sliding_window": [None, ABSENT, 5]}, {"layer_types": _windowed[:4] + [None, ABSENT]})
    + _crossed({"layer_types": [ABSENT]}, {"sliding_window_pattern": [1, 2, 3, 6]}),
    "gpt_oss": _crossed({"sliding_window": [None, ABSENT, 5]}, {"layer_types": _windowed[:4] + [None, ABSENT]}),
    "qwen3_next": _sparse + _crossed({"layer_types": [ABSENT]}, {"full_attention_interval": [1, 2, 3, 4]}),
    "qwen3_5_moe_text": _crossed({"layer_types": [ABSENT]}, {"full_attention_interval": [1, 2, 3, 4]}) + _crossed(
        {"norm_topk_prob": _flag}, {"mlp_only_layers": [[], [1]], "decoder_sparse_step": [1, 2]}),
    "glm4_moe": _groups + _crossed({"use_qk_norm": _flag}, {"partial_rotary_factor": [0.25, 1.0, ABSENT, None]}),
    "glm4_moe_lite": _groups + _crossed({"mlp_layer_types": [ABSENT, None, ["dense", "sparse"] * 2]},
                                        {"first_k_dense_replace": [0, 1, 3, ABSENT]}),
    "minimax_m2": _crossed({"rotary_dim": [4, 8, ABSENT, None]}, {"partial_rotary_factor": [0.25, 1.0, ABSENT]})
    + _crossed({"rotary_dim": [4]}, {"rope_parameters": [{"rope_type": "default", "rope_theta": 70.0}, {
        "rope_type": "default", "rope_theta": 70.0, "partial_rotary_factor": 0.25}]}),
    "dots1": _groups + _crossed({"sliding_window": [None, ABSENT, 5]}, {"layer_types": _windowed[:4] + [None, ABSENT]})
    + _crossed({"sliding_window": [None, ABSENT, 5]}, {"max_window_layers": [0, 3, ABSENT, 40]}),
    "ernie4_5_moe": _crossed({"moe_layer_start_index": [0, 2, ABSENT]}, {"moe_layer_end_index": [1, 2, ABSENT, -1]}),
    "hunyuan_v1_moe": mutation_dense.pairs(_crossed, _windowed)["hunyuan_v1_dense"],
    "granitemoehybrid": _crossed({"num_local_experts": [0, 6, None]}, {"num_experts_per_tok": [0, 1, None]}) + _crossed(
        {"mamba_d_head": ["auto", ABSENT, 12, 24]}, {"mamba_expand": [2, 4, ABSENT], "mamba_n_heads": [4, 8]}) + [
            (f"layers_block_type {a}, layer_types {b}", {"layers_block_type": a, "layer_types": b})
            for a in (["mamba"] * 4, ["attention", "mamba"] * 2, ["nonsense"] * 4)
            for b in (ABSENT, None, ["mamba", "attention"] * 2, ["attention", "mamba"] * 2)],
    "bamba": _crossed({"mamba_d_head": ["auto", ABSENT, 12, 24]}, {"mamba_expand": [2, 4, ABSENT], "mamba_n_heads": [4, 8]})
    + [(f"{name} of bamba", {name: ["full_attention"] * 4}) for name in ("layer_types", "layers_block_type")],
    "falcon_h1": _crossed({"mamba_d_ssm": [None, ABSENT, 64, 96]}, {"mamba_d_head": ["auto", ABSENT, 12, 24]}) + _crossed(
        {"mamba_rms_norm": _flag}, {"mamba_norm_before_gate": [True, False, None, ABSENT]}) + [
            (f"{name} of falcon_h1", {name: ["full_attention"] * 4}) for name in ("layer_types", "layers_block_type")],
    "lfm2": _crossed({"layer_types": [ABSENT, None]}, {"full_attn_idxs": [[], [1], [0, 3], None, ABSENT, "1", [True]]}) + _crossed(
        {"tie_embedding": [True, False, None]}, {"tie_word_embeddings": [True, False, None, ABSENT]}) + _crossed(
        {"block_ff_dim": [36, None, "36"]}, {"block_auto_adjust_ff_dim": _flag}) + [("block_dim", {"block_dim": 7, "num_heads": 3})],
    "lfm2_moe": _crossed({"tie_embedding": [True, False, None]}, {"tie_word_embeddings": [True, False, None, ABSENT]}) + _crossed(
        {"norm_topk_prob": _flag}, {"use_expert_bias": _flag}) + [("idxs", {"layer_types": ABSENT, "full_attn_idxs": [1]})],
    "deepseek_v32": _groups + _crossed({"mlp_layer_types": [ABSENT, None, ["dense", "sparse"] * 2]},
                                       {"first_k_dense_replace": [0, 1, 3, ABSENT]}) + _crossed(
        {"num_experts": [4, 8]}, {"n_routed_experts": [8, ABSENT]}),
    "glm_moe_dsa": _groups + _crossed({"index_topk_freq": [0, 1, 2]}, {"index_skip_topk_offset": [ABSENT, 1]}) + [
        (f"pattern {p}", {"index_topk_pattern": p}) for p in ("FFFF", "FSFS", ["full"] * 4, None)],
    "llama4_text": _crossed({"no_rope_layers": [ABSENT, None, []]}, {"no_rope_layer_interval": [1, 2, 3, ABSENT]}) + _crossed(
        {"attention_chunk_size": [None, ABSENT, 5]}, {"layer_types": [
            ABSENT, ["full_attention"] * 4, ["chunked_attention"] * 4]}) + _crossed(
        {"moe_layers": [ABSENT, None, [1]]}, {"interleave_moe_layer_step": [1, 3, ABSENT]}) + _crossed(
        {"use_qk_norm": _flag}, {"attn_temperature_tuning": _flag}),
    "phimoe": [(f"{label} {key}", {"rope_scaling": MAGNITUDES | {"type": kind, key: value}})
               for kind in ("longrope", "yarn", "linear") for key, label, value in (
                   ("short_mscale", "more", 2.5), ("long_mscale", "more", 2.5), ("long_mscale", "null", None),
                   ("original_max_position_embeddings", "short", 20), ("original_max_position_embeddings", "long", 200),
                   ("factor", "some", 4.0), ("attention_factor", "some", 0.3), ("short_mscale", "text", "1"))]
    + [("longrope without magnitudes", {"rope_scaling": {k: v for k, v in MAGNITUDES.items() if "mscale" not in k}}),
       ("magnitudes, default", {"rope_scaling": MAGNITUDES | {"type": "default"}}),
       ("magnitudes, original outside", {"original_max_position_embeddings": 20}),
       ("magnitudes, original outside alone", {"original_max_position_embeddings": 20, "rope_scaling": {
           k: v for k, v in MAGNITUDES.items() if "original" not in k}}),
       ("magnitudes, original nowhere", {"max_position_embeddings": 40, "rope_scaling": {
           k: v for k, v in MAGNITUDES.items() if "original" not in k}}),
       ("magnitudes inside partial", {"rope_scaling": MAGNITUDES | {"partial_rotary_factor": 0.5}}),
       ("magnitudes in parameters", {"rope_scaling": ABSENT, "rope_theta": ABSENT, "rope_parameters": MAGNITUDES | {
           "rope_type": "longrope", "rope_theta": 70.0}})],
    "qwen3_5_text": _crossed({"layer_types": [ABSENT]}, {"full_attention_interval": [1, 2, 3, 4]}),
    "deepseek_v2": _groups + _crossed({"topk_method": ["greedy", "group_limited_greedy", None]},
                                      {"norm_topk_prob": _flag, "n_group": [1, 2], "routed_scaling_factor": [1.0, 3.0]}),
    "deepseek_v3": _groups + _crossed({"norm_topk_prob": _flag}, {"routed_scaling_factor": [1.0, 3.0]}),
    "nemotron_h": _groups + _crossed({"norm_topk_prob": _flag}, {"routed_scaling_factor": [1.0, 3.0]}) + _crossed(
        {"layers_block_type": [ABSENT]}, {"hybrid_override_pattern": ["M*-EM", "M*", "EEM*M"]}),
    "granite": _crossed({"residual_multiplier": [0.2, 2]}, {"attention_multiplier": [0.05, 2]}),
    "gpt_neox": _crossed({"use_parallel_residual": _flag}, {"attention_bias": _flag, "rotary_pct": [0.25, 1.0]}),
    "mamba2": _crossed({"use_bias": _flag}, {"use_conv_bias": _flag, "n_groups": [1, 2, 4]}),
} | mutation_dense.pairs(_crossed, _windowed) | mutation_gemma4.pairs(_crossed, _windowed) | (
    mutation_jamba.pairs(_crossed) | mutation_nas.pairs(_crossed))
