public import Execution
public import JSON
public import Models

/// `neg_kl`: the mean divergence from the unpruned model per predicted token, negated.
public struct NegativeDivergence: ScoreFunction {
  public static let form = "neg_kl"

  public init() {}

  public init?(name: String) {
    guard name == Self.form else { return nil }
  }

  public func task(_ sources: any TaskSources) throws -> any ItemTask {
    let (rows, madeOf) = try sources.rows()
    return DivergenceTask(try LanguageModeling(rows: rows), madeOf: [("score_function", Self.form)] + madeOf)
  }
}

/// The divergence KL(reference ‖ model) over rows of text, negated.
public struct DivergenceTask: ItemTask {
  private let text: LossTask
  /// Nil: the unpruned model itself.
  private let reference: Executor?

  /// - Parameters:
  ///   - reference: what the divergence is from, with the same vocabulary; nil for the unpruned model.
  ///   - madeOf: what the rows are made of, where that is asked for.
  ///   - rows: of token numbers.
  public init(
    _ rows: LanguageModeling, from reference: Executor? = nil, madeOf: [(name: String, value: String)] = []
  ) {
    text = LossTask(rows, madeOf: madeOf)
    self.reference = reference
  }

  public var unit: String { text.unit }
  public var count: Int { text.count }
  public var tokenCount: Int { text.tokenCount }
  public var longest: Int { text.longest }
  public var isShare: Bool { false }
  public var madeOf: [(name: String, value: String)] { text.madeOf }

  public func plan(_ executor: Executor, subjects: [Selection], items: [Int]?) -> WalkPlan {
    text.plan(executor, subjects: subjects, items: items)
  }

  public func score(
    _ executor: Executor, subjects: [Subject], items: [Int]?, partial: PartialScores,
    progress: (_ done: Int, _ total: Int) -> Void,
    answered: (_ subject: Int, _ item: Int, _ answer: JSON) throws -> Void
  ) throws -> [ItemScores] {
    try text.rows.negativeDivergence(
      executor, subjects: subjects, from: reference ?? executor, items: items, partial: partial, progress: progress)
  }
}
