/// Nemotron-3, Nemotron-4 and Minitron (Parmar et al. 2024, arXiv 2402.16819): LayerNorm by `1 + weight`, squared
/// ReLU, half of each head without positions.
public enum Nemotron: Family {
  public static let modelTypes = ["nemotron"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, epsilonKey: "norm_eps", defaultEpsilon: 1e-5)
    decoder.normKind = .layerPlusOne
    decoder.normBias = true
    let rotary = try Rotary(config, dimension: decoder.headDim, RotaryFields(partial: 0.5, maxPositions: 4096))
    let activation = try Activation(config, default: "relu2")
    let bias = try config.flag("attention_bias", default: false)
    let mlpBias = try config.flag("mlp_bias", default: false)
    return try decoder.describe(
      attention: { [headDim = decoder.headDim] prefix, _ in
        Attention(prefix, headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias)
      },
      mlp: { PlainMLP(up: $0 + ".up_proj", down: $0 + ".down_proj", activation: activation, bias: mlpBias) })
  }
}
