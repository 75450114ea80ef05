import Checkpoint
import Evaluation
import Execution
import Files
import Foundation
import JSON
import Messages
import Minitron
import Models
public import Ranks
import Tokenization

/// A run of pruning: load, calibrate, search, score, export. Every step that takes long is kept for resuming.
///
/// ```swift
/// var request = PruneRequest(model: "model", output: "pruned")
/// request.search.targetParams = 3_000_000
/// request.calibration = ["text.jsonl"]
/// let outcome = try PruneJob(request).run()
/// ```
public struct PruneJob {
  public let request: PruneRequest
  let events: RunEvents
  let settings: SearchSettings
  /// The processes that do the run together; this one is the first of them.
  let world: World
  /// What the model card shows as the way to do it again, from the source's name; nil for the request in JSON.
  let command: ((_ model: String) throws -> String)?

  /// - Parameters:
  ///   - listeners: told what happens in the run.
  ///   - command: the command line that asks for the same, with the model's name in it, for the model card.
  ///   - world: the processes that do the run together, of which this is rank 0; the others run a `CrewJob`. Whoever
  ///     made it tells the others of errors (`fail`) and ends it (`leave`).
  /// - Throws: `RequestError` for a request that no model could meet.
  public init(
    _ request: PruneRequest, listeners: [any RunListener] = [], command: ((_ model: String) throws -> String)? = nil,
    world: World = .alone
  ) throws {
    try request.validate()
    self.request = request
    self.world = world
    self.command = command
    events = RunEvents(listeners)
    settings = try request.settings()
  }

  /// Prunes, and writes the result.
  ///
  /// - Throws: `RequestError` for an output that lies in the model; `ScoreBelowBound`, which has the outcome, when the
  ///   winner scores too little; what is wrong with the model, the data or the disk; what a listener throws.
  public func run() throws -> PruneOutcome {
    let outcome =
      switch try prepare(ranks: world.size) {
      case .finished(let outcome): outcome
      case .ready(let inputs): try inputs.model.checkpoint.blamingChanges { try compute(inputs) }
      }
    try dismiss()
    return try checked(outcome)
  }

  /// Finds out what a run would do, without doing it.
  ///
  /// - Parameter ranks: processes that would do it.
  /// - Throws: as `run`.
  public func estimate(ranks: Int = 1) throws -> PruneEstimate {
    switch try prepare(ranks: ranks) {
    case .finished(let outcome): return .finished(try checked(outcome))
    case .ready(let inputs): return .work(try WorkEstimate(self, inputs, ranks: ranks))
    }
  }

  private func checked(_ outcome: PruneOutcome) throws -> PruneOutcome {
    guard let bound = request.scoreLowerBound, let score = outcome.score, score.mean < bound else { return outcome }
    throw ScoreBelowBound(outcome: outcome, bound: bound)
  }

  // MARK: Preparation

  /// A run that nothing is wrong with, as far as can be told before the first token is computed.
  struct Prepared {
    let model: SourceModel
    let inputs: PruneInputs
    let recorded: RecordedRequest
    let claim: OutputClaim
    /// The architecture given by hand, with what follows from it in the model.
    let byHand: ExportConfig?
    /// The search, where it needs no measured order of layers.
    let planned: SearchResult?
  }

  private enum Preparation {
    case finished(PruneOutcome)
    case ready(Prepared)
  }

  private func prepare(ranks: Int) throws -> Preparation {
    let places = HubDatasets(events)
    let directory = try ModelPlace.directory(
      request.model, revision: request.revision, events: events, beforeWeights: { try checkData(places) })
    try OutputPlace.check(output: request.output, model: directory, kept: request.keptScores)
    let model = try SourceModel(directory: directory, keepsPrediction: request.prediction == .keep)
    let description = model.description
    try events.send(.described(family: description.family))
    try request.checkBasis(for: description)
    let byHand = try request.search.byHand(for: description)
    let warnings = try byHand?.validate(for: description) ?? []
    // Before a search, which may take seconds: a second run on the same output ends at once.
    let claim = try OutputClaim.unlessOccupied(request.output)
    let finished = claim == nil ? try FinishedOutput(request.output) : nil
    let pruned = pruned(byHand, in: description)
    let layers = try LayerOrder(request, description, settings, isCut: pruned.contains(.numLayers))
    let ranking = layers.known(description)
    let alike = description.layersWeighTheSame(settings, request.search.constraints)
    // Where layers are unlike, counts depend on which of them are kept. Otherwise the search is done here and now, and a
    // target out of reach shows at once.
    var planned: SearchResult?
    if byHand == nil, alike || ranking != nil || !pruned.contains(.numLayers) {
      planned = try search(description, layerRanking: ranking)
    } else if byHand == nil {
      try SearchSpace(description, settings).checkReachable(description, settings, request.search.constraints)
    }
    let basis = try request.basis(for: description, pruned: pruned, events)
    let measuresImportance = pruned.contains { $0 != .numLayers || layers.score == .cosine }
    // Everything that can be wrong is found out before the first token is computed, and before anything is said.
    let tokenizer = try Tokenizer(directory: model.checkpoint.directory)
    if claim != nil, request.keptScores != nil {
      try PruneStore(directory: request.keptScores, fresh: request.fresh).checkWritable()
    }
    var inputs = try PruneInputs(
      request, model: model, tokenizer: tokenizer, events: events, places: places, layers: layers,
      measuresImportance: measuresImportance, basis: basis)
    let recorded = try RecordedRequest(request, description, byHand: byHand, scoring: inputs.task?.madeOf ?? [])
    if let finished {
      try finished.check(recorded, &inputs, model, events)
      try events.note(.finishedAlready(output: finished.path))
      return .finished(
        PruneOutcome(finished) {
          description.counts($0.architecture(of: description, keeping: $1), tokens: settings.seqLength)
        })
    }
    guard let claim else { throw RunError("\(request.output) cannot be written") }
    if let byHand, alike || byHand[.numLayers] == nil {
      // A disk that is too full shows now. (A search's result is not known yet.)
      let params = description.counts(byHand.architecture(of: description), tokens: 1).pruned.params
      try claim.requireSpace(params * model.storedType.byteCount)
    }
    for note in model.notes { try events.note(.checkpoint(note)) }
    for warning in model.checkpoint.indexNotes { try events.warn(.checkpoint(warning)) }
    for warning in warnings { try events.warn(.architecture(warning)) }
    for warning in inputs.companions.warnings { try events.warn(.companions(warning)) }
    try settings.warnOfUnknown(in: description, events)
    try request.noteLayers(of: description, settings, events)
    if let note = description.predictionNote { try events.note(.checkpoint(note)) }
    if request.layerScore == .kl, layers.score == nil { try events.note(.layerScoreUnused) }
    try inputs.warnOfLength(model, events)
    try inputs.hashWeights(of: model, events, with: world, request.layout(of: description, ranks: ranks))
    return .ready(
      Prepared(model: model, inputs: inputs, recorded: recorded, claim: claim, byHand: byHand, planned: planned))
  }

  /// Finds out whether the data of the hub may be read.
  private func checkData(_ places: HubDatasets) throws {
    // By hand and with an order of layers nothing may be left to measure, so that the default would not be read.
    let isCalibrated =
      request.search.hasTarget || (request.layerRanking == nil && request.search.droppedLayers == nil)
    try explainingGates(of: request.calibrationNames) {
      try places.check((isCalibrated ? request.calibrationNames : request.calibration) + request.evaluation.datasets)
    }
    let questions = [request.evaluation.questions, request.evaluation.numberQuestions].compactMap(\.self)
    if request.search.hasTarget, !questions.isEmpty { try places.check(questions) }
  }

  func search(
    _ description: ModelDescription, layerRanking: [Int]?, forecast: Forecast? = nil
  ) throws -> SearchResult {
    try SearchSpace(description, settings)
      .search(
        description, settings, request.search.constraints, layerRanking: layerRanking, forecast: forecast,
        events: events)
  }

  /// The hyperparameters that may get another value.
  private func pruned(_ byHand: ExportConfig?, in description: ModelDescription) -> [Hyperparameter] {
    guard let byHand else { return SearchSpace(description, settings).choices.map(\.hyperparameter) }
    return byHand.entries.filter { $0.value != description.value(of: $0.hyperparameter) }.map(\.hyperparameter)
  }

  // MARK: Computation

  /// Calibrates, scores and writes.
  private func compute(_ prepared: Prepared) throws -> PruneOutcome {
    let executor = try request.compute.executor(prepared.model, among: world)
    try assemble(prepared.model, executor)
    let store = try store(prepared.inputs, executor)
    // Against `coppice cache rm`.
    let hold = store.hold()
    defer { withExtendedLifetime(hold) {} }
    let run = PruneRun(prepared, job: self, executor: executor, store: store)
    if let byHand = prepared.byHand { return try run.prune(to: byHand) }
    guard let task = prepared.inputs.task else { throw RequestError(PruneRequest.noGoal) }
    return try run.search(task, planned: prepared.planned)
  }

  private func store(_ inputs: PruneInputs, _ executor: Executor) throws -> PruneStore {
    let madeOn = JSON.object([("device", .text("\(executor.weights.device)"))])
    if let named = request.keptScores {
      return PruneStore(directory: named, fresh: request.fresh, madeOn: madeOn)
    }
    let store = PruneStore(
      directory: PruneStore.automaticDirectory(inputs.fingerprint), fresh: request.fresh, madeOn: madeOn)
    do {
      guard store.directory != nil else {
        throw RunError("there is no home directory: HOME is unset and the user has none")
      }
      try store.checkWritable()
      return store
    } catch {
      try events.warn(.scoresNotKept(reason: "\(error)"))
      return PruneStore(directory: nil, fresh: request.fresh, madeOn: madeOn)
    }
  }
}
