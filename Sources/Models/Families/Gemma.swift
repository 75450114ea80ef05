public import JSON

/// What Gemma 2 and 3 share: norms before and after every block, by `1 + weight`; embeddings times the root of
/// hidden_size; layers that see a window between layers that see all; a scale of scores of its own.
struct GemmaDecoder {
  var dense: DenseDecoder
  let types: LayerTypes
  let window: Int?
  let scale: Double
  let bias: Bool
  let activation: Activation

  /// - Parameters:
  ///   - logitSoftcap: when the config does not say; nil for none.
  ///   - period: every how many layers one sees all, when the config does not list them.
  init(_ config: ConfigReader, logitSoftcap: Double?, period: Int) throws {
    var dense = try DenseDecoder(config, defaultHeadDim: 256, defaultKVHeads: 4)
    dense.norms = .around
    dense.normKind = .rmsPlusOne
    dense.tiedByDefault = true
    dense.scales = OuterScales(
      embedding: { Double($0[.hidden]).squareRoot() },
      softcap: try Self.softcap(config, "final_logit_softcapping", default: logitSoftcap))
    dense.shapeRules = [DenseDecoder.headsDivideHidden("Gemma's config")]
    guard try !config.flag("use_bidirectional_attention", default: false) else {
      throw ModelError("\(config.file): \"use_bidirectional_attention\" says that this is no causal language model")
    }
    types = try LayerTypes(config, layers: dense.layers, period: period)
    // An absent window is the published default, an explicit null none at all.
    window = config.object["sliding_window"] == nil ? 4096 : try config.optionalSize("sliding_window")
    scale = 1 / (try config.positive("query_pre_attn_scalar", default: 256)).squareRoot()
    bias = try config.flag("attention_bias", default: false)
    activation = try Activation(config, key: "hidden_activation", default: "gelu_pytorch_tanh")
    dense.editConfig = types.edit
    self.dense = dense
  }

  /// An explicit null turns a soft cap off.
  static func softcap(_ config: ConfigReader, _ key: String, default fallback: Double?) throws -> Double? {
    guard config.object[key] != nil else { return fallback }
    return config.has(key) ? try config.positive(key) : nil
  }

  /// - Parameter attention: of a layer by its names' prefix, number (0-based) and window.
  func describe(_ attention: (_ prefix: String, _ layer: Int, _ window: Int?) -> Attention) throws -> ModelDescription {
    var description = try dense.describe(
      attention: { attention($0, $1, types.isSliding($1) ? window : nil) },
      mlp: { GatedMLP($0, activation: activation) })
    description.wantsBOS = true
    return description
  }
}

/// Gemma 2 (Gemma team 2024, arXiv 2408.00118): soft-capped scores and logits, every second layer with a window.
public enum Gemma2: Family {
  public static let modelTypes = ["gemma2"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let gemma = try GemmaDecoder(config, logitSoftcap: 30, period: 2)
    let rotary = try Rotary(config, dimension: gemma.dense.headDim, RotaryFields(maxPositions: 8192))
    let softcap = try GemmaDecoder.softcap(config, "attn_logit_softcapping", default: 50)
    return try gemma.describe { prefix, _, window in
      Attention(
        prefix, headDim: gemma.dense.headDim, rotary: rotary, qkvBias: gemma.bias, outputBias: gemma.bias,
        window: window, scale: gemma.scale, softcap: softcap)
    }
  }
}

/// The text model of Gemma 3 (Gemma team 2025, arXiv 2503.19786): norms of queries and keys, five layers with a
/// window to each that sees all, and positions of another base in each kind.
public enum Gemma3: Family {
  public static let modelTypes = ["gemma3_text"]

  /// Positions are given for each kind of layer, or not at all.
  public static func sample(modelType: String) -> JSON.Object {
    var config = Families.commonSample(modelType)
    config["rope_parameters"] = nil
    return config
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let period = try config.size("sliding_window_pattern", default: 6)
    let gemma = try GemmaDecoder(config, logitSoftcap: nil, period: period)
    let headDim = gemma.dense.headDim
    // Older configs name the local base beside the global one; scaling is the global layers' alone.
    func rotary(_ kind: String, base key: String, default theta: Double) throws -> Rotary {
      try Rotary(
        config, section: config.ropeSection(kind: kind, scaled: kind == LayerTypes.full), dimension: headDim,
        theta: config.positive(key, default: theta), partial: nil, original: nil, maxPositions: 131_072)
    }
    let global = try rotary(LayerTypes.full, base: "rope_theta", default: 1_000_000)
    let local = try rotary(LayerTypes.sliding, base: "rope_local_base_freq", default: 10_000)
    return try gemma.describe { prefix, layer, window in
      Attention(
        prefix, headDim: headDim, rotary: gemma.types.isSliding(layer) ? local : global, qkvBias: gemma.bias,
        outputBias: gemma.bias, normEpsilon: gemma.dense.epsilon, normKind: .rmsPlusOne, window: window,
        scale: gemma.scale)
    }
  }
}
