public import JSON

/// What decoders with mixtures of experts share: Llama's names around blocks that differ from layer to layer.
public struct SparseDecoder {
  public let config: ConfigReader
  public let layers: Int
  public let topK: Int
  private let topKKey: String
  public let epsilon: Double
  public let activation: Activation
  public var sizes: DeclaredSizes
  public var normKind = Norm.Kind.rms
  public var normBias = false
  /// Other names that checkpoints may have; nil for Llama's.
  public var names: TensorNames?
  /// Whether the head is the embedding when the config does not say.
  public var tiedByDefault = false
  /// What the names of a layer's weights begin with.
  public var prefix: String { config.weightPrefix + "layers.{layer}" }
  /// Experts of all layers together that a config is believed.
  static let largestExpertCount = 1 << 18

  /// - Parameters:
  ///   - expertsKeys: the spellings of the number of experts, the usual one first.
  ///   - expertWidthKey: the config key of an expert's size.
  ///   - topKKey: the config key of experts per token: a number, or a list with the same one for each layer.
  ///   - fallback: experts per token when the config says none.
  ///   - hasKeyHeads: whether keys and values have heads of their own, in groups of which queries have theirs.
  ///   - config: the config.
  ///   - fallbackEpsilon: of norms when the config says none.
  public init(
    _ config: ConfigReader, expertsKeys: [String], expertWidthKey: String,
    topKKey: String = "num_experts_per_tok", topK fallback: Int? = nil, hasKeyHeads: Bool = true,
    epsilon fallbackEpsilon: Double = 1e-6
  ) throws {
    self.config = config
    layers = try config.layerCount("num_hidden_layers")
    sizes = DeclaredSizes(config)
    try sizes.read(.hidden, "hidden_size")
    if hasKeyHeads {
      try sizes.readHeads()
    } else {
      let heads = try sizes.read(.heads, "num_attention_heads")
      guard try config.size("num_key_value_heads", default: heads) == heads else {
        throw ModelError("\(config.file): latent attention wants as many key-value heads as heads")
      }
    }
    let experts = try sizes.read(.experts, anyOf: expertsKeys, atMost: Self.largestExpertCount / layers)
    topK = try config.sizeOfEveryLayer(topKKey, default: fallback)
    self.topKKey = topKKey
    guard topK <= experts else {
      throw ModelError("\(config.file): \(topKKey) (\(topK)) is above the number of experts (\(experts))")
    }
    epsilon = try config.positive("rms_norm_eps", default: fallbackEpsilon)
    activation = try Activation(config)
    try sizes.read(.moeFFN, expertWidthKey)
    sizes[.vocabulary] = try config.size("vocab_size")
  }

  /// Takes `head_dim` in: what the config says, else `hidden_size / num_attention_heads` (or `fallback`).
  public mutating func readHeadDim(default fallback: Int? = nil) throws {
    let implied = fallback ?? sizes[.hidden] / sizes[.heads]
    guard implied > 0 || config.has("head_dim") else {
      throw ModelError("\(config.file): hidden_size is below num_attention_heads (\(sizes[.heads]))")
    }
    try sizes.read(.headDim, "head_dim", default: implied)
  }

  /// Takes in the size of the layers without experts.
  public mutating func readDenseWidth() throws {
    try sizes.read(.ffn, "intermediate_size")
  }

  /// A norm over the residual stream, of this family's kind.
  public func norm(_ name: String) -> Norm { Norm(name, epsilon: epsilon, kind: normKind, bias: normBias) }

  /// A layer of attention and an MLP or a mixture, each after its norm.
  func layer(_ attention: any Block, _ mlp: any Block) -> LayerDescription {
    LayerDescription([
      Sublayer(norm: norm(prefix + ".input_layernorm"), block: attention),
      Sublayer(norm: norm(prefix + ".post_attention_layernorm"), block: mlp),
    ])
  }

  /// - Parameters:
  ///   - fixed: what stands in axes and cannot change all the same.
  ///   - shapeRules: what the family's loader wants beyond enough experts.
  ///   - mlp: its MLP or mixture.
  ///   - derivedFields: config keys whose value follows from several sizes.
  ///   - attention: the attention of a layer (0-based).
  ///   - editConfig: further edits of the pruned config for the layers that are kept.
  ///   - dropped: tensors that are left out, by how their names begin, and why.
  public func describe(
    attention: (_ layer: Int) throws -> any Block, mlp: (_ layer: Int) throws -> any Block,
    derivedFields: [(key: String, value: @Sendable (Sizes) -> Int)] = [],
    dropped: [(prefix: String, note: String)] = [],
    fixed: Set<Hyperparameter> = [],
    editConfig: @escaping @Sendable (inout JSON.Object, [Int]) -> Void = { _, _ in },
    shapeRules: [ShapeRule] = []
  ) throws -> ModelDescription {
    return ModelDescription(
      family: try config.string("model_type"), declared: sizes,
      embedding: Weight(config.weightPrefix + "embed_tokens.weight", [.vocabulary, .hidden]),
      layers: try (0..<layers).map { layer(try attention($0), try mlp($0)) },
      finalNorm: norm(config.weightPrefix + "norm"),
      isTied: try config.flag("tie_word_embeddings", default: tiedByDefault),
      names: names ?? TensorNames(prefix: config.weightPrefix), derivedFields: derivedFields, dropped: dropped,
      fixed: fixed,
      editConfig: editConfig,
      shapeRules: [.enoughExperts(topK, topKKey)] + shapeRules)
  }
}

extension ShapeRule {
  /// - Throws: `ModelError` where the config's own sizes are against it.
  func check(_ sizes: DeclaredSizes, _ config: ConfigReader) throws {
    if let reason = refusal(of: Architecture(layers: [], sizes: sizes.sizes)) {
      throw ModelError("\(config.file): \(reason)")
    }
  }

  /// - Parameters:
  ///   - topK: experts of a token.
  ///   - key: the config key of it.
  static func enoughExperts(_ topK: Int, _ key: String) -> ShapeRule {
    ShapeRule([.numMoEExperts]) { sizes in
      sizes[.experts] >= topK ? nil : "a token goes to \(key) = \(topK) experts, so at least \(topK) have to stay"
    }
  }
}

extension ConfigReader {
  /// A size that some configs list for each layer, where it is the same in all.
  fileprivate func sizeOfEveryLayer(_ key: String, default fallback: Int?) throws -> Int {
    guard let list = object[key]?.array else { return try size(key, default: fallback) }
    guard let first = list.first?.int, first > 0, list.allSatisfy({ $0.int == first }) else {
      throw ModelError("\(file): \"\(key)\" is a list; only the same number for every layer is supported")
    }
    return first
  }
}

/// Which layers of a Qwen mixture have experts: `mlp_only_layers` have none, and of the others every
/// `decoder_sparse_step`-th.
struct SparseLayers: Sendable {
  private let dense: [Bool]
  private let isImplied: Bool

  init(_ config: ConfigReader) throws {
    let layers = try config.layerCount("num_hidden_layers")
    let step = try config.size("decoder_sparse_step", default: 1)
    var listed: Set<Int> = []
    if config.has("mlp_only_layers") {
      for entry in config.object["mlp_only_layers"]?.array ?? [.null] {
        guard let layer = entry.int, layer >= 0 else {
          throw ModelError("\(config.file): \"mlp_only_layers\" should be a list of layer numbers from 0 on")
        }
        listed.insert(layer)
      }
    }
    dense = (0..<layers).map { listed.contains($0) || ($0 + 1) % step != 0 }
    isImplied = step != 1
  }

  func isDense(_ layer: Int) -> Bool { dense[layer] }
  var hasDense: Bool { dense.contains(true) }

  /// Layer numbers follow the layers that are kept; a step that counted the dropped ones is spelled out.
  func edit(_ config: inout JSON.Object, kept: [Int]) {
    guard kept.count != dense.count, hasDense else { return }
    config["mlp_only_layers"] = .array(kept.indices.filter { dense[kept[$0]] }.map { .int($0) })
    if isImplied { config["decoder_sparse_step"] = .int(1) }
  }
}
