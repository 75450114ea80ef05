public import Models

/// What is counted of an architecture, and what targets limit.
public enum Metric: Int, Sendable, CaseIterable {
  /// Weights a checkpoint would hold; a tied head counts once.
  case params
  /// Weights one token uses.
  case activeParams
  /// Weights (2 bytes each), key-value caches and states as they are held: a sliding window's tokens, a state's own type.
  case memory
  /// The same as Model-Optimizer counts it: caches of all tokens, 2 bytes an element. Nothing is limited by it.
  case referenceMemory

  /// A metric's row: everything that is particular to it.
  struct Facts {
    /// In JSON and the names of targets.
    let name: String
    /// What a value counts, for messages.
    let unit: String
    /// Of experts, only those that a token goes to.
    let isPerToken: Bool
    let caches: Caches
    /// Of a weight's element; nil where elements themselves are counted.
    let bytes: Int?

    enum Caches { case none, held, ofTheReference }
  }

  var facts: Facts {
    switch self {
    case .params: Facts(name: "params", unit: "parameters", isPerToken: false, caches: .none, bytes: nil)
    case .activeParams:
      Facts(name: "active_params", unit: "active parameters", isPerToken: true, caches: .none, bytes: nil)
    case .memory: Facts(name: "memory_mb", unit: "MiB", isPerToken: false, caches: .held, bytes: 2)
    case .referenceMemory:
      Facts(name: "memory_mb_reference", unit: "MiB", isPerToken: false, caches: .ofTheReference, bytes: 2)
    }
  }

  public var name: String { facts.name }
  var unit: String { facts.unit }

  /// A count (of elements, or of bytes) in the unit of the metric's target.
  func value(_ count: Int) -> Double { facts.bytes == nil ? Double(count) : Double(count) / 1_048_576 }

  /// What one element of a weight counts.
  var weightUnit: Int { facts.bytes ?? 1 }

  /// Bytes that a block keeps of sequences, as the metric counts them.
  func cacheBytes(_ block: any Block, rows: Int, tokens: Int, sizes: Sizes) -> Int {
    switch facts.caches {
    case .none: 0
    case .held: block.cacheBytes(rows: rows, tokens: tokens, sizes: sizes)
    case .ofTheReference: 2 * block.cacheElements(rows: rows, tokens: tokens, sizes: sizes)
    }
  }

  /// Which of several limited metrics candidates are ordered by: the first of these.
  static let byPriority: [Metric] = [.activeParams, .params, .memory]
}

/// What a pruned model would weigh, computed from the table of weights alone.
public struct Metrics: Sendable, Equatable {
  /// Elements or bytes, by metric.
  private let counts: [Int]

  init(_ count: (Metric) -> Int) { counts = Metric.allCases.map(count) }

  /// The value of a metric in its unit.
  public subscript(metric: Metric) -> Double { metric.value(counts[metric.rawValue]) }

  /// Weights a checkpoint would hold; a tied head counts once.
  public var params: Int { counts[Metric.params.rawValue] }
  /// Weights one token uses.
  public var activeParams: Int { counts[Metric.activeParams.rawValue] }
  /// MiB of weights (2 bytes each), key-value caches and states as they are held.
  public var memoryMB: Double { self[.memory] }
  /// MiB as Model-Optimizer counts them.
  public var referenceMemoryMB: Double { self[.referenceMemory] }
}

/// Upper bounds of metrics; a candidate that meets one exactly fits.
public struct Constraints: Sendable, Equatable {
  private var limits: [Metric: Double]

  /// - Parameter memoryMB: MiB of weights and caches.
  public init(params: Double? = nil, activeParams: Double? = nil, memoryMB: Double? = nil) {
    limits = [:]
    self[.params] = params
    self[.activeParams] = activeParams
    self[.memory] = memoryMB
  }

  public subscript(metric: Metric) -> Double? {
    get { limits[metric] }
    set { limits[metric] = newValue }
  }

  public var params: Double? {
    get { self[.params] }
    set { self[.params] = newValue }
  }
  public var activeParams: Double? {
    get { self[.activeParams] }
    set { self[.activeParams] = newValue }
  }
  /// MiB.
  public var memoryMB: Double? {
    get { self[.memory] }
    set { self[.memory] = newValue }
  }

  /// The metric candidates are ordered by: active_params, else params, else memory_mb.
  var primaryMetric: Metric { Metric.byPriority.first { self[$0] != nil } ?? .params }
}

/// Counts architectures of one model quickly: layers of the same kind are counted once.
public struct MetricsCounter: Sendable {
  private let model: ModelDescription
  /// A layer (0-based) of each kind.
  private let kinds: [Int]
  private let kindOfLayer: [Int]
  private let rows: Int
  private let tokens: Int

  /// - Parameters:
  ///   - rows: sequences held at once (`--inference_batch_size`).
  ///   - tokens: their length (`--seq_length`).
  public init(_ model: ModelDescription, rows: Int, tokens: Int) {
    self.model = model
    self.rows = rows
    self.tokens = tokens
    (kinds, kindOfLayer) = model.kindsOfLayers(rows: rows, tokens: tokens)
  }

  /// - Parameter architecture: its layers in any order.
  public func metrics(of architecture: Architecture) -> Metrics {
    func count(_ weights: some Sequence<Weight>) -> Int {
      weights.reduce(0) { $0 + $1.elementCount(architecture.sizes) }
    }
    let (outer, further) = (count(model.outerWeights), count(model.predictionWeights.lazy.map(\.weight)))
    let perKind = kinds.map { counts($0, architecture.sizes.replacing(model.layerSizes[$0])) }
    var totals = Metric.allCases.map { $0.weightUnit * (outer + ($0.facts.isPerToken ? 0 : further)) }
    for layer in architecture.layers {
      let own =
        architecture.layerSizes[layer] == model.layerSizes[layer]
        ? perKind[kindOfLayer[layer]] : counts(layer, architecture.sizes(inLayer: layer))
      for metric in Metric.allCases { totals[metric.rawValue] += own[metric.rawValue] }
    }
    return Metrics { totals[$0.rawValue] }
  }

  /// A layer's elements or bytes, by metric.
  private func counts(_ layer: Int, _ sizes: Sizes) -> [Int] {
    let layer = model.layers[layer]
    let all = layer.weights.reduce(0) { $0 + $1.elementCount(sizes) }
    let blocks = layer.sublayers.map(\.block)
    let idle = blocks.reduce(0) { sum, block in
      sum + block.weights.reduce(0) { $0 + $1.elementCount(sizes) } - block.activeElements(sizes: sizes)
    }
    return Metric.allCases.map { metric in
      blocks.reduce(metric.weightUnit * (all - (metric.facts.isPerToken ? idle : 0))) {
        $0 + metric.cacheBytes($1, rows: rows, tokens: tokens, sizes: sizes)
      }
    }
  }
}

extension ModelDescription {
  private struct Kind: Hashable {
    let weights: [Weight]
    let sizes: Sizes?
    let cacheBytes: Int
  }

  /// Layers with the same weights and sizes that keep as much of so many sequences are of one kind: a layer (0-based) of each kind,
  /// and for each layer the number of its kind.
  func kindsOfLayers(rows: Int, tokens: Int) -> (kinds: [Int], kindOfLayer: [Int]) {
    var numbers: [Kind: Int] = [:]
    var kinds: [Int] = []
    let kindOfLayer = layers.enumerated().map { number, layer in
      let sizes = sizes(inLayer: number)
      let cached = layer.sublayers.reduce(0) { $0 + $1.block.cacheBytes(rows: rows, tokens: tokens, sizes: sizes) }
      let kind = Kind(weights: layer.weights, sizes: layerSizes[number], cacheBytes: cached)
      if let known = numbers[kind] { return known }
      numbers[kind] = kinds.count
      kinds.append(number)
      return kinds.count - 1
    }
    return (kinds, kindOfLayer)
  }

  /// Whether what is limited is the same whichever layers are kept.
  ///
  /// - Parameters:
  ///   - settings: whose rows and tokens memory is counted for.
  ///   - constraints: what is limited.
  public func layersWeighTheSame(_ settings: SearchSettings, _ constraints: Constraints) -> Bool {
    // Without a target of memory what layers keep does not matter.
    let rows = constraints[.memory] == nil ? 0 : settings.inferenceBatchSize
    return kindsOfLayers(rows: rows, tokens: settings.seqLength).kinds.count <= 1
  }
}
