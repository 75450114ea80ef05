public import JSON

extension Family {
  public static var sections: [String] { [] }
  public static var readsLayerConfigs: Bool { false }
  public static func sample(modelType: String) -> JSON.Object { Families.commonSample(modelType) }
  public static func samples(modelType: String) -> [JSON.Object] { [sample(modelType: modelType)] }
}

extension Families {
  /// What can be pruned in models of one type.
  public struct Entry: Sendable {
    public let modelType: String
    /// In the order a walk through a model meets them.
    public let hyperparameters: [Hyperparameter]
    /// Names of published checkpoints.
    public let examples: [String]
    /// Why hidden_size cannot be cut in a rotated basis; nil where it can.
    public let rotationObstacle: String?
    /// Whether an encoder of images stands beside the language model, and is carried along.
    public let hasEncoder: Bool
  }

  /// Every supported type with what can be pruned in it: derived from the description of a sample model, so from
  /// the table of weights.
  ///
  /// - Throws: `ModelError` when a family cannot read its own sample.
  public static func entries() throws -> [Entry] {
    try all.flatMap { family in
      try family.modelTypes.map { type in
        var prunable: [Hyperparameter] = []
        for sample in family.samples(modelType: type) {
          let model = try describe(config: sample, file: "a sample of \(type)")
          // What has as many groups as members has one choice: nothing to prune.
          prunable += model.hyperparameters.filter {
            model.value(of: $0) / max(model.groups(of: $0), 1) > 1 && !prunable.contains($0)
          }
        }
        let model = try describe(config: family.sample(modelType: type), file: "a sample of \(type)")
        return Entry(
          modelType: type, hyperparameters: prunable, examples: PublishedModels.examples[type] ?? [],
          rotationObstacle: model.rotationObstacle, hasEncoder: !model.carriedPrefixes.isEmpty)
      }
    }
  }

  /// A small config that speaks every family's fields at once: each reads its own, and for what is not here it has
  /// a default.
  static func commonSample(_ modelType: String) -> JSON.Object {
    var config = JSON.Object()
    func set(_ values: KeyValuePairs<String, JSON>) { for (key, value) in values { config[key] = value } }
    set([
      "model_type": .text(modelType), "vocab_size": .int(1024), "hidden_size": .int(2048),
      "intermediate_size": .int(4096), "num_hidden_layers": .int(4), "num_attention_heads": .int(16),
      "num_key_value_heads": .int(4), "head_dim": .int(128), "max_position_embeddings": .int(4096),
      "rope_parameters": .object([("rope_type", .text("default")), ("rope_theta", .int(10_000))]),
    ])
    // Experts, in the spellings of Qwen, Mixtral and DeepSeek, after a first layer without.
    set([
      "num_experts": .int(16), "num_local_experts": .int(16), "n_routed_experts": .int(16),
      "num_experts_per_tok": .int(4), "moe_intermediate_size": .int(512), "shared_expert_intermediate_size": .int(1024),
      "n_shared_experts": .int(2), "moe_shared_expert_intermediate_size": .int(1024), "n_group": .int(1),
      "topk_group": .int(1), "kv_lora_rank": .int(128), "q_lora_rank": .int(256), "qk_nope_head_dim": .int(64),
      "qk_rope_head_dim": .int(32), "v_head_dim": .int(64), "first_k_dense_replace": .int(1),
      "mlp_only_layers": .array([.int(0)]),
    ])
    // Mamba-2, alone and in hybrids.
    set([
      "num_heads": .int(32), "expand": .int(2), "n_groups": .int(4), "mamba_num_heads": .int(64),
      "mamba_head_dim": .int(64), "ssm_state_size": .int(64), "hybrid_override_pattern": .text("M-E*"),
    ])
    return config
  }
}
