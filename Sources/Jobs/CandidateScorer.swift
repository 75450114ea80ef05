import Evaluation
import Execution
import Formatting
import Minitron
import Models

/// What candidates are scored with.
enum ScoredWeights {
  /// The original's, cut.
  case cut
  /// Each map refitted for itself (`LocalRefit`).
  case refittedLocally
  /// As they would be written.
  case finished
}

/// Scores candidates, several in one walk over the weights, and keeps what is scored.
struct CandidateScorer {
  private let task: any ItemTask
  private let inputs: PruneInputs
  private let events: RunEvents
  private let fingerprint: Fingerprint
  private let racing: Bool
  private let store: PruneStore
  private let weights: ScoredWeights
  /// Weights that a candidate has instead of those that are cut.
  private let overlay: (ExportConfig) -> (any WeightOverlay)?
  /// What earlier runs have kept.
  private let kept: [ExportConfig: ItemScores]

  /// - Parameters:
  ///   - isChoice: whether the best is to be chosen, which may be a race.
  ///   - overlay: weights that a candidate has instead of those that are cut.
  /// - Throws: `ModelError` when kept scores are damaged or something else's.
  init(
    _ task: any ItemTask, inputs: PruneInputs, store: PruneStore, events: RunEvents, weights: ScoredWeights = .cut,
    isChoice: Bool = true,
    overlay: @escaping (ExportConfig) -> (any WeightOverlay)? = { _ in nil }
  ) throws {
    self.task = task
    (self.weights, self.overlay) = (weights, overlay)
    self.inputs = inputs
    self.events = events
    self.store = store
    // A race is for many.
    racing = inputs.request.racing && weights != .finished && isChoice
    // Partial scores are kept apart from whole ones.
    let race = racing ? [("racing", "\(Race.threshold) deviations, seed \(inputs.request.seed)")] : []
    fingerprint = inputs.candidateFingerprint(weights).adding(
      [("scoring_algorithm", "\(AlgorithmVersion.scoring)")] + task.madeOf + race)
    kept = try store.candidateScores(fingerprint).mapValues { ItemScores(sums: $0.sums, weights: $0.weights) }
  }

  /// What scoring says of the candidates.
  private struct Result {
    var scores: [ItemScores]
    /// The winner's number.
    var best: Int
    /// Of a race: who was in to the end, and how sure the winner is; nil where everybody was asked everything.
    var race: (survivors: [Int], certainty: Double)?
  }

  /// Scores the candidates of a search, those kept from an earlier run included, and chooses the best.
  ///
  /// - Parameter numbers: of those to score; nil for all.
  func score(
    _ search: inout SearchOutcome, _ executor: Executor, _ importance: ImportanceScores, only numbers: [Int]? = nil
  ) throws {
    let numbers = numbers ?? Array(search.candidates.indices)
    let configs = numbers.map { search.candidates[$0].config }
    let result = racing ? try race(configs, executor, importance) : try all(configs, executor, importance)
    let (items, best) = (result.scores, result.best)
    for index in search.candidates.indices { search.candidates[index].isClose = false }
    for (place, item) in items.enumerated() {
      let index = numbers[place]
      switch weights {
      case .cut: search.candidates[index].score = ScoreOutcome(item)
      case .refittedLocally: search.candidates[index].refittedScore = ScoreOutcome(item)
      case .finished: search.candidates[index].finishedScore = ScoreOutcome(item)
      }
      let isIn = result.race.map { $0.survivors.contains(place) } ?? true
      if weights != .finished { search.candidates[index].isOut = !isIn }
      // Of a race, only who was in to the end can be as good.
      search.candidates[index].isClose =
        place != best && isIn && items[best].mean - item.mean <= 2 * items[best].pairedError(with: item)
    }
    search.scoring = SearchOutcome.Scoring(
      function: inputs.request.scoreFunction.text, unit: task.unit, isShare: task.isShare, best: numbers[best],
      certainty: result.race?.certainty ?? (weights == .finished ? search.scoring?.certainty : nil))
  }

  /// Candidates as subjects of a walk.
  private func subjects(
    _ configs: [ExportConfig], _ importance: ImportanceScores, of description: ModelDescription
  ) throws -> [Subject] {
    try configs.map { Subject(try importance.selection(for: $0, of: description), overlay: overlay($0)) }
  }

  private var suffix: String {
    switch weights {
    case .cut: ""
    case .refittedLocally: ", refitted locally"
    case .finished: ", refitted"
    }
  }

  /// Scores architectures that are no candidates; what earlier runs have kept is not scored again.
  func measure(
    _ configs: [ExportConfig], _ executor: Executor, _ importance: ImportanceScores
  ) throws -> [ItemScores] { try all(configs, executor, importance).scores }

  private func all(
    _ configs: [ExportConfig], _ executor: Executor, _ importance: ImportanceScores
  ) throws -> Result {
    let description = executor.weights.model.description
    var known = kept
    let open = configs.filter { known[$0] == nil }
    if open.count < configs.count {
      try events.note(
        .candidatesKept(configs.count - open.count, of: configs.count, directory: store.directory))
    }
    // As many candidates in one walk as their hidden states fit the budget: what is scored is kept after each walk.
    let channels = description.sizes[.hidden] * executor.weights.dtype.byteCount
    let bytes = max(task.tokenCount * channels, 1)
    let group = min(max(inputs.budget / bytes, 1), max(open.count, 1))
    let first = try subjects(Array(open.prefix(group)), importance, of: description).map(\.selection)
    if !first.isEmpty, weights == .cut {
      try events.note(
        .walk(candidates: first.count, WalkSummary(task.plan(executor, subjects: first, items: nil))))
    }
    let progress = events.progress(
      "scoring \(open.count) candidates\(suffix)", total: open.count * task.count, unit: task.unit)
    for start in stride(from: 0, to: open.count, by: group) {
      let part = Array(open[start..<min(start + group, open.count)])
      let subjects = try subjects(part, importance, of: description)
      let (scores, saved) = try walk(executor, part, subjects, nil) { done, total in
        let share = Double(done) / Double(max(total, 1))
        progress.update(start * task.count + Int(Double(part.count * task.count) * share))
      }
      for (config, score) in zip(part, scores) {
        known[config] = score
        try events.send(.scored(config, ScoreOutcome(score)))
      }
      try save(known, executor)
      saved?.finish()
    }
    if !open.isEmpty { progress.finish(saying: "scored \(open.count) candidate\(open.count == 1 ? "" : "s")\(suffix)") }
    let scores = try configs.map { config in
      guard let score = known[config] else { throw RunError("\(config) was not scored") }
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
    let zeros = [Double](repeating: 0, count: task.count)
    var scores = configs.map { kept[$0] ?? ItemScores(sums: zeros, weights: zeros) }
    let subjects = try subjects(configs, importance, of: description)
    var race = Race(items: task.count, candidates: configs.count, seed: inputs.request.seed)
    let total = configs.count * task.count
    let progress = events.progress("scoring \(configs.count) candidates", total: total, unit: task.unit)
    var (done, asked) = (0, 0)
    for (number, items) in race.rounds.enumerated() where !race.isOver(afterRounds: number) {
      // What an earlier run kept of this round.
      let open = race.survivors.filter { candidate in items.contains { scores[candidate].weights[$0] == 0 } }
      if !open.isEmpty {
        let selections = open.map { subjects[$0] }
        if number == 0 {
          let walk = WalkSummary(task.plan(executor, subjects: selections.map(\.selection), items: items))
          try events.note(.raceBegins(items: items.count, unit: task.unit, walk))
        }
        let (found, saved) = try walk(executor, open.map { configs[$0] }, selections, items) { part, whole in
          progress.update(done + open.count * items.count * part / max(whole, 1))
        }
        for (candidate, score) in zip(open, found) {
          scores[candidate].add(score)
          try events.send(.scored(configs[candidate], ScoreOutcome(scores[candidate])))
        }
        try save(Dictionary(zip(configs, scores)) { $1 }, executor)
        saved?.finish()
      }
      done += race.survivors.count * items.count
      asked += items.count
      let before = race.survivors.count
      race.judge(scores)
      if race.survivors.count < before {
        try events.note(
          .raced(
            asked: asked, unit: task.unit, out: before - race.survivors.count, left: race.survivors.count))
      }
    }
    progress.update(done)
    progress.finish(
      saying: "scored \(configs.count) candidates on \(Format.grouped(done)) of \(Format.grouped(total)) \(task.unit)")
    let best = race.leader(scores)
    return Result(scores: scores, best: best, race: (race.survivors, race.certainty(of: best, scores)))
  }

  private func save(_ scores: [ExportConfig: ItemScores], _ executor: Executor) throws {
    try executor.weights.model.checkpoint.checkUnchanged()
    try keep(events) {
      try store.save(
        scores.sorted { $0.key.description < $1.key.description }.map { ($0, $1.sums, $1.weights) }, fingerprint)
    }
  }

  /// - Parameter items: numbers of items; nil for all.
  /// - Returns: the scores, and where the walk was saved, which is of use until they are kept.
  private func walk(
    _ executor: Executor, _ configs: [ExportConfig], _ subjects: [Subject], _ items: [Int]?,
    _ progress: (Int, Int) -> Void
  ) throws -> ([ItemScores], KeptWalk?) {
    let partial = PartialScores()
    let asked = [("candidates", "\(configs)"), ("items", items.map { "\($0)" } ?? "all")]
    let saved = store.scoringWalk(
      fingerprint.adding([("scored", Fingerprint(asked).key)]), executor,
      note: { events.post(.note(.resuming($0))) }, sums: { partial.sums }, restore: { try partial.restore($0) })
    partial.recorder = saved
    let scores = try task.score(
      executor, subjects: subjects, items: items, partial: partial, progress: progress, answered: { _, _, _ in })
    return (scores, saved)
  }
}

extension ScoreOutcome {
  init(_ scores: ItemScores) {
    self.init(mean: scores.mean, standardError: scores.standardError, items: scores.count)
  }
}

/// Keeps scores for resuming. Where that fails the run goes on: its result is worth more than the chance to resume.
func keep(_ events: RunEvents, _ save: () throws -> Void) throws {
  do { try save() } catch { try events.warn(.saveFailed(reason: "\(error)")) }
}
