/// AFM 4.5B (Arcee 2025; `transformers` modeling_arcee.py): Llama with a plain MLP by squared ReLU.
public enum Arcee: Family {
  public static let modelTypes = ["arcee"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultEpsilon: 1e-5)
    decoder.shapeRules = [DenseDecoder.headsDivideHidden("ArceeConfig")]
    let headDim = decoder.headDim
    let rotary = try Rotary(config, dimension: headDim, RotaryFields(maxPositions: 4096))
    let activation = try Activation(config, default: "relu2")
    let bias = try config.flag("attention_bias", default: false)
    let mlpBias = try config.flag("mlp_bias", default: false)
    return try decoder.describe(
      attention: { prefix, _ in
        Attention(prefix, headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias)
      },
      mlp: { PlainMLP(up: $0 + ".up_proj", down: $0 + ".down_proj", activation: activation, bias: mlpBias) })
  }
}
