"""Published models, for published_configs.py.

Each line is one of them: its sizes as its config has them (hidden_size, intermediate_size, layers, heads, key-value heads,
vocabulary), other fields by name, and for what is not here the default of `transformers`' config class.
"""

STANDARD = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size"]
MODELS = []


def model(kind, name, sizes="", **fields):
    MODELS.append((kind, name, dict(zip(STANDARD, map(int, sizes.split()))) | fields))


tied = dict(tie_word_embeddings=True)
untied = dict(tie_word_embeddings=False)

model("llama", "Llama-3.1-8B", "4096 14336 32 32 8 128256")
model("llama", "Llama-3.1-70B", "8192 28672 80 64 8 128256")
model("llama", "Llama-3.1-405B", "16384 53248 126 128 8 128256")
model("llama", "Llama-3.2-1B", "2048 8192 16 32 8 128256", head_dim=64, **tied)
model("llama", "Llama-3.2-3B", "3072 8192 28 24 8 128256", head_dim=128, **tied)
model("llama", "Llama-2-13b", "5120 13824 40 40 40 32000")
model("llama", "TinyLlama-1.1B", "2048 5632 22 32 4 32000")
model("llama", "SmolLM2-135M", "576 1536 30 9 3 49152", **tied)
model("llama", "SmolLM2-1.7B", "2048 8192 24 32 32 49152", **tied)
model("llama", "Yi-1.5-34B", "7168 20480 60 56 8 64000")
model("llama", "Granite-34b-like Llama with biases", "6144 24576 8 48 1 49152", attention_bias=True, mlp_bias=True)
model("mistral", "Mistral-7B-v0.3", "4096 14336 32 32 8 32768", sliding_window=None)
model("mistral", "Mistral-Nemo-Base-2407", "5120 14336 40 32 8 131072", head_dim=128, sliding_window=None)
model("mistral", "Mistral-Large-2407", "12288 28672 88 96 8 32768", sliding_window=None)
model("mistral", "Mistral-Small-24B-Base-2501", "5120 32768 40 32 8 131072", head_dim=128, sliding_window=None)
model("ministral", "Ministral-8B-Instruct-2410", "4096 12288 36 32 8 131072", head_dim=128, sliding_window=32768)
model("ministral3", "language model of Ministral-3-8B", "4096 14336 34 32 8 131072", head_dim=128)
model("ministral3", "language model of Ministral-3-3B", "3072 9216 26 32 8 131072", head_dim=128, **tied)
model("mixtral", "Mixtral-8x7B", "4096 14336 32 32 8 32000", num_local_experts=8)
model("mixtral", "Mixtral-8x22B", "6144 16384 56 48 8 32768", num_local_experts=8)
model("qwen2", "Qwen2.5-0.5B", "896 4864 24 14 2 151936", **tied)
model("qwen2", "Qwen2.5-7B", "3584 18944 28 28 4 152064")
model("qwen2", "Qwen2.5-72B", "8192 29568 80 64 8 152064")
model("qwen2", "QwQ-32B", "5120 27648 64 40 8 152064")
model("qwen2_moe", "Qwen1.5-MoE-A2.7B", "2048 5632 24 16 16 151936", moe_intermediate_size=1408,
      shared_expert_intermediate_size=5632, num_experts=60, num_experts_per_tok=4)
model("qwen2_moe", "Qwen2-57B-A14B", "3584 18944 28 28 4 151936", moe_intermediate_size=2560,
      shared_expert_intermediate_size=20480, num_experts=64, num_experts_per_tok=8)
model("qwen3", "Qwen3-0.6B", "1024 3072 28 16 8 151936", head_dim=128, **tied)
model("qwen3", "Qwen3-1.7B", "2048 6144 28 16 8 151936", head_dim=128, **tied)
model("qwen3", "Qwen3-4B", "2560 9728 36 32 8 151936", head_dim=128, **tied)
model("qwen3", "Qwen3-8B", "4096 12288 36 32 8 151936", head_dim=128)
model("qwen3", "Qwen3-14B", "5120 17408 40 40 8 151936", head_dim=128)
model("qwen3", "Qwen3-32B", "5120 25600 64 64 8 151936", head_dim=128)
model("qwen3_moe", "Qwen3-30B-A3B", "2048 6144 48 32 4 151936", head_dim=128, moe_intermediate_size=768, num_experts=128,
      num_experts_per_tok=8)
model("qwen3_moe", "Qwen3-235B-A22B", "4096 12288 94 64 4 151936", head_dim=128, moe_intermediate_size=1536, num_experts=128,
      num_experts_per_tok=8)
model("qwen3_moe", "Qwen3-Coder-480B-A35B", "6144 8192 62 96 8 151936", head_dim=128, moe_intermediate_size=2560,
      num_experts=160, num_experts_per_tok=8)
model("qwen3_next", "Qwen3-Next-80B-A3B", "2048 5120 48 16 2 151936", head_dim=256, moe_intermediate_size=512,
      shared_expert_intermediate_size=512, num_experts=512, num_experts_per_tok=10)
model("qwen3_5_text", "language model of Qwen3.5-0.8B", "1024 3584 24 8 2 248320", head_dim=256, linear_num_value_heads=16,
      linear_num_key_heads=16, **tied)
model("qwen3_5_text", "language model of Qwen3.5-27B", "5120 17408 64 24 4 248320", head_dim=256, linear_num_value_heads=48,
      linear_num_key_heads=16, **untied)
model("qwen3_5_moe_text", "language model of Qwen3.5-35B-A3B", "2048 0 40 16 2 248320", head_dim=256, moe_intermediate_size=512,
      shared_expert_intermediate_size=512, num_experts=256, num_experts_per_tok=8)
model("qwen3_5_moe_text", "language model of Qwen3.5-397B-A17B", "4096 0 60 32 2 248320", head_dim=256,
      moe_intermediate_size=1024, shared_expert_intermediate_size=1024, num_experts=512, num_experts_per_tok=10)
model("gpt_oss", "gpt-oss-20b", "2880 2880 24 64 8 201088", head_dim=64, num_local_experts=32)
model("gpt_oss", "gpt-oss-120b", "2880 2880 36 64 8 201088", head_dim=64, num_local_experts=128)
model("olmoe", "OLMoE-1B-7B", "2048 1024 16 16 16 50304", num_experts=64)
model("olmo2", "OLMo-2-0425-1B", "2048 8192 16 16 16 100352")
model("olmo2", "OLMo-2-1124-13B", "5120 13824 40 40 40 100352")
model("olmo3", "Olmo-3-7B", "4096 11008 32 32 32 100278")
model("olmo3", "Olmo-3-32B", "5120 27648 64 40 8 100278")
model("smollm3", "SmolLM3-3B", "2048 11008 36 16 4 128256", **tied)
model("granite", "granite-3.3-2b", "2048 8192 40 32 8 49159", **tied)
model("granite", "granite-3.3-8b", "4096 12800 40 32 8 49159", **tied)
model("gemma", "gemma-2b", "2048 16384 18 8 1 256000", head_dim=256)
model("gemma", "gemma-7b", "3072 24576 28 16 16 256000", head_dim=256)
model("gemma2", "gemma-2-2b", "2304 9216 26 8 4 256000", head_dim=256)
model("gemma2", "gemma-2-27b", "4608 36864 46 32 16 256000", head_dim=128, query_pre_attn_scalar=144)
model("gemma3_text", "gemma-3-270m", "640 2048 18 4 1 262144", head_dim=256)
model("gemma3_text", "gemma-3-1b", "1152 6912 26 4 1 262144", head_dim=256)
for_gemma4 = dict(final_logit_softcapping=30.0, sliding_window=1024, attention_k_eq_v=True, hidden_size_per_layer_input=0,
                  vocab_size_per_layer_input=262144, global_head_dim=512, head_dim=256)
model("gemma4_text", "language model of gemma-4-31B", "5376 21504 60 32 16 262144", num_global_key_value_heads=4, **for_gemma4)
model("gemma4_text", "language model of gemma-4-26B-A4B", "2816 2112 30 16 8 262144", num_global_key_value_heads=2,
      enable_moe_block=True, num_experts=128, top_k_experts=8, moe_intermediate_size=704, **for_gemma4)
model("gemma4_text", "language model of gemma-4-E4B", "2560 10240 42 8 2 262144", num_kv_shared_layers=18)
model("gemma4_text", "language model of gemma-4-E2B", "1536 6144 35 8 1 262144", num_kv_shared_layers=20, use_double_wide_mlp=True,
      layer_types=(["sliding_attention"] * 4 + ["full_attention"]) * 7)
model("phi", "phi-1_5", "2048 8192 24 32 32 51200")
model("phi", "phi-2", "2560 10240 32 32 32 51200")
model("phi3", "Phi-3.5-mini", "3072 8192 32 32 32 32064")
model("phi3", "phi-4", "5120 17920 40 40 10 100352", pad_token_id=None)
model("phi3", "Phi-4-mini", "3072 8192 32 24 8 200064", partial_rotary_factor=0.75, pad_token_id=None, **tied)
model("nemotron", "Minitron-4B-Base", "3072 9216 32 24 8 256000", head_dim=128)
model("nemotron", "Minitron-8B-Base", "4096 16384 32 48 8 256000", head_dim=128)
model("gpt_neox", "pythia-1.4b", "2048 8192 24 16 16 50304")
model("gpt_neox", "gpt-neox-20b", "6144 24576 44 64 64 50432")
model("starcoder2", "starcoder2-3b", "3072 12288 30 24 2 49152", **tied)
model("starcoder2", "starcoder2-15b", "6144 24576 40 48 4 49152", **untied)
model("glm", "glm-4-9b-hf", "4096 13696 40 32 2 151552", head_dim=128, attention_bias=True)
model("glm", "glm-edge-1.5b", "2048 6144 28 16 4 59264", head_dim=128)
model("glm4", "GLM-4-9B-0414", "4096 13696 40 32 2 151552", head_dim=128, attention_bias=True)
model("glm4", "GLM-4-32B-0414", "6144 23040 61 48 2 151552", head_dim=128)
model("glm4_moe", "GLM-4.5-Air", "4096 10944 46 96 8 151552", head_dim=128, moe_intermediate_size=1408, n_routed_experts=128,
      attention_bias=True, num_experts_per_tok=8)
model("glm4_moe", "GLM-4.5", "5120 12288 92 96 8 151552", head_dim=128, moe_intermediate_size=1536, n_routed_experts=160,
      attention_bias=True, use_qk_norm=True, first_k_dense_replace=3, num_experts_per_tok=8)
model("glm4_moe_lite", "GLM-4.7-Flash", "2048 10240 47 20 20 154880", moe_intermediate_size=1536, n_routed_experts=64,
      num_experts_per_tok=4, q_lora_rank=768, kv_lora_rank=512, qk_nope_head_dim=192, qk_rope_head_dim=64, v_head_dim=256)
model("deepseek_v2", "DeepSeek-V2-Lite", "2048 10944 27 16 16 102400", moe_intermediate_size=1408, n_routed_experts=64,
      n_shared_experts=2, num_experts_per_tok=6, q_lora_rank=None, first_k_dense_replace=1)
model("deepseek_v2", "DeepSeek-V2", "5120 12288 60 128 128 102400", moe_intermediate_size=1536, n_routed_experts=160,
      n_shared_experts=2, num_experts_per_tok=6, q_lora_rank=1536, n_group=8, topk_group=3, topk_method="group_limited_greedy",
      first_k_dense_replace=1)
model("deepseek_v3", "DeepSeek-V3", "7168 18432 61 128 128 129280")
model("deepseek_v3", "Moonlight-16B-A3B", "2048 11264 27 16 16 163840", moe_intermediate_size=1408, n_routed_experts=64,
      n_shared_experts=2, num_experts_per_tok=6, q_lora_rank=None, n_group=1, topk_group=1, first_k_dense_replace=1)
model("kimi_k2", "Kimi-K2-Instruct", "7168 18432 61 64 64 163840", moe_intermediate_size=2048, n_routed_experts=384, n_group=1,
      topk_group=1, first_k_dense_replace=1)
model("minimax_m2", "MiniMax-M2", "3072 1536 62 48 8 200064", head_dim=128, num_local_experts=256, num_experts_per_tok=8)
model("dots1", "dots.llm1", "4096 10944 62 32 32 152064", moe_intermediate_size=1408, n_routed_experts=128, n_shared_experts=2,
      num_experts_per_tok=6, first_k_dense_replace=1)
model("ernie4_5", "ERNIE-4.5-0.3B", "1024 3072 18 16 2 103424", head_dim=128, **tied)
model("ernie4_5_moe", "ERNIE-4.5-21B-A3B", "2560 12288 28 20 4 103424", moe_intermediate_size=1536, moe_num_experts=64,
      moe_num_shared_experts=2, moe_k=6, **tied)
model("ernie4_5_moe", "ERNIE-4.5-300B-A47B", "8192 28672 54 64 8 103424", moe_intermediate_size=3584, moe_num_experts=64,
      moe_num_shared_experts=0, moe_k=8, moe_layer_start_index=3, **untied)
model("hunyuan_v1_dense", "Hunyuan-0.5B", "1024 3584 24 8 4 120818", head_dim=128, **tied)
model("hunyuan_v1_dense", "Hunyuan-7B", "4096 14336 32 32 8 128167", head_dim=128, **tied)
model("hunyuan_v1_moe", "Hunyuan-A13B", "4096 3072 32 32 8 128167", head_dim=128, num_experts=64, moe_topk=8, **tied)
model("seed_oss", "Seed-OSS-36B", "5120 27648 64 80 8 155136", head_dim=128, attention_bias=True)
model("arcee", "AFM-4.5B", "2560 18432 36 20 4 128004", head_dim=128)
model("cwm", "cwm", "6144 21504 64 48 8 128256", head_dim=128)
model("exaone4", "EXAONE-4.0-1.2B", "2048 4096 30 32 8 102400", head_dim=64, sliding_window=None,
      layer_types=["full_attention"] * 30, **tied)
model("exaone4", "EXAONE-4.0-32B", "5120 27392 64 40 8 102400", head_dim=128)
model("apertus", "Apertus-8B", "4096 21504 32 32 8 131072")
model("apertus", "Apertus-70B", "8192 43008 80 64 8 131072")
model("cohere2", "c4ai-command-r7b", "4096 14336 32 32 8 256000", head_dim=128)
model("cohere2", "c4ai-command-a", "12288 36864 64 96 8 256000", head_dim=128)
model("helium", "helium-1-2b", "2048 8192 24 16 8 64000", head_dim=128)
model("helium", "helium-1-preview-2b", "2560 7040 24 20 20 48000", head_dim=128)
model("nanochat", "nanochat-d32", "2048 8192 32 16 16 65536")
model("nanochat", "nanochat-d20", "1280 5120 20 10 10 65536")
model("stablelm", "stablelm-2-1_6b", "2048 5632 24 32 32 100352", use_qkv_bias=True)
model("stablelm", "stablelm-3b-4e1t", "2560 6912 32 32 32 50304")
model("stablelm", "stablelm-2-12b", "5120 13824 40 32 8 100352", use_parallel_residual=True, qk_layernorm=True)
model("gpt2", "gpt2", n_embd=768, n_layer=12, n_head=12, vocab_size=50257)
model("gpt2", "gpt2-xl", n_embd=1600, n_layer=48, n_head=25, vocab_size=50257)
model("mamba2", "Mamba-Codestral-7B", hidden_size=4096, num_heads=128, head_dim=64, state_size=128, n_groups=8,
      num_hidden_layers=64, vocab_size=32768)
model("mamba2", "mamba2-130m", hidden_size=768, num_heads=24, head_dim=64, state_size=128, n_groups=1, num_hidden_layers=24,
      vocab_size=50288, **tied)


def blocks(group, text):
    """Entries of layers: `3*a5.25` for three with attention in groups and that factor of width, `-` for what is not there."""
    found = []
    for word in text.split():
        count, _, kind = word.rpartition("*")
        factor = None if kind[1:] == "-" else float(kind[1:])
        found += int(count or 1) * [{
            "attention": {"n_heads_in_group": group if kind[0] == "a" else None, "no_op": kind[0] == "-", "replace_with_linear": False},
            "ffn": {"ffn_mult": factor, "no_op": factor is None, "replace_with_linear": False}}]
    return found


searched = dict(rms_norm_eps=1e-5, vocab_size=128256, intermediate_size=None, num_key_value_heads=None, **untied)
model("nemotron-nas", "Llama-3_3-Nemotron-Super-49B-v1", hidden_size=8192, num_hidden_layers=80, num_attention_heads=64, **searched,
      block_configs=blocks(8, """a2.625 5*a5.25 2*-2.625 3*a5.25 -3.28125 30*a5.25 -1.3125 2*-2.625 -1.3125 -5.25 -1.3125 -2.625
      3*-1.3125 a5.25 -1.3125 2*-1 -1.3125 3*-1 2*-1.3125 2*-0.5 2*-1 2*-0.5 -1 2*-0.5 9*a5.25"""))
model("nemotron-nas", "Llama-3_1-Nemotron-Ultra-253B-v1", hidden_size=16384, num_hidden_layers=162, num_attention_heads=128, **searched,
      block_configs=blocks(16, """a0.4875 a0.975 6*a1.4625 a1.95 4*-- 3*a1.95 2*a4.875 6*-- 3*a4.875 5*-- 3*a4.875 a2.4375 3*-- 3*a1.95
      -1.95 a4.875 -4.875 5*-- 4*a4.875 5*-- 4*a4.875 5*-- 4*a4.875 5*-- 4*a4.875 5*-- a4.875 3*a3.4125 2*-- a2.925 3*a2.4375 2*-2.4375
      a2.4375 -- 7*-2.4375 a2.4375 5*-- a2.925 a4.875 -4.875 a4.875 8*-- -36.5625 8*-- -39 8*-- -31.40625 5*-- -27.5625 -1.95 a1.95
      a2.4375 -- 2*a2.4375 a3.4125 4*a4.875 a2.4375"""))
model("nemotron_h", "Nemotron-H-8B", "4096 21504 52 32 8 131072", head_dim=128, ssm_state_size=128, n_groups=8,
      mamba_num_heads=128, mamba_head_dim=64, hybrid_override_pattern="M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-")
model("nemotron_h", "Nemotron-Nano-9B-v2", "4480 15680 56 40 8 131072", head_dim=128, ssm_state_size=128, n_groups=8,
      mamba_num_heads=128, mamba_head_dim=80,
      hybrid_override_pattern="M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-")
model("nemotron_h", "Nemotron-3-Nano-30B-A3B", "2688 1856 52 32 2 131072", head_dim=128, ssm_state_size=128, n_groups=8,
      mamba_num_heads=64, mamba_head_dim=64, n_routed_experts=128, n_shared_experts=1, num_experts_per_tok=6,
      moe_intermediate_size=1856, moe_shared_expert_intermediate_size=3712,
      hybrid_override_pattern="MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME")

model("phimoe", "Phi-3.5-MoE", "4096 6400 32 32 8 32064", num_local_experts=16, attention_bias=True, lm_head_bias=True)
model("phimoe", "Phi-mini-MoE", "4096 960 32 16 4 32064", num_local_experts=16, attention_bias=True, lm_head_bias=True)
model("granitemoehybrid", "granite-4.0-h-tiny", "1536 512 40 12 4 100352", num_local_experts=64, num_experts_per_tok=6,
      shared_intermediate_size=1024, mamba_n_heads=48, mamba_d_head=64, mamba_d_state=128, mamba_n_groups=1, mamba_expand=2,
      layer_types=["attention" if i in (5, 15, 25, 35) else "mamba" for i in range(40)], **tied)
model("granitemoehybrid", "granite-4.0-micro", "2560 8192 40 40 8 100352", num_local_experts=0, shared_intermediate_size=8192,
      layer_types=["attention"] * 40, position_embedding_type="rope", mamba_n_heads=80, mamba_d_head=64, mamba_n_groups=1, **tied)
model("bamba", "Bamba-9B", "4096 14336 32 32 8 128256", mamba_n_heads=128, mamba_d_head=64, mamba_d_state=128, mamba_n_groups=1,
      attn_layer_indices=[9, 18, 27])
model("falcon_h1", "Falcon-H1-0.5B", "1024 2048 36 8 2 32784", head_dim=64, mamba_d_ssm=1536, mamba_n_heads=24, mamba_d_head=64,
      mamba_d_state=128, mamba_n_groups=1)
model("falcon_h1", "Falcon-H1-7B", "3072 12288 44 12 2 130048", head_dim=128, mamba_d_ssm=3072, mamba_n_heads=24,
      mamba_d_head=128, mamba_d_state=256, mamba_n_groups=1)
model("jamba", "Jamba-v0.1", "4096 14336 32 32 8 65536")
model("jamba", "AI21-Jamba-Large-1.5", "8192 24576 72 64 8 65536", mamba_dt_rank=256)
model("jamba", "AI21-Jamba-Reasoning-3B", "2560 8192 28 20 1 65536", num_experts=1, num_experts_per_tok=1, attn_layer_period=14,
      attn_layer_offset=7)
model("lfm2", "LFM2-350M", "1024 6656 16 16 8 65536", layer_types=[
    "full_attention" if i in (2, 5, 8, 10, 12, 14) else "conv" for i in range(16)])
model("lfm2", "LFM2-1.2B", "2048 12288 16 32 8 65536", layer_types=[
    "full_attention" if i in (2, 5, 8, 10, 12, 14) else "conv" for i in range(16)])
model("lfm2_moe", "LFM2-8B-A1B", "2048 7168 24 32 8 65536", moe_intermediate_size=1792, num_experts=32, num_experts_per_tok=4,
      num_dense_layers=2, layer_types=["full_attention" if i in (2, 6, 10, 14, 18, 21) else "conv" for i in range(24)])
model("llama4_text", "language model of Llama-4-Scout", "5120 8192 48 40 8 202048", num_local_experts=16, intermediate_size_mlp=16384,
      head_dim=128, interleave_moe_layer_step=1)
model("deepseek_v32", "DeepSeek-V3.2", "7168 18432 61 128 128 129280")
model("glm_moe_dsa", "GLM-5", "6144 12288 78 64 64 154880")


def tower(kind, name, sizes, **fields):
    """An image-text model: the sizes and fields are its language model's."""
    outer = {key: fields.pop(key) for key in ("tie_word_embeddings", "text_type") if key in fields}
    kind_of_text = outer.pop("text_type", None)
    text = dict(zip(STANDARD, map(int, sizes.split()))) | fields
    MODELS.append((kind, name, {"text_config": text | ({"model_type": kind_of_text} if kind_of_text else {})} | outer))


tower("qwen2_5_vl", "Qwen2.5-VL-3B", "2048 11008 36 16 2 151936", **tied)
tower("qwen2_5_vl", "Qwen2.5-VL-7B", "3584 18944 28 28 4 152064", **untied)
tower("qwen2_5_vl", "Qwen2.5-VL-72B", "8192 29568 80 64 8 152064", **untied)
tower("qwen3_vl", "Qwen3-VL-4B", "2560 9728 36 32 8 151936", head_dim=128, **tied)
tower("qwen3_vl", "Qwen3-VL-8B", "4096 12288 36 32 8 151936", head_dim=128, **untied)
tower("qwen3_vl_moe", "Qwen3-VL-30B-A3B", "2048 6144 48 32 4 151936", head_dim=128, moe_intermediate_size=768, num_experts=128,
      num_experts_per_tok=8, **untied)
tower("qwen3_vl_moe", "Qwen3-VL-235B-A22B", "4096 12288 94 64 4 151936", head_dim=128, moe_intermediate_size=1536,
      num_experts=128, num_experts_per_tok=8, **untied)
tower("qwen3_5", "Qwen3.5-9B", "4096 12288 32 16 4 248320", head_dim=256, linear_num_value_heads=32, linear_num_key_heads=16,
      **untied)
tower("qwen3_5", "Qwen3.5-27B", "5120 17408 64 24 4 248320", head_dim=256, linear_num_value_heads=48, linear_num_key_heads=16,
      **untied)
tower("qwen3_5_moe", "Qwen3.5-35B-A3B", "2048 0 40 16 2 248320", head_dim=256, moe_intermediate_size=512,
      shared_expert_intermediate_size=512, num_experts=256, num_experts_per_tok=8, **untied)
tower("qwen3_5_moe", "Qwen3.5-122B-A10B", "3072 0 48 32 2 248320", head_dim=256, moe_intermediate_size=1024,
      shared_expert_intermediate_size=1024, num_experts=256, num_experts_per_tok=8, **untied)
tower("llama4", "Llama-4-Scout", "5120 8192 48 40 8 202048", num_local_experts=16, intermediate_size_mlp=16384, head_dim=128,
      interleave_moe_layer_step=1, **untied)
tower("gemma3", "gemma-3-4b", "2560 10240 34 8 4 262208", head_dim=256)
tower("gemma3", "gemma-3-12b", "3840 15360 48 16 8 262208", head_dim=256)
tower("gemma3", "gemma-3-27b", "5376 21504 62 32 16 262208", head_dim=128, query_pre_attn_scalar=168)
tower("gemma4", "gemma-4-31B", "5376 21504 60 32 16 262144", num_global_key_value_heads=4, **for_gemma4)
tower("gemma4", "gemma-4-E2B", "1536 6144 35 8 1 262144", num_kv_shared_layers=20, use_double_wide_mlp=True,
      layer_types=(["sliding_attention"] * 4 + ["full_attention"]) * 7)
tower("mistral3", "Mistral-Small-3.1-24B", "5120 32768 40 32 8 131072", head_dim=128, text_type="mistral")
tower("mistral3", "Ministral-3-8B", "4096 14336 34 32 8 131072", head_dim=128, text_type="ministral3")
tower("kimi_k25", "Kimi-K2.5", "7168 18432 61 64 64 163840", text_type="deepseek_v3", moe_intermediate_size=2048, n_routed_experts=384,
      n_group=1, topk_group=1, num_experts_per_tok=8, n_shared_experts=1, first_k_dense_replace=1, num_nextn_predict_layers=0,
      routed_scaling_factor=2.827, **untied)
tower("llava", "llava-1.5-7b", "4096 11008 32 32 32 32064", text_type="llama")
tower("llava", "llava-1.5-13b", "5120 13824 40 40 40 32064", text_type="llama")
tower("llava", "llava-interleave-qwen-0.5b", "1024 2816 24 16 16 152000", text_type="qwen2")
