import Models

/// What decides which points of a search space are scored.
public enum Prefilter: String, Sendable, CaseIterable, Codable {
  /// The primary metric, largest first, as the reference does it.
  case size
  /// A forecast of the divergence from the original, least first.
  case kl
}

/// A forecast of what a point of a search space costs: what each of its cuts costs alone, added up.
///
/// On the bundled model its order and that of measured divergences have a rank correlation of 0.95 and more (Docs/recover.md).
public struct Forecast: Sendable, Equatable {
  /// For each hyperparameter of the space, for each of its choices, the cost of that choice with all others whole.
  public let costs: [[Double]]

  /// - Parameter costs: as many lists as the space has hyperparameters, as long as their choices.
  public init(_ costs: [[Double]]) { self.costs = costs }

  /// Choices of a hyperparameter whose costs are measured: of many these, evenly from the first to the last.
  public static func measured(of count: Int, atMost limit: Int = 12) -> [Int] {
    guard count > limit else { return Array(0..<count) }
    return (0..<limit).map { $0 * (count - 1) / (limit - 1) }
  }

  /// Costs of all choices from those of some: between two measured ones on a straight line, outside as the nearest.
  ///
  /// - Parameters:
  ///   - values: of all choices, ascending.
  ///   - known: costs by number of the choice.
  public static func interpolated(_ values: [Int], _ known: [Int: Double]) -> [Double] {
    let numbers = known.keys.sorted()
    return values.indices.map { number in
      if let cost = known[number] { return cost }
      let (below, above) = (numbers.last { $0 < number }, numbers.first { $0 > number })
      guard let below, let above, let low = known[below], let high = known[above] else {
        return (below ?? above).flatMap { known[$0] } ?? 0
      }
      let share = Double(values[number] - values[below]) / Double(values[above] - values[below])
      return low + (high - low) * share
    }
  }

  /// The forecast of a point; nil where it is not of this space.
  public func cost(of config: ExportConfig, in space: SearchSpace) -> Double? {
    var sum = 0.0
    for (choice, costs) in zip(space.choices, costs) {
      guard let value = config[choice.hyperparameter], let number = choice.values.firstIndex(of: value) else {
        return nil
      }
      sum += costs[number]
    }
    return sum
  }
}

/// What the best points of a walk are chosen by: the larger the better.
struct WalkGoal {
  private let costs: [[Double]]
  /// By level: the least that all levels from it on cost together.
  private let rest: [Double]

  /// - Parameter levels: of the walk.
  init(_ forecast: Forecast, _ levels: [WalkLevel]) {
    costs = levels.map { level in level.position.map { forecast.costs[$0] } ?? [0] }
    var rest = [0.0]
    for costs in costs.reversed() { rest.insert((rest.first ?? 0) + (costs.min() ?? 0), at: 0) }
    self.rest = rest
  }

  func cost(_ depth: Int, _ choice: Int) -> Double { costs[depth][choice] }

  /// No point has more that shares choices which cost so much on the levels before.
  func bound(_ depth: Int, _ cost: Double) -> Double { -(cost + rest[depth]) }
}
