import Checkpoint
public import JSON

/// One residual branch of a layer: `h + scale × postNorm(block(norm(h)))`, norms and scale optional.
public struct Sublayer: Sendable {
  public let norm: Norm?
  public let block: any Block
  public let postNorm: Norm?
  /// A factor on what the branch adds (Granite); nil for one.
  public let residualScale: Double?
  /// The branch stands beside the one before it: it reads the same, and what both give goes through this norm together before it
  /// is added (Gemma 4's mixtures); nil for a branch by itself.
  public let jointNorm: Norm?
  /// Whether what it reads counts for hidden_size: mixers and MLPs do.
  public let isRanked: Bool

  public init(
    norm: Norm?, block: any Block, postNorm: Norm? = nil, residualScale: Double? = nil, jointNorm: Norm? = nil,
    isRanked: Bool = true
  ) {
    self.norm = norm
    self.block = block
    self.postNorm = postNorm
    self.residualScale = residualScale
    self.jointNorm = jointNorm
    self.isRanked = isRanked
  }

  /// All norms.
  public var norms: [Norm] { [norm, postNorm, jointNorm].compactMap { $0 } }

  public var weights: [Weight] {
    (norm?.weights ?? []) + block.weights + (postNorm?.weights ?? []) + (jointNorm?.weights ?? [])
  }
}

/// One layer: its residual branches in order.
public struct LayerDescription: Sendable {
  public let sublayers: [Sublayer]
  /// All branches read the layer's input (GPT-NeoX); otherwise each reads what the ones before it left.
  public let isParallel: Bool
  /// `[1]`: what the residual stream is multiplied by after the layer (Gemma 4); nil for nothing.
  public let scalar: Weight?
  /// What its heads are grouped by.
  public let keyHeads: Dimension
  /// Keys and values of layers before it, or its own, that lie beside the residual stream as it goes in and comes out, by the
  /// layers (0-based) that made them: the channels of both.
  public internal(set) var incoming: [KeyRide] = [], outgoing: [KeyRide] = []

  public init(
    _ sublayers: [Sublayer], isParallel: Bool = false, scalar: Weight? = nil, keyHeads: Dimension = .kvHeads
  ) {
    self.sublayers = sublayers
    self.isParallel = isParallel
    self.scalar = scalar
    self.keyHeads = keyHeads
  }

  public var weights: [Weight] {
    guard isParallel else { return sublayers.flatMap(\.weights) + (scalar.map { [$0] } ?? []) }
    // Branches side by side may read one norm.
    var seen: Set<Weight> = []
    return sublayers.flatMap(\.weights).filter { seen.insert($0).inserted }
  }
  /// Channels that lie beside the residual stream after it.
  public var lentChannels: Int { outgoing.reduce(0) { $0 + $1.channels } }
  /// Those of routed experts.
  public var expertWeights: [Weight] { sublayers.flatMap(\.block.expertWeights) }

  /// Whether an axis of one of its weights carries a hyperparameter.
  public func carries(_ hyperparameter: Hyperparameter) -> Bool {
    weights.contains { $0.axes.contains { $0.hyperparameters.contains(hyperparameter) } }
  }
}

/// A model as its family describes it: blocks, weights with axes, sizes and the config fields that hold them.
public struct ModelDescription: Sendable {
  /// `model_type` of the config.
  public private(set) var family: String
  /// The part of the config that describes it: all of it, or a section of a larger model's.
  public private(set) var config: JSON.Object
  /// The whole config, and where in it that part is.
  private var root: JSON.Object
  private let path: [String]
  public private(set) var sizes: Sizes
  /// By layer (0-based) the sizes that are its own, where layers are unlike (Nemotron-NAS).
  public let layerSizes: [Int: Sizes]
  public let embedding: Weight
  public internal(set) var layers: [LayerDescription]
  public let finalNorm: Norm
  /// The output head, `[vocab, hidden]`; nil when it is tied to the embedding.
  public var head: Weight? { isTied ? nil : output }
  /// Whether the embedding is the output head, too.
  public private(set) var isTied: Bool
  private var output: Weight
  /// Names that checkpoints of this model may have besides those of its weights.
  public private(set) var names: TensorNames
  /// Config keys that hold a dimension's size, where this architecture keeps them.
  private let fields: [(key: String, dimension: Dimension)]
  /// Config keys whose value follows from several sizes.
  public let derivedFields: [(key: String, value: @Sendable (Sizes) -> Int)]
  /// Parts of a checkpoint that are left out: what their tensors' names begin with, and the line that says so.
  public let dropped: [(prefix: String, note: String)]
  /// The config key of the number of layers.
  public let layersField: String
  /// Further edits of the config for the layers that are kept (original, 0-based), after the fields are written.
  public let editConfig: @Sendable (inout JSON.Object, _ keptLayers: [Int]) -> Void
  /// Writes what each layer that is kept has of its own into the config; nil where a config holds one size for all layers.
  public var writeLayers: (@Sendable (inout JSON.Object, Architecture) throws -> Void)?
  public let scales: OuterScales
  /// Hyperparameters that stand in axes and yet cannot change in this architecture.
  public internal(set) var fixed: Set<Hyperparameter>
  /// A sequence that grows beyond so many tokens has the keys and values before it computed anew, once: they were rotated
  /// for a short sequence. nil where `transformers` keeps them as they are.
  public var recomputesBeyond: Int?
  /// Whether the model computes badly on text that does not begin with its BOS token.
  public var wantsBOS = false
  /// Whether `transformers` has classes for models of this type; others come with Python code of their own.
  public var isNative = true
  /// The config key that says whether the head is the embedding.
  public var tieField = "tie_word_embeddings"
  /// What is added to the logits, `[vocab]`.
  public var headBias: Weight?
  /// A learned vector for each position, added to the embeddings: `[positions, hidden]`. Sequences can be no longer.
  public var positions: Weight?
  /// A norm without a weight over embeddings before the first layer.
  public var embeddingNorm: Norm?
  /// What each layer gets of each token besides the residual stream; nil for most.
  public var layerInputs: LayerInputs?
  /// Layers are kept or dropped in whole stretches of so many, where the config tells kinds of layers apart by their numbers; 1
  /// where each goes by itself.
  public var layerStretch = 1
  /// Why no config says that these layers (original, 0-based, ascending) are left; nil where any may be.
  public var refusesLayers: (@Sendable ([Int]) -> String?)?
  /// Layers (0-based) that are kept whatever their rank, and why.
  public var required: (layers: Set<Int>, reason: String) = ([], "")
  /// Weights outside the layers that nothing here computes with and that have axes of this model, such as the projection
  /// of a vision tower's outputs into the hidden size: pruned with the rest.
  public var others: [Weight] = []
  /// Fields of the whole config, by the keys that lead to them, that hold a size as well: what a vision tower's outputs have to
  /// be as wide as.
  private var outerFields: [(path: [String], dimension: Dimension)] = []
  /// Dimensions outside the layers that are as large as another, and their channels, those first that are kept first.
  public var followers: [Dimension: [Int]] = [:]
  /// What the names of tensors begin with that are carried along unchanged: a vision tower beside the language model.
  public var carriedPrefixes: [String] = []
  /// Modules after the last layer that predict further tokens, where the family knows them, and whether they are kept.
  public var prediction: PredictionModules?
  public internal(set) var keepsPrediction = false
  /// What shapes have to obey: first what the architecture's own loader wants.
  public var shapeRules: [ShapeRule]

  public init(
    family: String, declared: DeclaredSizes, embedding: Weight, layers: [LayerDescription], finalNorm: Norm,
    isTied: Bool, names: TensorNames, derivedFields: [(key: String, value: @Sendable (Sizes) -> Int)] = [],
    dropped: [(prefix: String, note: String)] = [], layersField: String = "num_hidden_layers",
    scales: OuterScales = OuterScales(), fixed: Set<Hyperparameter> = [],
    editConfig: @escaping @Sendable (inout JSON.Object, [Int]) -> Void = { _, _ in },
    shapeRules: [ShapeRule] = []
  ) {
    self.family = family
    config = declared.original.object
    root = declared.original.root
    path = declared.original.path
    sizes = declared.sizes
    layerSizes = declared.layers
    self.embedding = embedding
    self.layers = layers
    self.finalNorm = finalNorm
    self.isTied = isTied
    self.names = names
    output = Weight(names.heads[0], embedding.axes)
    fields = declared.fields
    self.derivedFields = derivedFields
    self.dropped = dropped
    self.layersField = layersField
    self.scales = scales
    self.fixed = fixed
    self.editConfig = editConfig
    self.shapeRules = shapeRules
  }

  /// The same model with another size besides, one that weights outside the layers have.
  public func withSize(_ size: Int, of dimension: Dimension) -> ModelDescription {
    var description = self
    description.sizes[dimension] = size
    return description
  }

  /// The same model as a part of a larger one.
  ///
  /// - Parameters:
  ///   - family: the larger model's.
  ///   - names: under which the tensors of both may be found.
  ///   - isTied: whether the embedding is the output head by the larger model's config.
  ///   - fields: those of the whole config that hold a size of this model.
  func inside(
    _ family: String, names: TensorNames, isTied: Bool, fields: [(path: [String], dimension: Dimension)]
  ) -> ModelDescription {
    var description = self
    (description.family, description.names, description.isTied) = (family, names, isTied)
    description.output = Weight(names.heads[0], output.axes)
    description.outerFields = fields
    return description
  }

  /// The same model with the head under another of its names.
  func withHead(named name: String) -> ModelDescription {
    var description = self
    description.output = Weight(name, output.axes)
    return description
  }

  /// The same model with a head of its own, and a config that says so.
  func untied() -> ModelDescription {
    var description = self
    description.isTied = false
    description.config[tieField] = .bool(false)
    description.root[tieField] = .bool(false)
    return description
  }

  /// Weights outside the layers, in the order in which they are written.
  public var outerWeights: [Weight] {
    [embedding] + [positions].compactMap { $0 } + finalNorm.weights + [head, headBias].compactMap { $0 } + others
      + (layerInputs?.weights ?? [])
  }

  /// Every tensor of a checkpoint of this model in a shape (nil: as it is): name and shape, in order.
  public func tensors(of architecture: Architecture? = nil) -> [(name: String, shape: [Int])] {
    let architecture = architecture ?? Architecture(self)
    let sizes = architecture.sizes
    var tensors: [(name: String, shape: [Int])] = []
    for (position, original) in architecture.layers.enumerated() {
      let sizes = architecture.sizes(inLayer: original)
      tensors += layers[original].weights.flatMap { $0.tensors(layer: position, sizes: sizes) }
    }
    let outer = outerWeights.map { (name: $0.name, shape: $0.shape(sizes)) }
    let further = predictionWeights.flatMap { $0.tensors(layer: architecture.layers.count + $1, sizes: sizes) }
    return outer.prefix(1) + tensors + outer.dropFirst() + further
  }

  /// The whole config as it is.
  public var wholeConfig: JSON.Object { root.replacing(config, at: path[...]) }

  /// The config of the pruned model, as a whole: unknown keys are kept as they are, every changed size is written.
  ///
  /// - Throws: `ModelError` for layers of different sizes, which configs of this family cannot say.
  public func prunedConfig(for architecture: Architecture) throws -> JSON.Object {
    guard writeLayers != nil || architecture.layerSizes.isEmpty else {
      throw ModelError("a config of a \(family) model holds one size for all layers: they cannot be cut differently")
    }
    let (kept, changed) = (architecture.layers, architecture.sizes)
    var config = self.config
    for (key, dimension) in fields {
      let value = changed[dimension]
      // A key that is absent had its default or was derived from others: say it outright once they change.
      if config[key]?.int != value, config[key] != nil || changed != sizes { config[key] = .int(value) }
    }
    for (key, value) in derivedFields {
      let now = value(changed)
      if config[key]?.int != now, config[key] != nil || value(sizes) != now { config[key] = .int(now) }
    }
    if kept.count != layers.count || config[layersField] == nil { config[layersField] = .int(kept.count) }
    if !keepsPrediction, let field = prediction?.field, config[field] != nil { config[field] = .int(0) }
    editConfig(&config, kept)
    try writeLayers?(&config, architecture)
    shortenLists(&config, keeping: kept)
    var whole = root.replacing(config, at: path[...])
    for (path, dimension) in outerFields where changed[dimension] != sizes[dimension] {
      whole = whole.setting(.int(changed[dimension]), at: path[...])
    }
    return Quantisation.removed(from: whole)
  }
}
