import JSON
import Models
import TestSupport
import Testing

@Suite struct FamiliesTests {
  @Test func everyTypeIsListedWithWhatItsTableOfWeightsCarries() throws {
    let types = Families.builtIn.flatMap { $0.modelTypes }
    // Other tests may register families of their own.
    let entries = Array(try Families.entries().prefix(types.count))
    #expect(entries.map(\.modelType) == types)
    for entry in entries { #expect(entry.hyperparameters.starts(with: [.numLayers]), "\(entry.modelType)") }
    let llama = try #require(entries.first { $0.modelType == "llama" })
    #expect(llama.hyperparameters == [.numLayers, .hiddenSize, .numAttentionHeads, .ffnHiddenSize])
  }

  /// The sample stands for real models: whatever a golden can prune, the list names.
  @Test(arguments: RandomArchitectureTests.models) func theListNamesWhatGoldensPrune(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory).description
    let entry = try #require(try Families.entries().first { $0.modelType == model.family })
    let prunable = model.hyperparameters.filter { model.value(of: $0) / max(model.groups(of: $0), 1) > 1 }
    #expect(Set(prunable).isSubset(of: entry.hyperparameters))
  }
}

/// Fields that change what is computed, and lists that follow the layers.
@Suite struct ConfigFieldTests {
  private func describe(_ type: String, _ changes: [(String, JSON)]) throws -> ModelDescription {
    let family = try #require(Families.all.first { $0.modelTypes.contains(type) })
    var config = family.sample(modelType: type)
    for (key, value) in changes { config[key] = value }
    return try Families.describe(config: config, file: "config.json")
  }

  private func refusal(_ type: String, _ changes: [(String, JSON)]) throws -> String {
    do {
      _ = try describe(type, changes)
      return "nothing"
    } catch let error as ModelError { return error.description }
  }

  @Test(arguments: Families.modelTypes) func fieldsOfEveryModelAreRefusedByName(_ type: String) throws {
    #expect(try refusal(type, [("is_causal", .bool(false))]).contains("\"is_causal\""))
    #expect(try refusal(type, [("is_causal", .bool(true))]) == "nothing")
    let layers = JSON.object([("1", .object([("intermediate_size", .int(8))]))])
    #expect(try refusal(type, [("per_layer_config", layers)]).contains("\"per_layer_config\""))
  }

  /// As `transformers` 5 saves a Qwen1.5-MoE.
  @Test func aWindowThatIsNotInUseMayBeAnything() throws {
    #expect(try refusal("qwen2_moe", [("sliding_window", .int(0)), ("use_sliding_window", .bool(false))]) == "nothing")
    #expect(
      try refusal("qwen2_moe", [("sliding_window", .int(0)), ("use_sliding_window", .bool(true))]).contains(
        "\"sliding_window\""))
  }

  @Test func sectionsForKindsOfLayersBelongToFamiliesThatHaveThem() throws {
    let section = JSON.object([("rope_type", .text("default")), ("rope_theta", .double(7))])
    let sections = JSON.object([("full_attention", section), ("sliding_attention", section)])
    #expect(try refusal("qwen3", [("rope_parameters", sections)]).contains("\"full_attention\""))
    #expect(try refusal("gemma3_text", [("rope_parameters", sections)]) == "nothing")
    #expect(try refusal("gemma3_text", [("rope_parameters", section)]).contains("\"sliding_attention\""))
  }

  @Test func mistralWithLayerTypesIsListedLayerByLayer() throws {
    let types = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    for type in ["mistral", "ministral"] {
      let model = try describe(type, [("layer_types", .array(types.map(JSON.text))), ("sliding_window", .int(8))])
      let config = try model.prunedConfig(for: Architecture(layers: [0, 1, 3], sizes: model.sizes))
      #expect(config["layer_types"]?.array?.compactMap(\.string) == [types[0], types[1], types[3]])
      #expect(config["model_type"]?.string == type)
    }
    // A list that is as long by chance is none of layers.
    let others = try describe(
      "mistral",
      [("language", .array(["a", "b", "c", "d"].map(JSON.text))), ("own_layer_scales", .array((0..<4).map(JSON.int)))])
    let cut = try others.prunedConfig(for: Architecture(layers: [0, 3], sizes: others.sizes))
    #expect(cut["language"]?.array?.count == 4 && cut["own_layer_scales"]?.array?.compactMap(\.int) == [0, 3])
    // Without the list nothing makes a Ministral of it.
    let plain = try describe("mistral", [])
    #expect(try plain.prunedConfig(for: Architecture(layers: [0], sizes: plain.sizes))["layer_types"] == nil)
  }
}

/// Configs that lie.
@Suite struct HostileConfigTests {
  private static let values: [JSON] = [
    .null, .bool(true), .int(0), .int(-1), .int(1), .int(3), .int(1 << 24), .int(Int.max), .double(0.3),
    .double(-1e300), .text(""), .text("linear_attention"), .array([]), .array([.int(1), .int(0), .null, .int(7)]),
    .object([("rope_type", .text("longrope")), ("factor", .int(0)), ("short_factor", .array([.int(1)]))]),
    .object([("full_attention", .object([("rope_type", .text("yarn")), ("factor", .double(4))]))]),
  ]
  /// Fields that families read besides those of the sample.
  private static let more = [
    "rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "rotary_pct", "sliding_window",
    "layer_types", "no_rope_layers", "no_rope_layer_interval", "sliding_window_pattern", "query_pre_attn_scalar",
    "attn_logit_softcapping", "final_logit_softcapping", "embedding_multiplier", "logits_scaling", "hidden_act",
    "hidden_activation", "rms_norm_eps", "norm_eps", "layer_norm_eps", "linear_num_key_heads",
    "linear_num_value_heads", "linear_key_head_dim", "full_attention_interval", "tie_word_embeddings",
    "original_max_position_embeddings", "use_sliding_window", "attention_bias", "layers_block_type", "state_size",
    "conv_kernel", "time_step_limit", "time_step_min", "use_conv_bias", "mamba_hidden_act", "mlp_hidden_act",
    "moe_latent_size", "routed_scaling_factor", "num_nextn_predict_layers", "layer_norm_epsilon",
    "global_head_dim", "num_global_key_value_heads", "attention_k_eq_v", "num_kv_shared_layers", "per_layer_config",
    "hidden_size_per_layer_input", "vocab_size_per_layer_input", "use_double_wide_mlp", "enable_moe_block",
    "top_k_experts", "attn_layer_period", "attn_layer_offset", "expert_layer_period", "expert_layer_offset",
    "mamba_dt_rank", "block_configs",
  ]

  /// Either a description whose sizes can be counted, or an error that names the field: never a crash.
  @Test(arguments: Families.modelTypes) func everyFieldMayHoldAnything(_ type: String) throws {
    let family = try #require(Families.all.first { $0.modelTypes.contains(type) })
    let sample = family.sample(modelType: type)
    var refused = 0
    for key in sample.entries.map(\.key.description) + Self.more where key != "model_type" {
      for value in Self.values {
        var config = sample
        config[key] = value
        do {
          let model = try Families.describe(config: config, file: "config.json")
          #expect(model.tensors().allSatisfy { $0.shape.allSatisfy { $0 > 0 } }, "\(key): \(value.serialized())")
          _ = model.refusal(of: Architecture(model))?.reason
          _ = try model.prunedConfig(for: Architecture(model, layers: [0]))
        } catch let error as ModelError {
          refused += 1
          #expect(error.description.contains("config.json"), "\(error)")
        }
      }
    }
    #expect(refused > 20)
  }
}
