/// Granite 3 dense models (IBM 2024; `transformers` modeling_granite.py): Llama with a factor on embeddings, on
/// attention scores, on what blocks add and on logits, each a number in the config.
public enum Granite: Family {
  public static let modelTypes = ["granite"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config)
    let embedding = try config.positive("embedding_multiplier", default: 1)
    decoder.scales = OuterScales(
      embedding: { _ in embedding }, logits: 1 / (try config.positive("logits_scaling", default: 1)))
    decoder.residualScale = try config.number("residual_multiplier", default: 1)
    let scale = try config.number("attention_multiplier", default: 1)
    let bias = try config.flag("attention_bias", default: false)
    return try decoder.describe(
      attention: { Attention($0, headDim: $1, rotary: $2, qkvBias: bias, outputBias: bias, scale: scale) },
      mlpBias: config.flag("mlp_bias", default: false))
  }
}
