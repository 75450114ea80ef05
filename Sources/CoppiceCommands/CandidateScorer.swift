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
  private let data: ScoringData
  private let inputs: PruneInputs
  private let console: Console
  private let fingerprint: Fingerprint
  private let racing: Bool
  private let store: PruneStore
  /// What earlier runs have kept.
  private let kept: [ExportConfig: ItemScores]

  var isAccuracy: Bool { questions != nil }
  private var questions: MultipleChoice? { data.questions }
  private var rows: LanguageModeling? { data.rows }

  /// A score, or its error, as people read it.
  func text(_ value: Double) -> String { isAccuracy ? Format.percent(value) : Format.decimal(value, places: 4) }

  /// - Throws: `ModelError` when kept scores are damaged or something else's.
  init(_ data: ScoringData, inputs: PruneInputs, store: PruneStore, racing: Bool, console: Console) throws {
    self.data = data
    self.inputs = inputs
    self.console = console
    self.store = store
    self.racing = racing
    // Partial scores are kept apart from whole ones.
    let race = racing ? [("racing", "\(Race.threshold) deviations, seed \(inputs.seed)")] : []
    fingerprint = inputs.resultFingerprint.adding(
      [("scoring_algorithm", "\(AlgorithmVersion.scoring)")] + data.fields + race)
    kept = try store.candidateScores(fingerprint).mapValues { ItemScores(sums: $0.sums, weights: $0.weights) }
  }

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
    _ configs: [ExportConfig], _ executor: Executor, _ importance: ImportanceScores
  ) throws -> Result {
    if racing { return try race(configs, executor, importance) }
    let description = executor.weights.model.description
    var known = kept
    let open = configs.filter { known[$0] == nil }
    if open.count < configs.count {
      console.note(
        "\(configs.count - open.count) of \(configs.count) candidates are scored already (\(store.directory ?? "kept"))"
      )
    }
    // As many candidates in one walk as their hidden states fit the budget: what is scored is kept after each walk.
    let channels = description.sizes[.hidden] * executor.weights.dtype.byteCount
    let bytes = max(data.tokenCount * channels, 1)
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
      let (scores, saved) = try walk(executor, part, subjects, nil, report)
      for (config, score) in zip(part, scores) { known[config] = score }
      try save(known, executor)
      saved?.finish()
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
    _ configs: [ExportConfig], _ executor: Executor, _ importance: ImportanceScores
  ) throws -> Result {
    let description = executor.weights.model.description
    var scores = configs.map { kept[$0] ?? ItemScores(sums: zeros, weights: zeros) }
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
        let (found, saved) = try walk(executor, open.map { configs[$0] }, open.map { subjects[$0] }, items) {
          part, whole in
          progress.update(done + open.count * items.count * part / max(whole, 1))
        }
        for (candidate, score) in zip(open, found) { scores[candidate].add(score) }
        try save(Dictionary(zip(configs, scores)) { $1 }, executor)
        saved?.finish()
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

  private var zeros: [Double] { Array(repeating: 0, count: data.itemCount) }
  var itemName: String { questions == nil ? "rows" : "questions" }

  private func save(_ scores: [ExportConfig: ItemScores], _ executor: Executor) throws {
    try executor.weights.model.checkpoint.checkUnchanged()
    keep(in: store, console) {
      try store.save(
        scores.sorted { $0.key.description < $1.key.description }.map { ($0, $1.sums, $1.weights) }, fingerprint)
    }
  }

  private func plan(_ executor: Executor, _ subjects: [Selection], _ items: [Int]?) -> WalkPlan {
    questions?.plan(executor, subjects: subjects, questions: items)
      ?? rows?.plan(executor, subjects: subjects, items: items) ?? executor.plan([], subjects: subjects)
  }

  /// - Parameter items: numbers of questions or rows; nil for all.
  /// - Returns: the scores, and where the walk was saved, which is of use until they are kept.
  private func walk(
    _ executor: Executor, _ configs: [ExportConfig], _ subjects: [Selection], _ items: [Int]?,
    _ progress: (Int, Int) -> Void
  ) throws -> ([ItemScores], KeptWalk?) {
    let partial = PartialScores()
    let asked = [("candidates", "\(configs)"), ("items", items.map { "\($0)" } ?? "all")]
    let saved = store.scoringWalk(
      fingerprint.adding([("scored", Fingerprint(asked).key)]), executor, note: { console.note($0) },
      sums: { partial.sums }, restore: { try partial.restore($0) })
    partial.recorder = saved
    if let questions {
      let scores = try questions.score(
        executor, subjects: subjects, questions: items, partial: partial, progress: progress)
      return (scores, saved)
    }
    guard let rows else { return ([], nil) }
    let scores =
      data.function == .negKL
      ? try rows.negativeDivergence(
        executor, subjects: subjects, from: executor, items: items, partial: partial, progress: progress)
      : try rows.negativeLoss(executor, subjects: subjects, items: items, partial: partial, progress: progress)
    return (scores, saved)
  }
}
