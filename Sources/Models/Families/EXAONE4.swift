/// EXAONE 4 (LG AI Research 2025, arXiv 2507.11407; `transformers` modeling_exaone4.py): norms after the blocks, norms of each
/// head's queries and keys; where some layers see only a window the others have no positions.
public enum EXAONE4: Family {
  public static let modelTypes = ["exaone4"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultKVHeads: 32, defaultEpsilon: 1e-5)
    decoder.norms = .after
    let epsilon = decoder.epsilon
    // An absent window is the published default, an explicit null none at all.
    let window = config.object["sliding_window"] == nil ? 4096 : try config.optionalSize("sliding_window")
    let types = try types(config, layers: decoder.layers, window: window)
    decoder.editConfig = types.edit
    return try decoder.describe(
      attention: { prefix, headDim, rotary, layer in
        let isLocal = types.isSliding(layer)
        return Attention(
          prefix, headDim: headDim, rotary: isLocal || window == nil ? rotary : nil, normEpsilon: epsilon,
          window: isLocal ? window : nil)
      })
  }

  private static func types(_ config: ConfigReader, layers: Int, window: Int?) throws -> LayerTypes {
    // A pattern in letters goes with a list; only that counts.
    if config.has("layer_types") { return try LayerTypes(config, layers: layers, period: 1) }
    guard window != nil else {
      throw ModelError("\(config.file): without a \"sliding_window\" Exaone4Config wants \"layer_types\"")
    }
    return try LayerTypes(config, layers: layers, period: config.size("sliding_window_pattern", default: 4))
  }
}
