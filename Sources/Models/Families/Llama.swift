import JSON

/// Llama 2, 3, 3.1, 3.2, 3.3 (Touvron et al. 2023, arXiv 2302.13971; `transformers` modeling_llama.py).
public enum Llama: Family {
  public static let modelTypes = ["llama"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let attentionBias = try config.flag("attention_bias", default: false)
    var decoder = try DenseDecoder(config)
    decoder.shapeRules = [DenseDecoder.headsDivideHidden("LlamaConfig")]
    return try decoder.describe(
      attention: {
        Attention($0, headDim: $1, rotary: $2, qkvBias: attentionBias, outputBias: attentionBias)
      },
      mlpBias: config.flag("mlp_bias", default: false))
  }
}
