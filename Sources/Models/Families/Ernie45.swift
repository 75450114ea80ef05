/// The dense models of ERNIE 4.5 (Baidu 2025; `transformers` modeling_ernie4_5.py): Llama with neighbouring channels turning by
/// one another, and one switch for all biases.
public enum Ernie45: Family {
  public static let modelTypes = ["ernie4_5"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(
      config, defaultHeadDim: config.unlessNull("head_dim", 128),
      defaultKVHeads: config.unlessNull("num_key_value_heads", 2), defaultEpsilon: 1e-5)
    decoder.tiedByDefault = true
    let bias = try config.flag("use_bias", default: false)
    return try decoder.describe(
      attention: { Attention($0, headDim: $1, rotary: $2, qkvBias: bias, outputBias: bias) }, mlpBias: bias,
      positions: RotaryFields(theta: 500_000, maxPositions: 131_072, pairs: .neighbours))
  }
}
