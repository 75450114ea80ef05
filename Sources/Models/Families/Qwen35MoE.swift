import JSON

/// The mixtures of experts of Qwen3.5 (`transformers` modeling_qwen3_5_moe.py): Qwen3-Next without dense layers, all experts of
/// a layer in one tensor.
public enum Qwen35MoE: Family {
  public static let modelTypes = ["qwen3_5_moe_text"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_experts"], expertWidthKey: "moe_intermediate_size", topK: 8)
    decoder.normKind = .rmsPlusOne
    decoder.names = HybridQwen.names(config)
    try decoder.readHeadDim(default: 256)
    try decoder.sizes.read(.sharedFFN, "shared_expert_intermediate_size", default: 512)
    let hybrid = try HybridQwen(
      config, layers: decoder.layers, sizes: &decoder.sizes, layout: .separate, epsilon: decoder.epsilon)
    let experts = decoder.qwenExperts(normalises: true, layout: .stacked())
    var model = try decoder.describe(
      attention: hybrid.mixer, mlp: { _ in experts }, dropped: HybridQwen.dropped35, fixed: [.numAttentionHeads],
      editConfig: hybrid.edit)
    model.prediction = try hybrid.prediction(config, field: HybridQwen.predictionField35) { decoder.layer($0, experts) }
    return model
  }
}
