/// Seed-OSS 36B (ByteDance Seed 2025; `transformers` modeling_seed_oss.py): Llama with biases on queries, keys and values, and
/// a switch of its own for the output's.
public enum SeedOSS: Family {
  public static let modelTypes = ["seed_oss"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let bias = try config.flag("attention_bias", default: true)
    let outputBias = try config.flag("attention_out_bias", default: false)
    return try DenseDecoder(
      config, defaultHeadDim: config.unlessNull("head_dim", 128),
      defaultKVHeads: config.unlessNull("num_key_value_heads", 8)
    ).describe(
      attention: { Attention($0, headDim: $1, rotary: $2, qkvBias: bias, outputBias: outputBias) },
      mlpBias: config.flag("mlp_bias", default: false), positions: RotaryFields(maxPositions: 524_288))
  }
}
