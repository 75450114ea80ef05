public import JSON

/// OLMo 3 (OLMo team 2025, arXiv 2512.13961; `transformers` modeling_olmo3.py): OLMo 2 with three layers that see a window to
/// each that sees all, and scaled positions in the latter alone.
public enum OLMo3: Family {
  public static let modelTypes = ["olmo3"]

  /// Positions are given for each kind of layer, or not at all.
  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["rope_parameters"] = nil
    return config
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultEpsilon: 1e-5)
    decoder.norms = .after
    decoder.normKind = .rmsWide
    let (headDim, epsilon) = (decoder.headDim, decoder.epsilon)
    let types = try LayerTypes(config, layers: decoder.layers, period: 4)
    decoder.editConfig = types.edit
    // An absent window is the published default, an explicit null none at all.
    let window = config.object["sliding_window"] == nil ? 4096 : try config.optionalSize("sliding_window")
    // A base beside the sections is that of the layers that see all.
    func rotary(_ kind: String, theta: Double) throws -> Rotary {
      try Rotary(
        config, section: config.ropeSection(kind: kind, scaled: kind == LayerTypes.full), dimension: headDim,
        theta: theta, partial: nil, original: nil, maxPositions: 2048)
    }
    let global = try rotary(LayerTypes.full, theta: config.positive("rope_theta", default: 500_000))
    let local = try rotary(LayerTypes.sliding, theta: 500_000)
    let bias = try config.flag("attention_bias", default: false)
    let activation = try Activation(config)
    return try decoder.describe(
      attention: { prefix, layer in
        let isLocal = types.isSliding(layer)
        return Attention(
          prefix, headDim: headDim, rotary: isLocal ? local : global, qkvBias: bias, outputBias: bias,
          normEpsilon: epsilon, normKind: .rmsWide, normSpan: .projection, window: isLocal ? window : nil)
      },
      mlp: { GatedMLP($0, activation: activation) })
  }
}
