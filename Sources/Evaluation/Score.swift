/// What scoring says of one subject, question by question or row by row.
public struct ItemScores: Sendable, Equatable {
  /// Sums and weights of the items: 1 or 0 and 1 for a question; the loss over a row's predicted tokens, negated,
  /// and their number.
  public var sums: [Double]
  public var weights: [Double]

  public init(sums: [Double], weights: [Double]) {
    self.sums = sums
    self.weights = weights
  }

  /// Items that were scored: weight zero stands for those that were not.
  public var count: Int { weights.reduce(0) { $0 + ($1 > 0 ? 1 : 0) } }

  /// The score: the weighted mean. The higher the better.
  public var mean: Double { sums.reduce(0, +) / max(weights.reduce(0, +), .leastNormalMagnitude) }

  /// The standard error of the mean, items taken as independent (a ratio estimator where weights differ).
  public var standardError: Double { Self.error(of: sums, weights: weights, around: mean) }

  /// The standard error of this mean less another's over the items that both were scored on: what is noise when two are
  /// compared.
  public func pairedError(with other: ItemScores) -> Double {
    guard sums.count == other.sums.count else { return .infinity }
    let (own, their) = common(with: other)
    let differences = zip(own.sums, their.sums).map { $0 - $1 }
    return Self.error(of: differences, weights: own.weights, around: own.mean - their.mean)
  }

  /// Both on the items that both were scored on alone.
  public func common(with other: ItemScores) -> (own: ItemScores, other: ItemScores) {
    let shared = sums.indices.filter { weights[$0] > 0 && other.weights.indices.contains($0) && other.weights[$0] > 0 }
    func part(_ scores: ItemScores) -> ItemScores {
      ItemScores(sums: shared.map { scores.sums[$0] }, weights: shared.map { scores.weights[$0] })
    }
    return (part(self), part(other))
  }

  /// Takes over what another scored of the same items.
  public mutating func add(_ other: ItemScores) {
    for item in sums.indices where other.weights.indices.contains(item) && other.weights[item] > 0 {
      (sums[item], weights[item]) = (other.sums[item], other.weights[item])
    }
  }

  private static func error(of sums: [Double], weights: [Double], around mean: Double) -> Double {
    let count = Double(weights.reduce(0) { $0 + ($1 > 0 ? 1 : 0) })
    guard count > 1 else { return 0 }
    let residuals = zip(sums, weights).reduce(0.0) { sum, item in
      let residual = item.0 - mean * item.1
      return sum + residual * residual
    }
    return (residuals * count / (count - 1)).squareRoot() / weights.reduce(0, +)
  }
}
