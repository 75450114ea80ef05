public import Execution

/// Scores while a walk finds them, so that they can be saved with it and restored.
public final class PartialScores {
  /// Of each candidate, the sum of each item; 0 for those that are not scored yet.
  public private(set) var sums: [[Double]] = []
  /// Where the walk is saved. Released when scoring ends or fails, since it may hold these scores itself.
  public var recorder: (any WalkRecorder)?

  public init() {}

  func begin(candidates: Int, items: Int) {
    sums = Array(repeating: Array(repeating: 0, count: items), count: candidates)
  }

  func set(_ sum: Double, candidate: Int, item: Int) { sums[candidate][item] = sum }

  /// Takes what an earlier walk over the same items saved, once this one has begun.
  ///
  /// - Throws: `EvaluationError` when it was of other candidates or items.
  public func restore(_ sums: [[Double]]) throws {
    guard sums.map(\.count) == self.sums.map(\.count) else {
      throw EvaluationError("the saved scores are of other candidates or items")
    }
    self.sums = sums
  }

  func scores(weights: [Double]) -> [ItemScores] { sums.map { ItemScores(sums: $0, weights: weights) } }
}
