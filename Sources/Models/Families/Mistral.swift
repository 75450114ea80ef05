import JSON

/// Mistral 7B and its successors (Jiang et al. 2023, arXiv 2310.06825): a window over every layer, or none. With
/// `layer_types` it is what `transformers` calls Ministral, whose layers see all or a window, each as listed.
public enum Mistral: Family {
  public static let modelTypes = ["mistral", "ministral"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    // An absent window is the published default, an explicit null none at all.
    let window = config.object["sliding_window"] == nil ? 4096 : try config.optionalSize("sliding_window")
    var decoder = try DenseDecoder(config)
    // `AutoConfig` goes by the key, whatever its value.
    let isListed = try config.string("model_type") == "ministral" || config.object["layer_types"] != nil
    let types =
      try isListed
      ? LayerTypes(config, layers: decoder.layers) { _ in
        window == nil ? LayerTypes.full : LayerTypes.sliding
      } : nil
    if let types { decoder.editConfig = types.edit }
    return try decoder.describe(
      attention: { prefix, headDim, rotary, layer in
        Attention(prefix, headDim: headDim, rotary: rotary, window: types?.isSliding(layer) ?? true ? window : nil)
      }, positions: RotaryFields(maxPositions: 131_072))
  }
}
