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
  private let label: String

  var isAccuracy: Bool { questions != nil }

  /// - Throws: what is wrong with the questions or the text.
  init(_ options: PruneCommand, inputs: PruneInputs, tokenizer: Tokenizer, console: Console) throws {
    guard let function = ScoreFunction(parsing: options.scoreFunction) else {
      throw ModelError("--prune_score_func: \"\(options.scoreFunction)\" is not known")
    }
    self.function = function
    self.inputs = inputs
    self.console = console
    label = options.scoreFunction
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
      fingerprint = inputs.fingerprint.adding([
        ("score_function", "mmlu"), ("prompts", Fingerprint([("tokens", tokens)]).key),
      ])
    case .negLoss, .negKL:
      questions = nil
      rows = try LanguageModeling(rows: inputs.evaluationRows().rows)
      fingerprint = inputs.fingerprint.adding(
        [("score_function", function.description)] + (try inputs.evaluationFingerprint()))
    }
  }

  private var batches: [TokenBatch] { rows?.batches ?? questions.map { [TokenBatch($0.prompts.map(\.tokens))] } ?? [] }

  /// Tokens one candidate is scored on.
  var tokenCount: Int { batches.reduce(0) { $0 + $1.tokenCount } }

  /// The scores of each architecture, those kept from an earlier run included.
  func score(
    _ configs: [ExportConfig], _ executor: Executor, _ store: PruneStore, _ importance: ImportanceScores
  ) throws -> [ItemScores] {
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
    let progress = console.progress("scoring \(open.count) candidates", total: open.count * 1000, unit: "‰")
    for start in stride(from: 0, to: open.count, by: group) {
      let part = Array(open[start..<min(start + group, open.count)])
      let subjects = try part.map { try importance.selection(for: $0, of: description) }
      let report: (Int, Int) -> Void = { done, total in
        progress.update(start * 1000 + part.count * 1000 * done / max(total, 1))
      }
      let scores = try walk(executor, subjects, report)
      for (config, score) in zip(part, scores) { known[config] = score }
      try store.save(
        known.sorted { $0.key.description < $1.key.description }.map { ($0, $1.sums, $1.weights) }, fingerprint)
    }
    progress.finish()
    return try configs.map { config in
      guard let score = known[config] else { throw ModelError("\(config) was not scored") }
      return score
    }
  }

  private func walk(
    _ executor: Executor, _ subjects: [Selection], _ progress: (Int, Int) -> Void
  ) throws -> [ItemScores] {
    if let questions {
      return try questions.score(executor, subjects: subjects, progress: progress)
    }
    guard let rows else { return [] }
    if function == .negKL {
      return try rows.negativeDivergence(
        executor, subjects: subjects, from: executor, progress: progress)
    }
    return try rows.negativeLoss(executor, subjects: subjects, progress: progress)
  }
}
