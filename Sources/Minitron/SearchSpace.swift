import Messages
public import Models

/// How finely and how far a search may cut.
public struct SearchSettings: Sendable, Equatable {
  /// Divisor of hidden_size and ffn sizes; nil: 256, and 512 for the ffn (256 in models with experts).
  public var channelDivisor: Int?
  public var maxWidthPruning = 0.40
  public var maxDepthPruning = 0.20
  public var skipped: Set<Hyperparameter> = []
  /// Layers that are chosen by hand.
  public var layerChoice = LayerChoice()
  public var topK = 10
  /// For memory: tokens and rows held.
  public var seqLength = 4096
  public var inferenceBatchSize = 1

  public init() {}
}

/// An architecture of the search space that meets the constraints.
public struct Candidate: Sendable, Equatable {
  public let config: ExportConfig
  public let metrics: Metrics

  public init(config: ExportConfig, metrics: Metrics) {
    self.config = config
    self.metrics = metrics
  }
}

/// The choices of each hyperparameter, formed as the reference forms them
/// (`mcore_minitron.py`, `_generate_search_space_combos`).
public struct SearchSpace: Sendable {
  public let choices: [(hyperparameter: Hyperparameter, values: [Int])]

  public init(_ model: ModelDescription, _ settings: SearchSettings) {
    choices = model.hyperparameters.compactMap { hyperparameter in
      let original = model.value(of: hyperparameter)
      let dropped = hyperparameter == .numLayers ? settings.layerChoice.dropped.layers(of: original).count : 0
      // Who says which layers go has said how many, however far a search may cut.
      if dropped > 0 { return (hyperparameter, [original - dropped]) }
      if settings.skipped.contains(hyperparameter) { return nil }
      guard let divisor = Self.divisor(of: hyperparameter, model, settings).map({ max($0, 1) }) else { return nil }
      // The multiples of the divisor, and the original value where it is none.
      let count = original / divisor + (original % divisor == 0 ? 0 : 1)
      if count <= 1 { return nil }
      let limit = hyperparameter.dimension == nil ? settings.maxDepthPruning : settings.maxWidthPruning
      // In double arithmetic and cut towards zero, like the reference: the rounding decides a choice.
      let first = min(max(Int((1 - limit) * Double(count)), 0), count - 1)
      let values = (first..<count).map { $0 < original / divisor ? ($0 + 1) * divisor : original }
      if hyperparameter != .numLayers { return (hyperparameter, values) }
      let fewest = model.fewestLayers(settings.layerChoice)
      return (hyperparameter, values.filter { $0 >= fewest })
    }
  }

  /// What choices are multiples of; nil for what is pruned by hand alone.
  private static func divisor(
    of hyperparameter: Hyperparameter, _ model: ModelDescription, _ settings: SearchSettings
  ) -> Int? {
    switch hyperparameter.facts.step {
    case nil: nil
    case .number(let number): number
    case .groups: model.groups(of: hyperparameter)
    case .channels(let usual, let withExperts):
      settings.channelDivisor ?? (model.hyperparameters.contains(.numMoEExperts) ? withExperts ?? usual : usual)
    }
  }

  /// The space of one point that this architecture is.
  public init(_ config: ExportConfig) {
    choices = config.entries.map { ($0.hyperparameter, [$0.value]) }
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
  /// Computes the metrics of the space's points, drops what exceeds a constraint, orders the rest by the primary metric,
  /// largest first (equal ones in the order of the product), and keeps the first `topK`.
  ///
  /// - Parameters:
  ///   - layerRanking: layer numbers (0-based), best first; nil: the last layers go first.
  ///   - forecast: what the best are chosen by, the least first; nil for the primary metric.
  ///   - progress: told now and then how many of the `size` points have been dealt with.
  /// - Throws: `ModelError` when there are more points than 64 bits count, or when none meets the constraints.
  public func search(
    _ model: ModelDescription, _ settings: SearchSettings, _ constraints: Constraints, layerRanking: [Int]?,
    forecast: Forecast? = nil, progress: @escaping (_ points: Int) -> Void = { _ in }
  ) throws -> SearchResult {
    guard let size else {
      throw ModelError(
        message: """
          the search space has more than 2^63 points; choose a larger \(parameter: "ss_channel_divisor"), smaller \
          \(parameter: "max_width_pruning") or \(parameter: "max_depth_pruning"), or skip a hyperparameter with \
          \(parameter: "hparams_to_skip")
          """)
    }
    let ranking = model.keepingOrder(layerRanking ?? Array(model.layers.indices), settings.layerChoice)
    var walk = SearchWalk(model, self, settings, constraints, ranking: ranking, forecast: forecast, progress: progress)
    let best = walk.run()
    func shape(_ config: ExportConfig) -> Architecture { config.architecture(of: model, ranking: ranking) }
    let rule = walk.lastRefused.flatMap { model.refusal(of: shape(point($0)))?.reason }
    if walk.fitting == 0 {
      throw ModelError(message: Unreachable(model, self, settings, constraints, ranking: ranking, rule: rule).message)
    }
    let counter = MetricsCounter(model, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
    return SearchResult(
      space: self, size: size, fitting: walk.fitting, refused: walk.refused, refusalRule: rule,
      candidates: best.map { number in
        let config = point(number)
        return Candidate(config: config, metrics: counter.metrics(of: shape(config)))
      })
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
