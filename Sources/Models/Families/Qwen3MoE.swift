import JSON

/// Qwen3 mixtures of experts (arXiv 2505.09388; `transformers` modeling_qwen3_moe.py).
public enum Qwen3MoE: Family {
  public static let modelTypes = ["qwen3_moe"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    try describe(config, layout: .gated, normalises: config.flag("norm_topk_prob", default: false))
  }

  /// - Parameters:
  ///   - layout: how experts are stored.
  ///   - normalises: whether the weights of a token's experts add up to one.
  static func describe(_ config: ConfigReader, layout: Experts.Layout, normalises: Bool) throws -> ModelDescription {
    var decoder = try SparseDecoder(
      config, expertsKeys: ["num_experts", "num_local_experts"], expertWidthKey: "moe_intermediate_size", topK: 8)
    try decoder.readHeadDim()
    let sparse = try SparseLayers(config)
    if sparse.hasDense { try decoder.readDenseWidth() }
    let bias = try config.flag("attention_bias", default: false)
    // One window for all layers, whatever max_window_layers says.
    var window: Int?
    if try config.flag("use_sliding_window", default: false) {
      // An absent window is the published default, an explicit null none at all.
      window = config.object["sliding_window"] == nil ? 4096 : try config.optionalSize("sliding_window")
    }
    let rotary = try Rotary(config, dimension: decoder.sizes[.headDim], RotaryFields(maxPositions: 32768))
    let attention = Attention(
      decoder.prefix + ".self_attn", headDim: decoder.sizes[.headDim], rotary: rotary, qkvBias: bias,
      outputBias: bias, normEpsilon: decoder.epsilon, window: window)
    let mlp = decoder.prefix + ".mlp"
    let experts = MixtureOfExperts(
      router: Router(mlp + ".gate", topK: decoder.topK, normalises: normalises),
      experts: Experts(mlp + ".experts", layout: layout, nonlinearity: .activation(decoder.activation)))
    let dense = GatedMLP(mlp, activation: decoder.activation)
    return try decoder.describe(
      attention: { _ in attention }, mlp: { layer -> any Block in sparse.isDense(layer) ? dense : experts },
      editConfig: sparse.edit)
  }
}
