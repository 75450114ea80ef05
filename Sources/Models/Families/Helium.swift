/// Helium 1 2B (Kyutai 2025; `transformers` modeling_helium.py): Llama with neighbouring channels turning by one another. Its
/// output projection is square: heads × head_dim is hidden_size.
public enum Helium: Family {
  public static let modelTypes = ["helium"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultHeadDim: 128, defaultKVHeads: 20, defaultEpsilon: 1e-8)
    decoder.normKind = .rmsWide
    decoder.shapeRules = [
      ShapeRule([.hiddenSize, .numAttentionHeads]) { sizes in
        sizes[.heads] * sizes[.headDim] == sizes[.hidden]
          ? nil : "the output projection is square: num_attention_heads × head_dim should be hidden_size"
      }
    ]
    let bias = try config.flag("attention_bias", default: false)
    return try decoder.describe(
      attention: { Attention($0, headDim: $1, rotary: $2, qkvBias: bias) },
      mlpBias: config.flag("mlp_bias", default: false),
      positions: RotaryFields(theta: 100_000, maxPositions: 4096, pairs: .neighbours))
  }
}
