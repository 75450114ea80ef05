import JSON

/// Code World Model 32B (Meta 2025, arXiv 2510.02387; `transformers` modeling_cwm.py): Llama with three layers that see a
/// window to each that sees all.
public enum CWM: Family {
  public static let modelTypes = ["cwm"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(
      config, defaultHeadDim: config.unlessNull("head_dim", 128),
      defaultKVHeads: config.unlessNull("num_key_value_heads", 8), defaultEpsilon: 1e-5)
    decoder.shapeRules = [DenseDecoder.headsDivideHidden("CwmConfig")]
    let types = try LayerTypes(config, layers: decoder.layers) {
      $0 % 4 == 0 ? LayerTypes.full : LayerTypes.sliding
    }
    decoder.editConfig = types.edit
    let window = try config.size("sliding_window", default: 8192)
    let section = JSON.Object([
      ("rope_type", .text("llama3")), ("rope_theta", .double(1_000_000)), ("factor", .double(16)),
      ("low_freq_factor", .double(1)), ("high_freq_factor", .double(4)),
      ("original_max_position_embeddings", .int(8192)),
    ])
    return try decoder.describe(
      attention: { prefix, headDim, rotary, layer in
        Attention(prefix, headDim: headDim, rotary: rotary, window: types.isSliding(layer) ? window : nil)
      },
      mlpBias: config.flag("mlp_bias", default: false),
      positions: RotaryFields(theta: 1_000_000, maxPositions: 131_072, section: section))
  }
}
