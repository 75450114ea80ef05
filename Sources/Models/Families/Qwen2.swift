import JSON

/// Qwen 1.5, 2 and 2.5 (arXiv 2407.10671): biases on queries, keys and values, none on the output.
public enum Qwen2: Family {
  public static let modelTypes = ["qwen2"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let windows = try WindowedLayers(config)
    var decoder = try DenseDecoder(config)
    decoder.editConfig = windows.edit
    return try decoder.describe(
      attention: { prefix, headDim, rotary, layer in
        Attention(prefix, headDim: headDim, rotary: rotary, qkvBias: true, window: windows[layer])
      }, positions: RotaryFields(maxPositions: 32768))
  }
}
