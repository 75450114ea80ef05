import JSON
import Models
import Testing

/// Configs of models with Mamba-2 layers: both spellings, and what is wrong with wrong ones.
@Suite struct HybridConfigTests {
  private static let base = """
    "model_type": "nemotron_h", "vocab_size": 8, "hidden_size": 8, "mamba_num_heads": 4, "mamba_head_dim": 4,
    "n_groups": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
    "intermediate_size": 8
    """

  private func describe(_ fields: String) throws -> ModelDescription {
    let config = try JSON(parsing: Array("{\(Self.base), \(fields)}".utf8))
    return try Families.describe(config: #require(config.object), file: "config.json")
  }

  @Test func bothSpellingsOfLayersMeanTheSame() throws {
    let pattern = try describe(#""hybrid_override_pattern": "M*-M""#)
    let today = #"["linear_attention", "full_attention", "mlp", "mamba"]"#
    for list in [today, #"["mamba", "attention", "mlp", "mamba"]"#] {
      let listed = try describe("\"layers_block_type\": \(list)")
      #expect(listed.tensors().map(\.name) == pattern.tensors().map(\.name))
      #expect(listed.tensors().map(\.shape) == pattern.tensors().map(\.shape))
    }
    // The list wins, and both follow the layers that stay.
    let both = try describe(#""hybrid_override_pattern": "MMM", "layers_block_type": ["mamba", "mlp", "attention"]"#)
    let pruned = try both.prunedConfig(for: Architecture(layers: [0, 2], sizes: both.sizes))
    #expect(pruned["layers_block_type"]?.serialized() == #"["mamba", "attention"]"#)
    #expect(pruned["hybrid_override_pattern"]?.string == "MM")
    #expect(pruned["num_hidden_layers"]?.int == 2)
  }

  @Test(arguments: [
    (#""hybrid_override_pattern": """#, "hybrid_override_pattern"),
    (#""hybrid_override_pattern": "MX""#, "M, *, - and E"),
    (#""hybrid_override_pattern": ["M"]"#, "hybrid_override_pattern"),
    (#""layers_block_type": ["mamba", 3]"#, "layers_block_type"),
    (#""layers_block_type": "M-""#, "layers_block_type"),
    (#""num_hidden_layers": 4"#, "hybrid_override_pattern"),
    (#""num_hidden_layers": 4, "hybrid_override_pattern": "MM""#, "2 layers"),
    (#""hybrid_override_pattern": "M", "ssm_state_size": 16777216"#, "ssm_state_size"),
    (#""hybrid_override_pattern": "M", "conv_kernel": 0"#, "conv_kernel"),
    (#""hybrid_override_pattern": "M", "mamba_hidden_act": "sinus""#, "mamba_hidden_act"),
    (#""hybrid_override_pattern": "M", "time_step_min": -1"#, "time_step_min"),
    (#""hybrid_override_pattern": "E", "n_routed_experts": 8, "n_group": 3"#, "n_group"),
    (#""hybrid_override_pattern": "E", "n_routed_experts": 8, "num_experts_per_tok": 9"#, "num_experts_per_tok"),
    (#""hybrid_override_pattern": "E", "n_routed_experts": 8, "n_group": 8"#, "n_group"),
    (#""hybrid_override_pattern": "E", "n_routed_experts": 8, "n_group": 2, "topk_group": 3"#, "topk_group"),
  ]) func wrongConfigsAreRefusedByName(_ fields: String, _ part: String) {
    let error = #expect(throws: ModelError.self) { try describe(fields) }
    #expect(error?.description.contains(part) == true, "\(error?.description ?? "")")
  }

  @Test func headsMustFillTheirGroups() {
    let config = JSON.Object([
      ("model_type", .text("mamba2")), ("hidden_size", .int(12)), ("num_heads", .int(6)), ("head_dim", .int(4)),
      ("n_groups", .int(4)),
    ])
    let error = #expect(throws: ModelError.self) { try Families.describe(config: config, file: "config.json") }
    #expect(error?.description.contains("n_groups") == true)
  }

  @Test(arguments: ["[0.0]", "[1.0, 0.5]", "[-1.0, 2.0]", "\"x\"", "[0.0, {}]", "[NaN, 1.0]", "[0.0, null]"])
  func wrongStepLimitsAreRefused(_ limit: String) throws {
    let text = """
      {"model_type": "mamba2", "hidden_size": 8, "num_heads": 4, "head_dim": 4, "n_groups": 2, "time_step_limit": \(limit)}
      """
    let config = try JSON(parsing: Array(text.utf8))
    let error = #expect(throws: ModelError.self) { try Families.describe(config: #require(config.object), file: "c") }
    #expect(error?.description.contains("time_step_limit") == true)
  }

  @Test func mamba2SaysWhichShapesItsLoaderRefuses() throws {
    let config = JSON.Object([
      ("model_type", .text("mamba2")), ("hidden_size", .int(12)), ("num_heads", .int(6)), ("head_dim", .int(4)),
      ("n_groups", .int(2)), ("vocab_size", .int(8)), ("num_hidden_layers", .int(2)),
    ])
    let model = try Families.describe(config: config, file: "config.json")
    var sizes = model.sizes
    func refusal() -> String? { model.refusal(of: Architecture(layers: [0, 1], sizes: sizes))?.reason }
    #expect(refusal() == nil)
    sizes[.hidden] = 8
    #expect(refusal() == nil)
    #expect(try model.prunedConfig(for: Architecture(layers: [0], sizes: sizes))["expand"]?.int == 3)
    sizes[.hidden] = 10
    #expect(refusal()?.contains("expand") == true)
  }

  @Test func multiTokenPredictionIsLeftOutAndTheConfigSaysSo() throws {
    let model = try describe(#""hybrid_override_pattern": "M-", "num_nextn_predict_layers": 2"#)
    #expect(model.prediction != nil)
    #expect(
      try model.prunedConfig(for: Architecture(layers: [0, 1], sizes: model.sizes))["num_nextn_predict_layers"]?.int
        == 0)
  }
}

/// GPT-NeoX has the heads' size from hidden_size; a field that says another would turn another part of each head.
@Suite struct NeoXConfigTests {
  @Test func aHeadSizeOfItsOwnIsRefused() throws {
    func describe(_ more: String) throws -> ModelDescription {
      let config = try JSON(
        parsing: Array(
          """
          {"model_type": "gpt_neox", "vocab_size": 8, "hidden_size": 64, "intermediate_size": 8, "num_attention_heads": 4,
           "num_hidden_layers": 1\(more)}
          """.utf8))
      return try Families.describe(config: #require(config.object), file: "config.json")
    }
    _ = try describe("")
    _ = try describe(#", "head_dim": 16"#)
    let error = #expect(throws: ModelError.self) { try describe(#", "head_dim": 20"#) }
    #expect(error?.description.contains(#""head_dim""#) == true && error?.description.contains("16") == true)
  }
}
