import Execution
import Files
import Formatting
import JSON
import Minitron
import Models
import Recovery
import Torch
import Training

// A run-off: the best candidates learn from the original for a while, and the one that comes nearest to it is chosen (Muralidharan et
// al. 2024, arXiv 2407.14679, section 2.4, calls it lightweight retraining). Half of them are out at half the tokens.

extension PruneRun {
  /// How many candidates are in a run-off at most.
  static let runOffCandidates = 4

  /// What a run-off learns from, where one is asked for; before anything is measured.
  ///
  /// - Throws: `RunError` where there can be none.
  func runOffRows() throws -> RunOffRows? {
    guard let tokens = request.runOffTokens else { return nil }
    try TrainedModel.check(model, on: executor.weights.device, for: "\(parameter: "kd_runoff")")
    guard let place = store.directory else {
      throw RunError("\(parameter: "kd_runoff") wants a place for its states: \(parameter: "prune_intermediate_ckpt")")
    }
    return try RunOffRows(inputs.text.calibrationRows().rows, tokens: tokens, place: place + "/runoff")
  }

  /// Has the best candidates learn, as they would be written, and chooses among them.
  ///
  /// - Parameter finished: candidates that are refitted already; those that are made here are added.
  func runOff(
    _ rows: RunOffRows, _ search: inout SearchOutcome,
    _ finished: inout [ExportConfig: (files: RefitFiles, counts: RefitCounts)], _ scores: ImportanceScores
  ) throws {
    let order = search.candidates.indices
      .filter { !search.candidates[$0].isOut && search.candidates[$0].deliveredScore != nil }
      .sorted { (search.candidates[$0].deliveredScore?.mean ?? 0) > (search.candidates[$1].deliveredScore?.mean ?? 0) }
    var contestants = Array(order.prefix(Self.runOffCandidates))
    try events.note(
      .runOffBegins(candidates: contestants.count, tokens: rows.steps * rows.stepTokens, heldBack: rows.held.count))
    // Half the way for all, the rest for the better half.
    for isLast in contestants.count > 2 ? [false, true] : [true] {
      let goal = isLast ? rows.steps : rows.steps / 2
      for number in contestants {
        let config = search.candidates[number].config
        let selection = try scores.selection(for: config, of: model.description)
        if request.refit != .none, finished[config] == nil { finished[config] = try refit(selection, config) }
        search.candidates[number].runOff = try learn(
          config, selection, finished[config] ?? nil, scores, rows, steps: goal,
          before: search.candidates[number].runOff)
      }
      contestants.sort {
        (search.candidates[$0].runOff?.after ?? .infinity) < (search.candidates[$1].runOff?.after ?? .infinity)
      }
      if !isLast { contestants = Array(contestants.prefix((contestants.count + 1) / 2)) }
    }
    if let best = contestants.first { search.choose(best) }
    removeTree(rows.place)
  }

  /// One candidate's way to so many steps, from the last of its states before that.
  private func learn(
    _ config: ExportConfig, _ selection: Selection, _ refitted: (files: RefitFiles, counts: RefitCounts)?,
    _ scores: ImportanceScores, _ rows: RunOffRows, steps: Int, before: SearchOutcome.Candidate.RunOff?
  ) throws -> SearchOutcome.Candidate.RunOff {
    let made = inputs.resultFingerprint.adding([
      ("export_config", config.json.serialized()), ("kd_runoff", "\(rows.steps) steps of \(rows.stepTokens) tokens"),
      ("kd_runoff_lr", "\(request.runOffRate)"),
    ])
    let place = rows.place + "/" + made.key
    let student = place + "/model"
    if kind(of: student) != .directory {
      try exporter(selection, refitted, scores).write(to: student, record: .object([]), importance: nil)
    }
    let source = try SourceModel(directory: student)
    let dtype = executor.weights.dtype
    let device = executor.weights.device
    let memory = try TrainingMemory(source, on: device, dtype: dtype, request.compute, directory: place, events)
    let learner = try TrainedModel(source, dtype: dtype, device: device, memory: memory)
    let walker = Executor(model, dtype: dtype, device: device, budget: executor.budget / 2)
    walker.weights.keepOnDevice(bytes: try memory.roomBesides(learner))
    let trainer = try Trainer(
      learner,
      teacher: Teacher(
        walker,
        cache: .whereThereIsRoom(
          rows.place + "/teacher-\(inputs.resultFingerprint.key)-\(dtype)", hidden: model.description.sizes[.hidden],
          dtype: dtype, tokens: rows.tokens)),
      rule: TrainingRule(
        rate: LearningRate(
          peak: request.runOffRate, end: request.runOffRate / 10, warmup: rows.steps / 10, steps: rows.steps),
        recomputes: TrainedModel.isShort(
          of: executor.room, source.description, tokens: rows.stepTokens, elementSize: dtype.byteCount)))
    let state = TrainingState(directory: place + "/states")
    var first = before?.before
    if let step = state.steps().last(where: { $0 <= steps }) {
      try state.load(step, into: trainer) { stored in
        guard made.differences(from: stored["run"] ?? .null).isEmpty else {
          throw RunError("\(place) is of another run")
        }
        first = first ?? stored["before"]?.double
      }
    }
    let start = try first ?? trainer.losses(rows.held).divergence
    let progress = events.progress(
      "run-off", total: (steps - trainer.step) * rows.stepTokens, unit: "tokens")
    var done = 0
    while trainer.step < steps {
      let outcome = try trainer.learn(from: rows.batches(step: trainer.step))
      guard !outcome.isBroken else {
        throw RunError(
          "\(config): the loss of step \(outcome.step) is \(outcome.loss); a smaller \(parameter: "kd_runoff_lr") may help"
        )
      }
      done += outcome.tokens
      progress.update(done)
    }
    progress.finish()
    if !state.steps().contains(steps) {
      try state.save(trainer, record: .object([("run", made.json), ("before", .double(start))]))
      // That of half the way, too: a run that goes on asks for both.
      state.keepNewest(2)
    }
    let after = try trainer.losses(rows.held).divergence
    let found = SearchOutcome.Candidate.RunOff(before: start, after: after, tokens: steps * rows.stepTokens)
    try events.note(.runOff(config, found))
    return found
  }
}

/// Calibration rows of a run-off: an eighth of them is held back.
struct RunOffRows {
  /// Where candidates and their states are meanwhile.
  let place: String
  let held: [TrainingBatch]
  let steps: Int
  let stepTokens: Int
  private let rows: [[Int32]]
  private let atOnce: Int

  /// - Parameter tokens: that each finalist learns from, at least.
  init(_ all: [[Int32]], tokens: Int, place: String) throws {
    self.place = place
    let whole = all.filter { $0.count > 1 }
    guard whole.count > 1 else {
      throw RunError("\(parameter: "kd_runoff") needs two calibration rows or more, one to be held back")
    }
    let kept = max(whole.count / 8, 1)
    held = whole.suffix(min(kept, 32)).enumerated().map { TrainingBatch(rows: [$1], names: ["held-\($0)"]) }
    rows = Array(whole.dropLast(kept))
    let width = max((rows.map(\.count).max() ?? 2) - 1, 1)
    // Steps of some thousands of tokens, and of eight rows where rows are long.
    atOnce = min(max(2048 / width, 8), rows.count)
    stepTokens = atOnce * width
    steps = max((tokens + stepTokens - 1) / stepTokens, 2)
  }

  /// Of all rows that a run-off may read.
  var tokens: Int { min(rows.count, steps * atOnce) * (stepTokens / atOnce) + held.reduce(0) { $0 + $1.tokenCount } }

  func batches(step: Int) -> [TrainingBatch] {
    let numbers = (step * atOnce..<(step + 1) * atOnce).map { $0 % rows.count }
    let own = numbers.map { rows[$0] }
    // Together they are quicker; the mean is the same for rows of one length.
    let isOne = stepTokens <= 4096 && own.allSatisfy { $0.count == own[0].count }
    return isOne
      ? [TrainingBatch(rows: own, names: numbers.map { "\($0)" })]
      : zip(own, numbers).map { TrainingBatch(rows: [$0], names: ["\($1)"]) }
  }
}
