import JSON

/// Qwen3 dense models (arXiv 2505.09388): norms over every head's query and key, an explicit head_dim.
public enum Qwen3: Family {
  public static let modelTypes = ["qwen3"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let windows = try WindowedLayers(config)
    let bias = try config.flag("attention_bias", default: false)
    let epsilon = try config.positive("rms_norm_eps", default: 1e-6)
    var decoder = try DenseDecoder(config, defaultHeadDim: 128)
    decoder.editConfig = windows.edit
    return try decoder.describe(
      attention: { prefix, headDim, rotary, layer in
        Attention(
          prefix, headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias, normEpsilon: epsilon,
          window: windows[layer])
      }, positions: RotaryFields(maxPositions: 32768))
  }
}
