import Checkpoint
import Files
import JSON
import Messages
import Minitron
import Models
import Training

/// What a stage came to.
public struct StageOutcome: Sendable {
  public let pruned: PruneOutcome
  public let learned: DistillOutcome
  /// KL from the original on text that is held back, before and after learning; nil where none is.
  public let divergence: (before: Double, after: Double)?
}

/// Prunes in stages and lets each stage's result learn from the original. Stages that are done are found again: a run that was
/// ended goes on where it was.
public struct StagedPruneJob {
  private let request: StagedRequest
  private let listeners: [any RunListener]
  private let events: RunEvents
  private let command: ((_ model: String) throws -> String)?

  /// - Parameters:
  ///   - listeners: told what happens in the run.
  ///   - command: the command line that asks for the same, with the model's name in it, for the model card.
  ///   - request: the whole cut and its stages.
  /// - Throws: `RequestError` for a request that no model could meet.
  public init(
    _ request: StagedRequest, listeners: [any RunListener] = [], command: ((_ model: String) throws -> String)? = nil
  ) throws {
    try request.validate()
    (self.request, self.listeners, self.command) = (request, listeners, command)
    events = RunEvents(listeners)
  }

  /// Prunes and learns, stage by stage; the last student is the output.
  ///
  /// - Throws: what a `PruneJob` and a `DistillJob` throw.
  public func run() throws -> [StageOutcome] {
    let original = try ModelPlace.directory(request.prune.model, revision: request.prune.revision, events: events)
    let (output, place) = (request.prune.output, request.place)
    try OutputPlace.check(output: output, model: original, kept: request.prune.keptScores)
    try OutputPlace.check(output: place, model: original, kept: nil)
    let lock = try OutputClaim(place + "/run")
    defer { withExtendedLifetime(lock) {} }
    let last = request.learning(stage: request.stages, teacher: original)
    // What stands there may be the result of this very command, which its last stage knows; anything else shows now.
    if kind(of: output) != .absent, kind(of: last.output + "/run.json") == .absent {
      throw RunError(
        """
        \(output) exists already, is not of the stages in \(place) and is left as it is: remove it yourself or choose another \
        \(parameter: "output_hf_path")
        """)
    }
    let model = try SourceModel(directory: original, keepsPrediction: request.prune.prediction == .keep)
    try TrainedModel.check(model, on: request.prune.compute.device.place(), for: "\(parameter: "stages")")
    let description = model.description
    let settings = try request.prune.settings()
    let whole = MetricsCounter(description, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
      .metrics(of: Architecture(description))
    // Every stage learns from the same rows.
    let memory = place + "/teacher"
    let remembers =
      request.stages > 1
      && TeacherCache.whereThereIsRoom(
        memory, hidden: description.sizes[.hidden], dtype: .float32,
        tokens: last.steps * last.globalBatch * last.seqLength) != nil
    var source = request.prune.model
    var outcomes: [StageOutcome] = []
    for stage in 1...request.stages {
      let constraints = request.constraints(stage: stage, of: whole)
      try events.note(.stageBegins(stage, of: request.stages, constraints))
      let pruning = try request.pruning(stage: stage, of: source, to: constraints)
      let pruned = try PruneJob(pruning, listeners: listeners, command: stage == request.stages ? command : nil).run()
      var learning = request.learning(stage: stage, teacher: original)
      if remembers { learning.teacherCache = memory }
      let learned = try DistillJob(learning, listeners: listeners).run()
      guard let exported = learned.exported else { throw RunError("stage \(stage) has not come to its end") }
      let found = StageOutcome(pruned: pruned, learned: learned, divergence: try divergence(learned))
      outcomes.append(found)
      try events.note(.stageEnds(stage, of: request.stages, params: pruned.pruned.params, found.divergence))
      source = exported
    }
    // What was learned from is wanted no more.
    removeTree(memory)
    return outcomes
  }

  /// The first and the last of a training's held-out divergences.
  private func divergence(_ learned: DistillOutcome) throws -> (before: Double, after: Double)? {
    let found = try DistillMetrics.validations(in: learned.metrics)
    guard let first = found.first, let last = found.last else { return nil }
    return (first.divergence, last.divergence)
  }
}
