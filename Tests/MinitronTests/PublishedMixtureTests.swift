import Execution
import JSON
import Minitron
import Models
import TestSupport
import Testing

/// Published mixtures of experts by the numbers in their configs, and generation with their caches.
@Suite struct PublishedMixtureTests {
  /// `idle`: layers with experts × experts that a token does not use × what is in one.
  static let sizes: [(name: String, config: String, params: Int, idle: Int)] = [
    (
      "Mixtral 8x7B",
      """
      {"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
       "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
       "vocab_size": 32000, "rope_theta": 1000000.0}
      """, 46_702_792_704, 32 * 6 * 3 * 4096 * 14336
    ),
    (
      "Qwen3-30B-A3B",
      """
      {"model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768,
       "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
       "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": true, "vocab_size": 151936}
      """, 30_532_122_624, 48 * 120 * 3 * 2048 * 768
    ),
    (
      "Qwen1.5-MoE-A2.7B",
      """
      {"model_type": "qwen2_moe", "hidden_size": 2048, "intermediate_size": 5632, "moe_intermediate_size": 1408,
       "shared_expert_intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 16,
       "num_key_value_heads": 16, "num_experts": 60, "num_experts_per_tok": 4, "vocab_size": 151936}
      """, 14_315_784_192, 24 * 56 * 3 * 2048 * 1408
    ),
    (
      "OLMoE-1B-7B",
      """
      {"model_type": "olmoe", "hidden_size": 2048, "intermediate_size": 1024, "num_hidden_layers": 16,
       "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 64, "num_experts_per_tok": 8,
       "vocab_size": 50304}
      """, 6_919_161_856, 16 * 56 * 3 * 2048 * 1024
    ),
    (
      "gpt-oss-20b",
      """
      {"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 24,
       "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "num_local_experts": 32,
       "num_experts_per_tok": 4, "vocab_size": 201088, "rope_scaling": {"rope_type": "yarn", "factor": 32.0,
       "original_max_position_embeddings": 4096, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false}}
      """, 20_914_757_184, 24 * 28 * (3 * 2880 * 2880 + 3 * 2880)
    ),
    (
      "DeepSeek-V2-Lite",
      """
      {"model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
       "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16, "q_lora_rank": null,
       "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
       "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1,
       "vocab_size": 102400}
      """, 15_706_484_224, 26 * 58 * 3 * 2048 * 1408
    ),
    (
      "DeepSeek-V3",
      """
      {"model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
       "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
       "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
       "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4,
       "first_k_dense_replace": 3, "vocab_size": 129280, "num_nextn_predict_layers": 1}
      """, 671_026_419_200, 58 * 248 * 3 * 7168 * 2048
    ),
  ]

  @Test(arguments: sizes)
  func countsAreThePublishedOnes(_ name: String, _ config: String, _ params: Int, _ idle: Int) throws {
    let object = try #require(try JSON(parsing: config).object)
    let model = try Families.describe(config: object, file: name)
    let metrics = MetricsCounter(model, rows: 1, tokens: 1).metrics(of: Architecture(model))
    #expect(metrics.params == params, "\(name)")
    #expect(metrics.activeParams == params - idle, "\(name)")
  }

  @Test func hiddenSizeOfOLMoEStaysWhereItsHeadsDo() throws {
    let published = try #require(Self.sizes.first { $0.name == "OLMoE-1B-7B" })
    let object = try #require(try JSON(parsing: published.config).object)
    let model = try Families.describe(config: object, file: "config.json")
    #expect(!model.hyperparameters.contains(.hiddenSize))
    let result = try SearchSpace(model, SearchSettings())
      .search(model, SearchSettings(), Constraints(activeParams: 1.1e9), layerRanking: nil)
    #expect(result.refused == 0 && !result.candidates.isEmpty)
    let grouped = try SourceModel(directory: Golden.root + "/Tests/Goldens/moe/olmoe").description
    #expect(grouped.hyperparameters.contains(.hiddenSize))
  }

  /// Keys and values (or latents) kept between tokens give what a walk over the whole row gives.
  @Test(arguments: ["qwen2_moe", "mixtral", "gpt_oss", "deepseek_v2", "deepseek_v3", "deepseek_v3_plain"])
  func tokenByTokenEqualsTheWholeRow(_ name: String) throws {
    let golden = try Golden(Golden.root + "/Tests/Goldens/moe/\(name)")
    let model = try SourceModel(directory: golden.directory)
    let row = try golden.rows()[0]
    let generator = try Generator(model, dtype: .float32)
    var found = try generator.logits(appending: Array(row.prefix(5)), all: true).floats()
    for token in row.dropFirst(5) { found += try generator.logits(appending: [token]).floats() }
    let expected = Array(try golden.floats("logits.float32").prefix(found.count))
    #expect(relativeDifference(found, expected) <= 1e-4)
  }
}
