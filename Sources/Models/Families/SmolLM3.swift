import JSON

/// SmolLM3 (Bakouch et al. 2025; `transformers` modeling_smollm3.py): some layers have no positions (NoPE, Yang et
/// al. 2025, arXiv 2501.18795), and where windows are used those see only one.
public enum SmolLM3: Family {
  public static let modelTypes = ["smollm3"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config)
    decoder.tiedByDefault = true
    let turns = try positions(config, layers: decoder.layers)
    // A list of layers holds whatever use_sliding_window says: that decides only where there is none.
    let window = try config.optionalSize("sliding_window")
    let isUsed = try config.flag("use_sliding_window", default: false)
    let types = try LayerTypes(config, layers: decoder.layers) { layer in
      isUsed && window != nil && !turns[layer] ? LayerTypes.sliding : LayerTypes.full
    }
    guard window != nil || !types.names.contains(LayerTypes.sliding) else {
      throw ModelError("\(config.file): a layer is \"sliding_attention\", but there is no \"sliding_window\"")
    }
    decoder.editConfig = { config, kept in
      guard kept.count != turns.count else { return }
      config["no_rope_layers"] = .array(kept.map { .int(turns[$0] ? 1 : 0) })
      types.edit(&config, kept: kept)
    }
    let bias = try config.flag("attention_bias", default: false)
    return try decoder.describe(
      attention: { prefix, headDim, rotary, layer in
        Attention(
          prefix, headDim: headDim, rotary: turns[layer] ? rotary : nil, qkvBias: bias, outputBias: bias,
          window: types.isSliding(layer) ? window : nil)
      },
      mlpBias: config.flag("mlp_bias", default: false), positions: RotaryFields(theta: 2_000_000, maxPositions: 32768))
  }

  /// Which layers have positions: `no_rope_layers` (1: has them), else all but every n-th.
  private static func positions(_ config: ConfigReader, layers: Int) throws -> [Bool] {
    if config.has("no_rope_layers") {
      let flags = config.object["no_rope_layers"]?.array?.map(\.int) ?? []
      guard flags.count == layers, flags.allSatisfy({ $0 == 0 || $0 == 1 }) else {
        throw ModelError("\(config.file): \"no_rope_layers\" should be a list of \(layers) zeros and ones")
      }
      return flags.map { $0 == 1 }
    }
    let interval = try config.size("no_rope_layer_interval", default: 4)
    return (1...layers).map { $0 % interval != 0 }
  }
}
