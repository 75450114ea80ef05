import JSON

/// Qwen3-Next (`transformers` modeling_qwen3_next.py): gated delta nets and gated attention with mixtures of experts
/// after them. Heads of either kind are kept.
public enum Qwen3Next: Family {
  public static let modelTypes = ["qwen3_next"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_experts"], expertWidthKey: "moe_intermediate_size", topK: 10)
    decoder.normKind = .rmsPlusOne
    try decoder.readHeadDim(default: 256)
    try decoder.sizes.read(.sharedFFN, "shared_expert_intermediate_size", default: 512)
    let sparse = try SparseLayers(config)
    if sparse.hasDense { try decoder.readDenseWidth() }
    let hybrid = try HybridQwen(
      config, layers: decoder.layers, sizes: &decoder.sizes, layout: .grouped, epsilon: decoder.epsilon)
    let experts = decoder.qwenExperts(normalises: try config.flag("norm_topk_prob", default: true))
    let dense = GatedMLP(decoder.prefix + ".mlp", activation: decoder.activation)
    var model = try decoder.describe(
      attention: hybrid.mixer, mlp: { layer -> any Block in sparse.isDense(layer) ? dense : experts },
      fixed: [.numAttentionHeads],
      editConfig: { [types = hybrid.types] config, kept in
        sparse.edit(&config, kept: kept)
        types.edit(&config, kept: kept)
      })
    model.prediction = try hybrid.prediction(config, field: "num_nextn_predict_layers") { decoder.layer($0, experts) }
    return model
  }
}
