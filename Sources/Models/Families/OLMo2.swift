/// OLMo 2 (OLMo team 2024, arXiv 2501.00656): norms after the blocks instead of before them, and norms of queries
/// and keys over all heads together.
public enum OLMo2: Family {
  public static let modelTypes = ["olmo2"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultEpsilon: 1e-5)
    decoder.norms = .after
    decoder.normKind = .rmsWide
    let epsilon = decoder.epsilon
    let bias = try config.flag("attention_bias", default: false)
    return try decoder.describe(
      attention: {
        Attention(
          $0, headDim: $1, rotary: $2, qkvBias: bias, outputBias: bias, normEpsilon: epsilon, normKind: .rmsWide,
          normSpan: .projection)
      })
  }
}
