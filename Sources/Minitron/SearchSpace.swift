public import Models

/// How finely and how far a search may cut.
public struct SearchSettings: Sendable, Equatable {
  /// Divisor of hidden_size and ffn sizes; nil: 256, and 512 for the ffn (256 in models with experts).
  public var channelDivisor: Int?
  public var maxWidthPruning = 0.40
  public var maxDepthPruning = 0.20
  public var skipped: Set<Hyperparameter> = []
  public var topK = 10
  /// For memory: tokens and rows held.
  public var seqLength = 4096
  public var inferenceBatchSize = 1

  public init() {}
}

/// Upper bounds; a candidate that meets one exactly fits.
public struct Constraints: Sendable, Equatable {
  public var params: Double?
  public var activeParams: Double?
  public var memoryMB: Double?

  public init(params: Double? = nil, activeParams: Double? = nil, memoryMB: Double? = nil) {
    self.params = params
    self.activeParams = activeParams
    self.memoryMB = memoryMB
  }

  func allow(_ metrics: Metrics) -> Bool {
    params.map { Double(metrics.params) <= $0 } ?? true
      && activeParams.map { Double(metrics.activeParams) <= $0 } ?? true
      && memoryMB.map { metrics.memoryMB <= $0 } ?? true
  }

  /// What the primary metric counts.
  var primaryUnit: String {
    activeParams != nil ? "active parameters" : params != nil || memoryMB == nil ? "parameters" : "MiB"
  }

  /// The metric candidates are ordered by: active_params, else params, else memory_mb.
  func primary(_ metrics: Metrics) -> Double {
    if activeParams != nil { return Double(metrics.activeParams) }
    if params != nil || memoryMB == nil { return Double(metrics.params) }
    return metrics.memoryMB
  }
}

/// An architecture of the search space that meets the constraints.
public struct Candidate: Sendable, Equatable {
  public let config: ExportConfig
  public let metrics: Metrics
}

/// The choices of each hyperparameter, formed as the reference forms them
/// (`mcore_minitron.py`, `_generate_search_space_combos`).
public struct SearchSpace: Sendable {
  public let choices: [(hyperparameter: Hyperparameter, values: [Int])]

  public init(_ model: ModelDescription, _ settings: SearchSettings) {
    choices = model.hyperparameters.compactMap { hyperparameter in
      if settings.skipped.contains(hyperparameter) { return nil }
      let all = Self.choices(of: hyperparameter, model, settings)
      if all.count <= 1 { return nil }
      let limit = hyperparameter == .numLayers ? settings.maxDepthPruning : settings.maxWidthPruning
      // In double arithmetic and cut towards zero, like the reference: the rounding decides a choice.
      let first = min(max(Int((1 - limit) * Double(all.count)), 0), all.count - 1)
      return (hyperparameter, Array(all[first...]))
    }
  }

  /// Every choice before trimming, ascending: the multiples of the divisor, and the value itself.
  static func choices(of hyperparameter: Hyperparameter, _ model: ModelDescription, _ settings: SearchSettings)
    -> [Int]
  {
    let original = model.value(of: hyperparameter)
    let hasExperts = model.hyperparameters.contains(.numMoEExperts)
    let divisor =
      switch hyperparameter {
      case .hiddenSize: settings.channelDivisor ?? 256
      case .ffnHiddenSize, .moeFFNHiddenSize, .moeSharedExpertIntermediateSize:
        settings.channelDivisor ?? (hasExperts ? 256 : 512)
      case .numLayers: 2
      case .numAttentionHeads, .mambaNumHeads: model.groups(of: hyperparameter)
      case .mambaHeadDim, .numMoEExperts: 8
      }
    var values = Array(stride(from: divisor, through: original, by: max(divisor, 1)))
    if values.last != original { values.append(original) }
    return values
  }

  /// Points of the space; nil when there are more than 64 bits count.
  public var size: Int? {
    choices.reduce(1 as Int?) { product, choice in
      guard let product else { return nil }
      let (value, overflow) = product.multipliedReportingOverflow(by: choice.values.count)
      return overflow ? nil : value
    }
  }
}

/// The result of walking a search space.
public struct SearchResult: Sendable {
  public let space: SearchSpace
  /// Points of the space.
  public let size: Int
  /// Points that meet the constraints.
  public let fitting: Int
  /// Points left out because the architecture's loader refuses their shape, and its rule.
  public let refused: Int
  public let refusalRule: String?
  /// The best by the primary metric, at most `topK`.
  public let candidates: [Candidate]
}

extension SearchSpace {
  /// A space above this is refused: it would take minutes, and finer than any search needs.
  static let largest = 20_000_000

  /// Walks the space: computes every point's metrics, drops what exceeds a constraint, orders the rest by the
  /// primary metric, largest first (equal ones in the order of the walk), and keeps the first `topK`.
  ///
  /// - Parameter layerRanking: layer numbers (0-based), best first; nil: the last layers go first.
  /// - Throws: `ModelError` when the space is too large or empty, or when nothing fits.
  public func search(
    _ model: ModelDescription, _ settings: SearchSettings, _ constraints: Constraints, layerRanking: [Int]?
  ) throws -> SearchResult {
    guard let size, size <= Self.largest else {
      throw ModelError(
        "the search space has more than \(Self.largest) points; choose a larger --ss_channel_divisor, smaller "
          + "--max_width_pruning or --max_depth_pruning, or skip a hyperparameter with --hparams_to_skip")
    }
    let counter = MetricsCounter(model, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
    let ranking = model.keepingOrder(layerRanking ?? Array(model.layers.indices))
    var kept: [(order: Int, primary: Double, candidate: Candidate)] = []
    var (fitting, refused) = (0, 0)
    var rule: String?
    var smallest: Double?
    for order in 0..<size {
      let config = point(order)
      let sizes = config.sizes(from: model.sizes)
      if let reason = model.refusal(sizes) {
        refused += 1
        rule = reason
        continue
      }
      let metrics = counter.metrics(sizes: sizes, layers: ranking.prefix(config[.numLayers] ?? ranking.count))
      let primary = constraints.primary(metrics)
      smallest = min(smallest ?? primary, primary)
      guard constraints.allow(metrics) else { continue }
      fitting += 1
      // Only the best topK are held: insertion keeps the order of the walk among equals.
      guard kept.count < settings.topK || (kept.last.map { primary > $0.primary } ?? true) else { continue }
      let at = kept.firstIndex { $0.primary < primary } ?? kept.count
      kept.insert((order, primary, Candidate(config: config, metrics: metrics)), at: at)
      if kept.count > settings.topK { kept.removeLast() }
    }
    if fitting == 0, constraints != Constraints() {
      let unit = constraints.primaryUnit
      let least = smallest.map { " The smallest architecture of the search space has \(Self.text($0)) \(unit)." } ?? ""
      throw ModelError(
        "no architecture of the search space (\(size) points) meets the target.\(least) Raise the target, or allow "
          + "more with --max_width_pruning and --max_depth_pruning")
    }
    return SearchResult(
      space: self, size: size, fitting: fitting, refused: refused, refusalRule: rule,
      candidates: kept.map(\.candidate))
  }

  private static func text(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
  }

  /// Point `order` of the product: the last hyperparameter varies fastest.
  private func point(_ order: Int) -> ExportConfig {
    var rest = order
    var pairs: [(Hyperparameter, Int)] = []
    for choice in choices.reversed() {
      pairs.append((choice.hyperparameter, choice.values[rest % choice.values.count]))
      rest /= choice.values.count
    }
    return ExportConfig(pairs.reversed())
  }
}
