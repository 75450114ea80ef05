/// StarCoder2 (Lozhkov et al. 2024, arXiv 2402.19173): LayerNorm and a plain MLP, biases everywhere, in some sizes a
/// window over every layer.
public enum Starcoder2: Family {
  public static let modelTypes = ["starcoder2"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultKVHeads: 2, epsilonKey: "norm_epsilon", defaultEpsilon: 1e-5)
    decoder.normKind = .layer
    decoder.normBias = true
    decoder.tiedByDefault = true
    let headDim = decoder.headDim
    let rotary = try Rotary(config, dimension: headDim, RotaryFields(maxPositions: 4096))
    let window = try config.optionalSize("sliding_window")
    let activation = try Activation(config, default: "gelu_pytorch_tanh")
    let bias = try config.flag("use_bias", default: true)
    return try decoder.describe(
      attention: { prefix, _ in
        Attention(prefix, headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias, window: window)
      },
      mlp: { PlainMLP(up: $0 + ".c_fc", down: $0 + ".c_proj", activation: activation, bias: bias) })
  }
}
