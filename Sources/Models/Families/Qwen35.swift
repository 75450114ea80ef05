import JSON

/// What Qwen3-Next and Qwen3.5 share: three layers of gated delta net to each of gated attention, norms by
/// `1 + weight`, a quarter of each head with positions. Heads of either kind are kept.
struct HybridQwen {
  let types: LayerTypes
  private let linear: GatedDeltaNet
  private let full: Attention

  /// - Parameter sizes: those of the model; takes in the blocks' own.
  init(_ config: ConfigReader, layers: Int, sizes: inout DeclaredSizes, layout: GatedDeltaNet.Layout, epsilon: Double)
    throws
  {
    types = try Self.types(config, layers: layers)
    try GatedDeltaNet.readSizes(config, into: &sizes)
    let prefix = config.weightPrefix + "layers.{layer}"
    linear = GatedDeltaNet(
      prefix + ".linear_attn", sizes: sizes.sizes, layout: layout, activation: try Activation(config), epsilon: epsilon)
    let bias = try config.flag("attention_bias", default: false)
    full = Attention(
      prefix + ".self_attn", headDim: sizes[.headDim],
      rotary: try Rotary(config, dimension: sizes[.headDim], RotaryFields(partial: 0.25, maxPositions: 32768)),
      qkvBias: bias, outputBias: bias,
      normEpsilon: epsilon, normKind: .rmsPlusOne, isGated: true)
  }

  func mixer(_ layer: Int) -> any Block { types.isLinear(layer) ? linear : full }

  private static func types(_ config: ConfigReader, layers: Int) throws -> LayerTypes {
    let interval = try config.size("full_attention_interval", default: 4)
    return try LayerTypes(config, layers: layers, kinds: [LayerTypes.linear, LayerTypes.full]) {
      ($0 + 1) % interval == 0 ? LayerTypes.full : LayerTypes.linear
    }
  }

  /// Layers of full attention after the others that predict further tokens.
  ///
  /// - Parameters:
  ///   - field: the config's key of how many there are.
  ///   - layer: a layer of the model with this attention.
  func prediction(
    _ config: ConfigReader, field: String, layer: (_ attention: any Block) -> LayerDescription
  ) throws -> PredictionModules {
    let (prefix, layer) = (config.weightPrefix + "layers.{layer}", layer(full))
    let count = try config.size(field, default: 1, atLeast: 0, atMost: 64)
    let stem = PredictionModules.stem("mtp.", norms: ["pre_fc_norm_embedding", "pre_fc_norm_hidden"], map: "fc")
    return PredictionModules(
      prefixes: ["mtp."], field: field,
      modules: [stem + [Weight("mtp.norm.weight", [.hidden])]]
        + (0..<count).map { PredictionModules.renamed(layer, prefix, to: "mtp.layers.\($0)") })
  }
}

extension HybridQwen {
  /// Those of Qwen3.5, also of the text model inside a vision-language checkpoint whose config has been replaced by the
  /// text model's.
  static func names(_ config: ConfigReader) -> TensorNames {
    TensorNames(prefix: config.weightPrefix, otherPrefixes: ["model.language_model."])
  }
  static let dropped35 = [(prefix: "model.visual.", note: "the vision tower is left out")]

  static let predictionField35 = "mtp_num_hidden_layers"

  func edit(_ config: inout JSON.Object, kept: [Int]) { types.edit(&config, kept: kept) }
}

/// The dense text models of Qwen3.5 (`transformers` modeling_qwen3_5.py).
public enum Qwen35: Family {
  public static let modelTypes = ["qwen3_5_text"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var decoder = try DenseDecoder(config, defaultHeadDim: 256, defaultKVHeads: 4)
    decoder.normKind = .rmsPlusOne
    let hybrid = try HybridQwen(
      config, layers: decoder.layers, sizes: &decoder.sizes, layout: .separate, epsilon: decoder.epsilon)
    decoder.fixed = [.numAttentionHeads]
    decoder.names = HybridQwen.names(config)
    decoder.dropped = HybridQwen.dropped35
    decoder.editConfig = hybrid.edit
    let activation = try Activation(config)
    var model = try decoder.describe(
      attention: { _, layer in hybrid.mixer(layer) }, mlp: { GatedMLP($0, activation: activation) })
    let mlp = GatedMLP(decoder.prefix + ".mlp", activation: activation)
    model.prediction = try hybrid.prediction(config, field: HybridQwen.predictionField35) { decoder.layer($0, mlp) }
    return model
  }
}
