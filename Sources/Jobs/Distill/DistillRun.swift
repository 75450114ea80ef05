import Files
import Foundation
import JSON
import Messages
import Minitron
import Ranks
import Training

/// The steps of a distillation.
struct DistillRun {
  let request: DistillRequest
  let events: RunEvents
  let world: World
  let trainer: Trainer
  let data: DistillData
  let made: Fingerprint
  let state: TrainingState
  let metrics: DistillMetrics

  /// Measures the weights as they are, or as the newest state has them.
  func validate() throws -> LossSums? {
    try resume()
    let found = try validated()
    if let found { try events.note(.validated(step: trainer.step, found)) }
    return found
  }

  /// Trains to the end, or to where the request says to stop.
  ///
  /// - Returns: the newest losses on rows that are held back.
  func train() throws -> LossSums? {
    if isFirst { try claimDirectory() }
    try resume()
    let start = Date()
    if isFirst { try metrics.begin(after: trainer.step) }
    var found: LossSums?
    if request.evaluationSteps > 0, data.validation == nil { try events.warn(.nothingToValidateOn) }
    if trainer.step == 0 { found = try validation() }
    let rows = request.globalBatch
    let progress = events.progress(
      "distilling", total: (request.steps - trainer.step) * rows * request.seqLength, unit: "tokens")
    var (done, lately) = (0, Recent())
    while trainer.step < request.steps {
      let first = trainer.step * rows
      let batches = try stride(from: first, to: first + rows, by: request.microBatch).map {
        try data.training.batch($0..<$0 + request.microBatch, kind: "t")
      }
      let outcome = try trainer.learn(from: batches)
      guard !outcome.isBroken else { throw broken(outcome) }
      lately.add(outcome)
      done += rows * request.seqLength
      progress.update(done)
      let step = trainer.step
      let isLast = step == request.steps
      if step % request.logInterval == 0 || isLast {
        if isFirst { try metrics.add(lately, of: outcome) }
        try events.note(.learned(outcome, of: request.steps, tokensPerSecond: lately.rate))
        lately = Recent()
      }
      if step % request.evaluationInterval == 0 || isLast { found = try validation() ?? found }
      let isTime =
        try request.exitMinutes.map { try agreed(Date().timeIntervalSince(start) >= $0 * 60 ? 1 : 0) > 0 } ?? false
      let ends = isTime || request.exitInterval.map { step % $0 == 0 } ?? false
      if step % (request.saveInterval ?? request.evaluationInterval) == 0 || isLast || ends { try save() }
      if ends, !isLast {
        try events.note(.trainingPaused(step: step, of: request.steps))
        break
      }
    }
    progress.finish()
    if isFirst { try metrics.writePage() }
    return found
  }

  // MARK: Several processes

  /// Whether this process has the run's files.
  private var isFirst: Bool { world.rank == 0 }

  /// What the first process has found, in all of them.
  private func agreed(_ number: Int) throws -> Int { Int(try world.sum([isFirst ? Double(number) : 0])[0]) }

  // MARK: States

  /// Makes the output this run's own: what another run, or nobody that we know, has left there is never written over.
  private func claimDirectory() throws {
    let file = request.output + "/run.json"
    if let stored = try WholeFile.objectIfPresent(file) {
      let differences = request.fresh ? [] : made.differences(from: .object(stored))
      if !differences.isEmpty { throw otherRun(request.output, differences) }
    } else if let found = ["metrics.jsonl", "report.html", "tensorboard", "checkpoints", "run.json"].first(where: {
      kind(of: request.output + "/" + $0) != .absent
    }) {
      throw RunError(
        """
        \(request.output)/\(found) is there, and not of a distillation: it is left as it is. Name another \
        \(parameter: "output_dir")
        """)
    }
    try makeDirectories(request.output)
    try AtomicFile.write((made.json.serialized(indent: 2) + "\n").utf8, to: file)
  }

  private func otherRun(_ place: String, _ differences: [String]) -> RunError {
    RunError(
      """
      \(place) is of another run: \(differences.joined(separator: "; ")). Give \(parameter: "fresh") to begin again, or \
      another \(parameter: "output_dir")
      """)
  }

  private func resume() throws {
    let step = try agreed(request.fresh ? 0 : state.steps().last ?? 0)
    guard step > 0 else { return }
    try state.load(step, into: trainer) { stored in
      let differences = made.differences(from: stored)
      if !differences.isEmpty { throw otherRun(state.path(step), differences) }
    }
    try events.note(.resuming("going on after step \(step) of \(request.steps) (\(state.path(step)))"))
  }

  private func save() throws {
    // Of a run that begins again there may be a later one.
    if request.fresh, isFirst { removeTree(state.path(trainer.step)) }
    try state.save(trainer, record: made.json)
    if isFirst { state.keepNewest(request.keptStates) }
  }

  private func broken(_ outcome: StepOutcome) -> RunError {
    let last = state.steps().last.map { "the last good state is \(state.path($0))" } ?? "no state was saved before"
    return RunError(
      """
      step \(outcome.step): the loss is \(outcome.loss) and the norm of its gradients \(outcome.gradientNorm); \
      \(last). A smaller \(parameter: "lr") may help, or float32 as \(parameter: "compute_dtype")
      """)
  }

  // MARK: Validation

  private func validation() throws -> LossSums? {
    guard let found = try validated() else { return nil }
    if isFirst { try metrics.add(validation: found, step: trainer.step) }
    try events.note(.validated(step: trainer.step, found))
    return found
  }

  private func validated() throws -> LossSums? {
    guard request.evaluationSteps > 0, let rows = data.validation else { return nil }
    let count = min(rows.count ?? .max, request.evaluationSteps * request.globalBatch)
    let progress = events.progress("validating", total: count * request.seqLength, unit: "tokens")
    let batches = try stride(from: 0, to: count, by: request.microBatch).map {
      try rows.batch($0..<min($0 + request.microBatch, count), kind: "v")
    }
    let found = try trainer.losses(batches) { progress.update($0) }
    progress.finish()
    return found
  }
}

/// Steps since the last line of metrics.
struct Recent {
  private var start = Date()
  private(set) var tokens = 0
  private(set) var losses = LossSums()
  private(set) var steps = 0

  mutating func add(_ outcome: StepOutcome) {
    tokens += outcome.tokens
    losses.divergence += outcome.losses.divergence
    losses.crossEntropy += outcome.losses.crossEntropy
    losses.intermediate += outcome.losses.intermediate
    steps += 1
  }

  /// Tokens a second.
  var rate: Double { Double(tokens) / max(Date().timeIntervalSince(start), 1e-9) }
  /// Means over the steps.
  var means: LossSums {
    var means = losses
    means.divergence /= Double(max(steps, 1))
    means.crossEntropy /= Double(max(steps, 1))
    means.intermediate /= Double(max(steps, 1))
    return means
  }
}
