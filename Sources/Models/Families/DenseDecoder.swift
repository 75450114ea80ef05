public import JSON

/// What Llama and everything shaped like it share: attention and an MLP in every layer, with norms around them.
/// A family sets what differs, then describes.
public struct DenseDecoder {
  /// Where the norms over the residual stream stand.
  public enum Norms: Sendable {
    /// Before each block (Llama).
    case before
    /// After each block, on what it adds (OLMo 2).
    case after
    /// Both (Gemma 2).
    case around
    /// Under these names after the layer's, of attention and MLP: before the block and after it, nil for none.
    case named(before: [String?], after: [String?] = [nil, nil])
    /// One before both blocks, which stand side by side (Cohere).
    case shared

    fileprivate var names: (before: [String?], after: [String?]) {
      switch self {
      case .before: (["input_layernorm", "post_attention_layernorm"], [nil, nil])
      case .after: ([nil, nil], ["post_attention_layernorm", "post_feedforward_layernorm"])
      case .around:
        (
          ["input_layernorm", "pre_feedforward_layernorm"],
          ["post_attention_layernorm", "post_feedforward_layernorm"]
        )
      case .named(let before, let after): (before, after)
      case .shared: (["input_layernorm", "input_layernorm"], [nil, nil])
      }
    }
  }

  public let config: ConfigReader
  public let layers: Int
  /// Families add what further sizes their blocks have.
  public var sizes: DeclaredSizes
  public let epsilon: Double

  public var norms = Norms.before
  public var normKind = Norm.Kind.rms
  public var normBias = false
  /// The name of the norm after all layers.
  public var finalNorm = "norm"
  /// The factor on what blocks add.
  public var residualScale: Double?
  public var scales = OuterScales()
  /// Whether the head is the embedding when the config does not say.
  public var tiedByDefault = false
  public var names: TensorNames
  /// Hyperparameters that cannot change.
  public var fixed: Set<Hyperparameter> = []
  /// Tensors left out, by how their names begin, and why.
  public var dropped: [(prefix: String, note: String)] = []
  public var editConfig: @Sendable (inout JSON.Object, [Int]) -> Void = { _, _ in }
  public var shapeRules: [ShapeRule] = []

  /// - Parameters:
  ///   - defaultHeadDim: head_dim when the config says none; nil: hidden_size / num_attention_heads.
  ///   - defaultKVHeads: num_key_value_heads when the config says none; nil: as many as heads.
  ///   - defaultEpsilon: of norms when the config says none.
  ///   - config: the config.
  ///   - epsilonKey: the config key of it.
  ///   - layersDiffer: whether layers have ffn widths and key-value heads of their own, which the family reads.
  public init(
    _ config: ConfigReader, defaultHeadDim: Int? = nil, defaultKVHeads: Int? = nil,
    epsilonKey: String = "rms_norm_eps", defaultEpsilon: Double = 1e-6, layersDiffer: Bool = false
  ) throws {
    self.config = config
    layers = try config.layerCount("num_hidden_layers")
    names = TensorNames(prefix: config.weightPrefix)
    sizes = DeclaredSizes(config)
    let hidden = try sizes.read(.hidden, "hidden_size")
    if !layersDiffer { try sizes.read(.ffn, "intermediate_size") }
    let heads = try layersDiffer ? sizes.read(.heads, "num_attention_heads") : sizes.readHeads(keys: defaultKVHeads)
    let implied = defaultHeadDim ?? hidden / heads
    guard implied > 0 || config.has("head_dim") else {
      throw ModelError("\(config.file): hidden_size (\(hidden)) is below num_attention_heads (\(heads))")
    }
    epsilon = try config.positive(epsilonKey, default: defaultEpsilon)
    try sizes.read(.headDim, "head_dim", default: implied)
    sizes[.vocabulary] = try config.size("vocab_size")
  }

  public var headDim: Int { sizes[.headDim] }

  /// What config classes after Llama's check.
  ///
  /// - Parameter name: who wants it, for messages.
  static func headsDivideHidden(_ name: String) -> ShapeRule {
    ShapeRule([.hiddenSize, .numAttentionHeads]) { sizes in
      sizes[.hidden] % sizes[.heads] == 0
        ? nil : "\(name) wants hidden_size to be a multiple of num_attention_heads"
    }
  }

  /// A norm over the residual stream, of this family's kind.
  public func norm(_ name: String) -> Norm { Norm(name, epsilon: epsilon, kind: normKind, bias: normBias) }

  /// What the names of a layer's weights begin with.
  var prefix: String { config.weightPrefix + "layers.{layer}" }

  /// A layer of these blocks, with norms where the family has them.
  func layer(_ attention: any Block, _ mlp: any Block) -> LayerDescription {
    let (names, blocks) = (norms.names, [attention, mlp])
    let isParallel = if case .shared = norms { true } else { false }
    return LayerDescription(
      blocks.indices.map { index in
        Sublayer(
          norm: names.before[index].map { norm(prefix + "." + $0) }, block: blocks[index],
          postNorm: names.after[index].map { norm(prefix + "." + $0) }, residualScale: residualScale)
      }, isParallel: isParallel)
  }

  /// - Parameters:
  ///   - attention: the attention of a layer, from its names' prefix and number (0-based).
  ///   - mlp: its MLP, from its names' prefix.
  public func describe(
    attention: (_ prefix: String, _ layer: Int) throws -> any Block, mlp: (_ prefix: String) throws -> any Block
  ) throws -> ModelDescription {
    let feedForward = try mlp(prefix + ".mlp")
    return try describe(layers: (0..<layers).map { layer(try attention(prefix + ".self_attn", $0), feedForward) })
  }

  /// With layers that the family makes itself.
  func describe(layers: [LayerDescription]) throws -> ModelDescription {
    ModelDescription(
      family: try config.string("model_type"), declared: sizes,
      embedding: Weight(config.weightPrefix + "embed_tokens.weight", [.vocabulary, .hidden]),
      layers: layers, finalNorm: norm(config.weightPrefix + finalNorm),
      isTied: try config.flag("tie_word_embeddings", default: tiedByDefault), names: names,
      dropped: dropped, scales: scales, fixed: fixed,
      editConfig: editConfig, shapeRules: shapeRules)
  }

  /// With the gated MLP of Llama.
  ///
  /// - Parameters:
  ///   - attention: the attention of a layer, from its names' prefix, head_dim, positions and number (0-based).
  ///   - mlpBias: whether the MLP has biases.
  ///   - positions: where the family keeps positions.
  public func describe(
    attention: (_ prefix: String, _ headDim: Int, _ rotary: Rotary, _ layer: Int) -> Attention, mlpBias: Bool = false,
    positions: RotaryFields = RotaryFields()
  ) throws -> ModelDescription {
    let activation = try Activation(config)
    let rotary = try Rotary(config, dimension: headDim, positions)
    return try describe(
      attention: { attention($0, headDim, rotary, $1) },
      mlp: { GatedMLP($0, activation: activation, bias: mlpBias) })
  }

  /// With the gated MLP of Llama, and all layers' attention alike.
  public func describe(
    attention: (_ prefix: String, _ headDim: Int, _ rotary: Rotary) -> Attention, mlpBias: Bool = false,
    positions: RotaryFields = RotaryFields()
  ) throws -> ModelDescription {
    try describe(
      attention: { prefix, headDim, rotary, _ in attention(prefix, headDim, rotary) }, mlpBias: mlpBias,
      positions: positions)
  }
}
