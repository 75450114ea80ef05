import JSON

/// Mistral 7B and its successors (Jiang et al. 2023, arXiv 2310.06825): a window over every layer, or none.
public enum Mistral: Family {
  public static let modelTypes = ["mistral"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    // An absent window is the published default, an explicit null none at all.
    let window = config.object["sliding_window"] == nil ? 4096 : try config.optionalSize("sliding_window")
    return try DenseDecoder(config).describe(attention: { Attention($0, headDim: $1, rotary: $2, window: window) })
  }
}
