public import Execution
public import JSON
public import Models

/// `neg_loss`: the mean cross-entropy per predicted token, negated.
public struct NegativeLoss: ScoreFunction {
  public static let form = "neg_loss"

  public init() {}

  public init?(name: String) {
    guard name == Self.form else { return nil }
  }

  public func task(_ sources: any TaskSources) throws -> any ItemTask {
    let (rows, madeOf) = try sources.rows()
    return LossTask(try LanguageModeling(rows: rows), madeOf: [("score_function", Self.form)] + madeOf)
  }
}

/// The loss over rows of text, negated.
public struct LossTask: ItemTask {
  public let rows: LanguageModeling
  public let madeOf: [(name: String, value: String)]

  /// - Parameters:
  ///   - madeOf: what the rows are made of, where that is asked for.
  ///   - rows: of token numbers.
  public init(_ rows: LanguageModeling, madeOf: [(name: String, value: String)] = []) {
    self.rows = rows
    self.madeOf = madeOf
  }

  public var unit: String { "rows" }
  public var count: Int { rows.batches.count }
  public var tokenCount: Int { rows.batches.reduce(0) { $0 + $1.tokenCount } }
  public var longest: Int { rows.batches.map(\.tokenCount).max() ?? 0 }
  public var isShare: Bool { false }

  public func plan(_ executor: Executor, subjects: [Selection], items: [Int]?) -> WalkPlan {
    rows.plan(executor, subjects: subjects, items: items)
  }

  public func score(
    _ executor: Executor, subjects: [Subject], items: [Int]?, partial: PartialScores,
    progress: (_ done: Int, _ total: Int) -> Void,
    answered: (_ subject: Int, _ item: Int, _ answer: JSON) throws -> Void
  ) throws -> [ItemScores] {
    try rows.negativeLoss(executor, subjects: subjects, items: items, partial: partial, progress: progress)
  }
}
