/// Command R7B and Command A (Cohere 2025, arXiv 2504.00698; `transformers` modeling_cohere2.py): attention and MLP side by side
/// after one LayerNorm without a bias, a factor on logits; layers that see all have no positions.
public enum Cohere2: Family {
  public static let modelTypes = ["cohere2"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, epsilonKey: "layer_norm_eps", defaultEpsilon: 1e-5)
    decoder.norms = .shared
    decoder.normKind = .layer
    decoder.tiedByDefault = true
    decoder.scales = OuterScales(logits: try config.number("logit_scale", default: 0.0625))
    let types = try LayerTypes(
      config, layers: decoder.layers, period: config.size("sliding_window_pattern", default: 4))
    decoder.editConfig = types.edit
    let window = try config.size("sliding_window", default: 4096)
    let bias = try config.flag("attention_bias", default: false)
    return try decoder.describe(
      attention: { prefix, headDim, rotary, layer in
        let isLocal = types.isSliding(layer)
        return Attention(
          prefix, headDim: headDim, rotary: isLocal ? rotary : nil, qkvBias: bias, outputBias: bias,
          window: isLocal ? window : nil)
      }, positions: RotaryFields(maxPositions: 8192, pairs: .neighbours))
  }
}
