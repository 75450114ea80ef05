import Datasets
import Evaluation
import Execution
import Foundation
import Minitron
import Models
import Report
import Tokenization

/// Scores candidates, several in one walk over the weights, and keeps what is scored.
struct CandidateScorer {
  private let function: ScoreFunction
  private let inputs: PruneInputs
  private let console: Console
  private let questions: MultipleChoice?
  private let rows: LanguageModeling?
  private let fingerprint: Fingerprint
  private let racing: Bool

  var isAccuracy: Bool { questions != nil }

  /// - Throws: what is wrong with the questions or the text.
  init(_ options: PruneCommand, inputs: PruneInputs, tokenizer: Tokenizer, console: Console) throws {
    guard let function = ScoreFunction(parsing: options.scoreFunction) else {
      throw ModelError("--prune_score_func: \"\(options.scoreFunction)\" is not known")
    }
    self.function = function
    self.inputs = inputs
    self.console = console
    racing = options.racing
    // Partial scores are kept apart from whole ones.
    let race = options.racing ? [("racing", "\(Race.threshold) deviations, seed \(options.seed)")] : []
    switch function {
    case .mmlu(let percent, _):
      guard let path = options.evaluation.mmlu else {
        throw ModelError(
          "scoring with \(options.scoreFunction) wants questions: give --mmlu_dataset a local copy of cais/mmlu "
            + "(directory, .jsonl or .parquet), or choose --prune_score_func neg_loss")
      }
      let all = try MMLU.load(path: path, split: "test")
      let examples = options.evaluation.fewShots > 0 ? try MMLU.load(path: path, split: "dev") : []
      questions = try MultipleChoice(
        questions: MMLU.sample(all, percent: percent), examples: examples, fewShots: options.evaluation.fewShots,
        tokenizer: tokenizer)
      rows = nil
      // The batch size is a hint: it is not part of what made a score. The prompts are, token by token.
      let tokens = questions?.prompts.map { "\($0.tokens) \($0.answer)" }.joined(separator: "\n") ?? ""
      fingerprint = inputs.fingerprint.adding(
        [
          ("score_function", "mmlu"), ("prompts", Fingerprint([("tokens", tokens)]).key),
        ] + race)
    case .negLoss, .negKL:
      questions = nil
      rows = try LanguageModeling(rows: inputs.evaluationRows().rows)
      fingerprint = inputs.fingerprint.adding(
        [("score_function", function.description)] + (try inputs.evaluationFingerprint()) + race)
    }
  }

  private var batches: [TokenBatch] { rows?.batches ?? questions.map { [TokenBatch($0.prompts.map(\.tokens))] } ?? [] }

  /// Tokens one candidate is scored on.
  var tokenCount: Int { batches.reduce(0) { $0 + $1.tokenCount } }

  /// What scoring says of the candidates.
  struct Result {
    var scores: [ItemScores]
    /// The winner's number.
    var best: Int
    /// Of a race: who was in to the end, and how sure the winner is; nil where everybody was asked everything.
    var race: (survivors: [Int], certainty: Double)?
  }

  /// The scores of each architecture, those kept from an earlier run included.
  func score(
    _ configs: [ExportConfig], _ executor: Executor, _ store: PruneStore, _ importance: ImportanceScores
  ) throws -> Result {
    if racing { return try race(configs, executor, store, importance) }
    let description = executor.weights.model.description
    var known = try store.candidateScores(fingerprint).mapValues { ItemScores(sums: $0.sums, weights: $0.weights) }
    let open = configs.filter { known[$0] == nil }
    if open.count < configs.count {
      console.note(
        "\(configs.count - open.count) of \(configs.count) candidates are scored already (\(store.directory))")
    }
    // As many candidates in one walk as their hidden states fit the budget: what is scored is kept after each walk.
    let channels = description.sizes[.hidden] * executor.weights.dtype.byteCount
    let bytes = max(tokenCount * channels, 1)
    let group = min(max(inputs.budget / bytes, 1), max(open.count, 1))
    let first = try open.prefix(group).map { try importance.selection(for: $0, of: description) }
    if !first.isEmpty {
      console.note("\(first.count) candidates in a walk: \(plan(executor, first, nil).summary)")
    }
    let count = zeros.count
    let progress = console.progress("scoring \(open.count) candidates", total: open.count * count, unit: itemName)
    for start in stride(from: 0, to: open.count, by: group) {
      let part = Array(open[start..<min(start + group, open.count)])
      let subjects = try part.map { try importance.selection(for: $0, of: description) }
      let report: (Int, Int) -> Void = { done, total in
        progress.update(start * count + Int(Double(part.count * count) * Double(done) / Double(max(total, 1))))
      }
      let scores = try walk(executor, subjects, nil, report)
      for (config, score) in zip(part, scores) { known[config] = score }
      try save(known, store)
    }
    if !open.isEmpty { progress.finish(saying: "scored \(open.count) candidate\(open.count == 1 ? "" : "s")") }
    let scores = try configs.map { config in
      guard let score = known[config] else { throw ModelError("\(config) was not scored") }
      return score
    }
    let best = scores.indices.max { (scores[$0].mean, $1) < (scores[$1].mean, $0) } ?? 0
    return Result(scores: scores, best: best, race: nil)
  }

  /// Asks all candidates some items, then those that still have a chance some more, and so on.
  private func race(
    _ configs: [ExportConfig], _ executor: Executor, _ store: PruneStore, _ importance: ImportanceScores
  ) throws -> Result {
    let description = executor.weights.model.description
    let known = try store.candidateScores(fingerprint)
    var scores = configs.map { config in
      known[config].map { ItemScores(sums: $0.sums, weights: $0.weights) }
        ?? ItemScores(sums: zeros, weights: zeros)
    }
    let subjects = try configs.map { try importance.selection(for: $0, of: description) }
    var race = Race(items: zeros.count, candidates: configs.count, seed: inputs.seed)
    let total = configs.count * zeros.count
    let progress = console.progress("scoring \(configs.count) candidates", total: total, unit: itemName)
    var (done, asked) = (0, 0)
    for (number, items) in race.rounds.enumerated() where !race.isOver(afterRounds: number) {
      // What an earlier run kept of this round.
      let open = race.survivors.filter { candidate in items.contains { scores[candidate].weights[$0] == 0 } }
      if !open.isEmpty {
        if number == 0 {
          let summary = plan(executor, open.map { subjects[$0] }, items).summary
          console.note("\(Format.grouped(items.count)) \(itemName) first: \(summary)")
        }
        let found = try walk(executor, open.map { subjects[$0] }, items) { part, whole in
          progress.update(done + open.count * items.count * part / max(whole, 1))
        }
        for (candidate, score) in zip(open, found) { scores[candidate].add(score) }
        try save(Dictionary(zip(configs, scores)) { $1 }, store)
      }
      done += race.survivors.count * items.count
      asked += items.count
      let before = race.survivors.count
      race.judge(scores)
      if race.survivors.count < before {
        console.note(
          "after \(Format.grouped(asked)) \(itemName): \(before - race.survivors.count) out, \(race.survivors.count) left"
        )
      }
    }
    progress.update(done)
    progress.finish(
      saying: "scored \(configs.count) candidates on \(Format.grouped(done)) of \(Format.grouped(total)) \(itemName)")
    let best = race.leader(scores)
    return Result(scores: scores, best: best, race: (race.survivors, race.certainty(of: best, scores)))
  }

  private var zeros: [Double] { Array(repeating: 0, count: questions?.prompts.count ?? batches.count) }
  private var itemName: String { questions == nil ? "rows" : "questions" }

  private func save(_ scores: [ExportConfig: ItemScores], _ store: PruneStore) throws {
    try store.save(
      scores.sorted { $0.key.description < $1.key.description }.map { ($0, $1.sums, $1.weights) }, fingerprint)
  }

  private func plan(_ executor: Executor, _ subjects: [Selection], _ items: [Int]?) -> WalkPlan {
    questions?.plan(executor, subjects: subjects, questions: items)
      ?? rows?.plan(executor, subjects: subjects, items: items) ?? executor.plan([], subjects: subjects)
  }

  /// - Parameter items: numbers of questions or rows; nil for all.
  private func walk(
    _ executor: Executor, _ subjects: [Selection], _ items: [Int]?, _ progress: (Int, Int) -> Void
  ) throws -> [ItemScores] {
    if let questions {
      return try questions.score(executor, subjects: subjects, questions: items, progress: progress)
    }
    guard let rows else { return [] }
    if function == .negKL {
      return try rows.negativeDivergence(
        executor, subjects: subjects, from: executor, items: items, progress: progress)
    }
    return try rows.negativeLoss(executor, subjects: subjects, items: items, progress: progress)
  }
}
