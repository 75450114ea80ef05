import Messages
import Models

/// Why no point of a search space meets the targets, and which settings would let one.
struct Unreachable {
  private let model: ModelDescription
  private let settings: SearchSettings
  private let constraints: Constraints
  private let ranking: [Int]
  /// What is wrong, as a sentence.
  private let reason: String

  /// - Parameters:
  ///   - space: one without a point that fits.
  ///   - rule: why points of it are refused, where some are.
  init(
    _ model: ModelDescription, _ space: SearchSpace, _ settings: SearchSettings, _ constraints: Constraints,
    ranking: [Int], rule: String?
  ) {
    (self.model, self.settings, self.constraints, self.ranking) = (model, settings, constraints, ranking)
    let points = "no architecture of the search space (\(space.size ?? 0) points)"
    guard let missed = Self.missed(SearchWalk(model, space, settings, constraints, ranking: ranking), constraints)
    else {
      reason = "\(points) is one that the architecture's own loader takes: \(rule ?? "")."
      return
    }
    reason =
      missed.isEmpty
      ? "\(points) meets all targets at once, though each of them could be met alone."
      : "\(points) meets the target of "
        + missed.map { "\($0.limit): the smallest has \($0.least)" }.joined(separator: ", and that of ") + "."
  }

  var message: Message {
    if reaches(Self.widest(settings)) {
      let found = alone.isEmpty ? [together].compactMap(\.self) : alone
      if !found.isEmpty {
        return "\(reason) Within reach with \(found.joined(separator: ", or with ")); or raise the target"
      }
      return "\(reason) Allow more with \(Self.limits), or raise the target"
    }
    var open = settings
    open.skipped = []
    if !settings.skipped.isEmpty, reaches(Self.widest(open)) {
      return "\(reason) Prune what \(parameter: "hparams_to_skip") leaves alone, or raise the target"
    }
    if !settings.layerChoice.dropped.isEmpty {
      return "\(reason) Name more layers in \(parameter: "drop_layers"), which fixes num_layers, or raise the target"
    }
    open.layerChoice = LayerChoice()
    if !settings.layerChoice.kept.isEmpty, reaches(Self.widest(open)) {
      return "\(reason) Name fewer layers in \(parameter: "keep_layers"), or raise the target"
    }
    let missed = Self.missed(walk(Self.widest(settings)), constraints) ?? []
    let bounds =
      missed.isEmpty ? "" : ": the smallest that they allow has \(missed.map(\.least).joined(separator: " and "))"
    return "\(reason) No \(Self.limits) reach it\(bounds). Raise the target"
  }

  /// What limits a search.
  private static let limits: Message =
    """
    \(parameter: "ss_channel_divisor"), \(parameter: "max_width_pruning") and \(parameter: "max_depth_pruning")
    """

  private static func divisor(_ value: Int) -> Message { "\(parameter: "ss_channel_divisor") \(value)" }
  private static func width(_ value: Double) -> Message { "\(parameter: "max_width_pruning") \(value)" }
  private static func depth(_ value: Double) -> Message { "\(parameter: "max_depth_pruning") \(value)" }

  /// The targets that no point meets, and the least that any has; nil when rules refuse all points.
  private static func missed(
    _ walk: SearchWalk, _ constraints: Constraints
  ) -> [(limit: String, least: String)]? {
    var walk = walk
    guard walk.least(constraints.primaryMetric) != nil else { return nil }
    return Metric.allCases.compactMap { metric in
      guard let limit = constraints[metric], let least = walk.least(metric), metric.value(least) > limit else {
        return nil
      }
      return ("\(text(limit)) \(metric.unit)", "\(text(metric.value(least))) \(metric.unit)")
    }
  }

  /// Changes of one flag that suffice, each as small as possible.
  private var alone: [Message] {
    let divisor = divisors.first { reaches(with(divisor: $0)) }.map(Self.divisor)
    let width = Self.steps(above: settings.maxWidthPruning).first { reaches(with(width: $0)) }
      .map(Self.width)
    let depth = Self.steps(above: settings.maxDepthPruning).first { reaches(with(depth: $0)) }
      .map(Self.depth)
    return [divisor, width, depth].compactMap(\.self)
  }

  /// A change of several flags that suffices: the least pruning, by the coarsest divisor that makes it possible; fine
  /// divisors, which give shapes that run slowly, only where no others do.
  private var together: Message? {
    let widths = Self.steps(above: settings.maxWidthPruning)
    let depths = Self.steps(above: settings.maxDepthPruning)
    let coarse = divisors.filter { $0 >= 64 }
    let usual = divisors.filter { 8..<64 ~= $0 }
    for divisors in [[settings.channelDivisor] + coarse.map(Optional.some), usual, divisors.filter { $0 < 8 }] {
      for step in 0..<max(widths.count, depths.count) {
        let width = widths.isEmpty ? settings.maxWidthPruning : widths[min(step, widths.count - 1)]
        let depth = depths.isEmpty ? settings.maxDepthPruning : depths[min(step, depths.count - 1)]
        for divisor in divisors where reaches(with(divisor: divisor, width: width, depth: depth)) {
          let finer = divisor == settings.channelDivisor ? nil : divisor.map(Self.divisor)
          return [finer, Self.width(width), Self.depth(depth)].compactMap(\.self)
            .joined(separator: " ")
        }
      }
    }
    return nil
  }

  // MARK: Settings tried

  private var divisors: [Int] {
    [256, 128, 64, 32, 16, 8, 4, 2, 1].filter { $0 < settings.channelDivisor ?? .max }
  }

  private static func steps(above limit: Double) -> [Double] {
    (1...20).map { Double($0) / 20 }.filter { $0 > limit }
  }

  private func with(divisor: Int? = nil, width: Double? = nil, depth: Double? = nil) -> SearchSettings {
    var changed = settings
    if let divisor { changed.channelDivisor = divisor }
    if let width { changed.maxWidthPruning = width }
    if let depth { changed.maxDepthPruning = depth }
    return changed
  }

  private static func widest(_ settings: SearchSettings) -> SearchSettings {
    var widest = settings
    widest.channelDivisor = 1
    widest.maxWidthPruning = 1
    widest.maxDepthPruning = 1
    return widest
  }

  private func walk(_ settings: SearchSettings) -> SearchWalk {
    SearchWalk(model, SearchSpace(model, settings), settings, constraints, ranking: ranking)
  }

  private func reaches(_ settings: SearchSettings) -> Bool {
    var walk = walk(settings)
    return walk.reaches() ?? false
  }

  private static func text(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String((value * 100).rounded() / 100)
  }
}
