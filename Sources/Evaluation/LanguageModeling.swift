public import Execution
public import Models
import Torch

// Shapes: B rows, S tokens, H hidden, M positions, V vocabulary.

/// Loss and divergence over rows of text.
public struct LanguageModeling: Sendable {
  public let batches: [TokenBatch]

  /// - Throws: `EvaluationError` when no row has two tokens: nothing would be predicted.
  public init(rows: [[Int32]]) throws {
    let usable = rows.filter { $0.count > 1 }
    guard !usable.isEmpty else {
      throw EvaluationError("there is no text to evaluate on: every row is shorter than two tokens")
    }
    batches = usable.map { TokenBatch([$0]) }
  }

  /// What evaluating these rows (nil: all) will read and hold.
  public func plan(_ executor: Executor, subjects: [Selection], items: [Int]? = nil) -> WalkPlan {
    executor.plan((items ?? Array(batches.indices)).map { batches[$0] }, subjects: subjects)
  }

  /// Logits held at once, in bytes of float32.
  private static let logitBytes = 128 << 20

  private func positions(vocabulary: Int, count: Int) -> [Range<Int>] {
    let step = max(1, Self.logitBytes / max(4 * vocabulary, 1))
    return stride(from: 0, to: count, by: step).map { $0..<min($0 + step, count) }
  }

  /// Cross-entropy of each next token, negated: sums and numbers of predicted tokens, row by row.
  ///
  /// - Parameters:
  ///   - items: numbers of rows; nil for all. Others have weight zero.
  ///   - partial: has the scores as they are found, and says where to save them.
  ///   - executor: walks the model.
  ///   - progress: called with the work done and all of it.
  ///   - subjects: what is kept of the model, one for each candidate.
  public func negativeLoss(
    _ executor: Executor, subjects: [Subject], items: [Int]? = nil, partial: PartialScores = PartialScores(),
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> [ItemScores] {
    try walk(executor, subjects: subjects, items: items, partial: partial, progress: progress) {
      _, _, hidden, head, row, range in
      let targets = try Tensor(range.map { Int64(row[$0 + 1]) }, shape: [range.count, 1]).to(device: hidden.device)
      return try head.logits(hidden).logSoftmax(dim: 1).gather(dim: 1, index: targets).sum(dims: [0, 1]).item()
    }
  }

  /// KL(reference ‖ subject) at each predicted position, negated, row by row.
  ///
  /// - Parameters:
  ///   - reference: the unpruned model, run over the same rows first; its final hidden states are kept.
  ///   - items: numbers of rows; nil for all. Others have weight zero.
  ///   - partial: has the scores as they are found, and says where to save them.
  ///   - subjects: what is kept of the model, one for each candidate.
  ///   - executor: walks the model.
  ///   - progress: called with the work done and all of it.
  public func negativeDivergence(
    _ executor: Executor, subjects: [Subject], from reference: Executor, items: [Int]? = nil,
    partial: PartialScores = PartialScores(), progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> [ItemScores] {
    let vocabulary = reference.weights.model.description.sizes[.vocabulary]
    guard vocabulary == executor.weights.model.description.sizes[.vocabulary] else {
      throw EvaluationError("the two models have vocabularies of different sizes; their divergence means nothing")
    }
    let whole = Selection(all: reference.weights.model.description)
    var known: [Int: Tensor] = [:]
    var referenceHead: OutputHead?
    return try walk(
      executor, subjects: subjects, items: items, partial: partial, progress: progress,
      begin: { first, chunk in
        known = [:]
        let keep: Executor.Finish = { _, batch, hidden, head in
          known[first + batch] = try hidden.select(dim: 0, index: 0)
          referenceHead = referenceHead ?? head
        }
        try reference.run(chunk, subjects: [whole], finish: keep)
      }
    ) { _, batch, hidden, head, _, range in
      guard let states = known[batch], let referenceHead else { return 0 }
      let truth = try referenceHead.logits(states.narrow(dim: 0, start: range.lowerBound, length: range.count))
      return try Self.negativeDivergence(head.logits(hidden), from: truth)
    }
  }

  /// The same from the whole model, which walks along: what subjects share with it is computed once.
  ///
  /// - Parameters:
  ///   - partial: has the scores as they are found, those of the whole model (zeros) before those of the subjects.
  ///   - subjects: parts of the model, of its layers and nothing else.
  ///   - executor: walks the model.
  ///   - progress: called with the work done and all of it.
  public func negativeDivergence(
    _ executor: Executor, ofParts subjects: [Selection], partial: PartialScores = PartialScores(),
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> [ItemScores] {
    var known: [Int: [Range<Int>: Tensor]] = [:]
    return try Array(
      walk(
        executor, subjects: Self.withWhole(executor, subjects).map { Subject($0) }, items: nil, partial: partial,
        progress: progress,
        begin: { _, _ in known = [:] }
      ) { subject, batch, hidden, head, _, range in
        // For each batch it comes before all others.
        if subject == 0 {
          known[batch, default: [:]][range] = hidden
          return 0
        }
        guard let states = known[batch]?[range] else { return 0 }
        return try Self.negativeDivergence(head.logits(hidden), from: head.logits(states))
      }.dropFirst())
  }

  /// What that walk will read and hold.
  public func plan(_ executor: Executor, ofParts subjects: [Selection]) -> WalkPlan {
    plan(executor, subjects: Self.withWhole(executor, subjects))
  }

  private static func withWhole(_ executor: Executor, _ subjects: [Selection]) -> [Selection] {
    [Selection(all: executor.weights.model.description)] + subjects
  }

  /// Of logits `[M, V]`, summed over positions.
  private static func negativeDivergence(_ guess: Tensor, from truth: Tensor) throws -> Double {
    let (truth, guess) = (try truth.logSoftmax(dim: 1), try guess.logSoftmax(dim: 1))
    return try -truth.exp().multiplied(by: truth.subtracting(guess)).sum(dims: [0, 1]).item()
  }

  /// Walks all rows, and sums `value` over slices of each row's predicted positions.
  private func walk(
    _ executor: Executor, subjects: [Subject], items: [Int]?, partial: PartialScores, progress: (Int, Int) -> Void,
    begin: (_ first: Int, _ chunk: [TokenBatch]) throws -> Void = { _, _ in },
    value: (
      _ subject: Int, _ batch: Int, _ hidden: Tensor, _ head: OutputHead, _ row: [Int32], _ range: Range<Int>
    ) throws -> Double
  ) throws -> [ItemScores] {
    let vocabulary = executor.weights.model.description.sizes[.vocabulary]
    let asked = items ?? Array(batches.indices)
    let batches = asked.map { self.batches[$0] }
    let total = Executor.work(batches, subjects: subjects.map(\.selection))
    partial.begin(candidates: subjects.count, items: self.batches.count)
    defer { partial.recorder = nil }
    let finish: Executor.Finish = { subject, batch, hidden, head in
      let row = batches[batch].rows[0]
      let states = try hidden.select(dim: 0, index: 0)
      var sum = 0.0
      for range in positions(vocabulary: vocabulary, count: row.count - 1) {
        let slice = try states.narrow(dim: 0, start: range.lowerBound, length: range.count)
        sum += try value(subject, batch, slice, head, row, range)
      }
      guard sum.isFinite else {
        throw EvaluationError("the model's loss is not finite: the weights hold NaN or infinite values")
      }
      partial.set(sum, candidate: subject, item: asked[batch])
    }
    try executor.walk(
      batches, subjects: subjects, recorder: partial.recorder, progress: { progress($0, total) },
      begin: { try begin($0.lowerBound, Array(batches[$0])) }, finish: finish)
    var weights = [Double](repeating: 0, count: self.batches.count)
    for item in asked { weights[item] = Double(self.batches[item].rows[0].count - 1) }
    return partial.scores(weights: weights)
  }
}
