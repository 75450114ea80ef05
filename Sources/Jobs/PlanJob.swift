import Execution
import Files
import Foundation
import Minitron
import Models
import Torch

/// The search space and the first candidates of a request, from `config.json` alone.
public struct PlanOutcome: Codable, Sendable, Equatable {
  public let family: String
  /// The architecture was given by hand: it is the only candidate.
  public let isByHand: Bool
  public let search: SearchOutcome
  /// What several processes would hold and take; nil for one.
  public let crew: CrewEstimate?
}

/// A plan: what a run of pruning would choose from. Reads the headers of weights where there are any, else `config.json`.
public struct PlanJob {
  private let request: PruneRequest
  private let events: RunEvents
  private let ranks: Int

  /// - Parameters:
  ///   - request: its output is not looked at, and without a target every point of the space fits.
  ///   - ranks: processes that the run is planned for.
  /// - Throws: `RequestError` for values out of range.
  public init(_ request: PruneRequest, ranks: Int = 1, listeners: [any RunListener] = []) throws {
    try request.validateValues()
    self.request = request
    self.ranks = ranks
    events = RunEvents(listeners)
  }

  /// - Throws: what is wrong with the model's config; `ModelError` when no point meets the targets.
  public func run() throws -> PlanOutcome {
    let directory = try ModelPlace.directory(request.model, revision: request.revision, need: .config, events: events)
    // Without weights, or with others than the config's, the config says what there is to plan.
    let keeps = request.prediction == .keep
    var source = try? SourceModel(directory: directory)
    // Weights that lack what is to be kept are told of.
    if keeps, source != nil { source = try SourceModel(directory: directory, keepsPrediction: true) }
    let described = try source?.description ?? Families.describe(directory: directory)
    let description = try keeps && source == nil ? described.keepingPrediction() : described
    if let note = source?.headNote { try events.note(.checkpoint(note)) }
    let settings = try request.settings()
    try events.send(.described(family: description.family))
    try request.checkBasis(for: description)
    let byHand = try request.search.byHand(for: description)
    let choice = settings.layerChoice
    let ranking = try LayerOrder(request, description, settings, isCut: true).known(description)
    if ranking == nil, !description.layersWeighTheSame(settings, request.search.constraints) {
      try events.warn(.layersUnlike)
    }
    for warning in try byHand?.validate(for: description) ?? [] { try events.warn(.architecture(warning)) }
    try settings.warnOfUnknown(in: description, events)
    try request.noteLayers(of: description, settings, events)
    if let note = description.predictionNote { try events.note(.checkpoint(note)) }
    let space = byHand.map { SearchSpace($0) } ?? SearchSpace(description, settings)
    let result = try space.search(
      description, settings, request.search.constraints, layerRanking: ranking, events: events)
    let fewest = result.candidates.compactMap { $0.config[.numLayers] }.min() ?? description.layers.count
    if let ranking, let note = description.indispensableNote(ranking, choice, keeping: fewest) {
      try events.note(.indispensableLayer(note))
    }
    return PlanOutcome(
      family: description.family, isByHand: byHand != nil,
      search: SearchOutcome(result, settings, original: description.counts(settings)),
      crew: ranks > 1 ? try crew(description, source) : nil)
  }

  private func crew(_ description: ModelDescription, _ source: SourceModel?) throws -> CrewEstimate {
    let dtype =
      try source.map { try request.compute.dtype(for: $0) } ?? (Processor.multipliesBFloat16 ? .bfloat16 : .float32)
    return try CrewEstimate(request, description, dtype, ranks: ranks)
  }
}

extension CrewEstimate {
  /// Measures this machine with the threads that each of so many processes would have on it.
  init(_ request: PruneRequest, _ description: ModelDescription, _ dtype: DType, ranks: Int) throws {
    let layout = try request.layout(of: description, ranks: ranks)
    try LibTorch.load()
    let cores = ProcessInfo.processInfo.activeProcessorCount
    if Environment.process["OMP_NUM_THREADS"] == nil { try LibTorch.setThreads(max(cores / ranks, 1)) }
    self.init(
      description, layout, rows: request.calibrationRows, seqLength: request.search.seqLength,
      elementBytes: dtype.byteCount,
      budget: request.compute.memoryBudget?.bytes ?? MemoryBudget.automatic() / max(min(ranks, cores), 1),
      speed: .init(operations: try WorkEstimate.measured(description, dtype), bytes: CrewEstimate.usualBytes))
  }
}
