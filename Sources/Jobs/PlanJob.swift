import Minitron
import Models

/// The search space and the first candidates of a request, from `config.json` alone.
public struct PlanOutcome: Codable, Sendable, Equatable {
  public let family: String
  /// The architecture was given by hand: it is the only candidate.
  public let isByHand: Bool
  public let search: SearchOutcome
}

/// A plan: what a run of pruning would choose from. Reads the headers of weights where there are any, else `config.json`.
public struct PlanJob {
  private let request: PruneRequest
  private let events: RunEvents

  /// - Parameter request: its output is not looked at, and without a target every point of the space fits.
  /// - Throws: `RequestError` for values out of range.
  public init(_ request: PruneRequest, listeners: [any RunListener] = []) throws {
    try request.validateValues()
    self.request = request
    events = RunEvents(listeners)
  }

  /// - Throws: what is wrong with the model's config; `ModelError` when no point meets the targets.
  public func run() throws -> PlanOutcome {
    let directory = try ModelPlace.directory(request.model, revision: request.revision, need: .config, events: events)
    // Without weights, or with others than the config's, the config says what there is to plan.
    let source = try? SourceModel(directory: directory)
    let description = try source?.description ?? Families.describe(directory: directory)
    if let note = source?.headNote { try events.note(.checkpoint(note)) }
    let settings = try request.settings()
    try events.send(.described(family: description.family))
    let ranking = try request.layerRanking?.layers(of: description.layers.count)
    if ranking == nil, Set(description.layers.map(\.weights)).count > 1 { try events.warn(.layersUnlike) }
    let byHand = request.search.architecture?.completed(for: description)
    for warning in try byHand?.validate(for: description) ?? [] { try events.warn(.architecture(warning)) }
    try settings.warnOfUnknown(in: description, events)
    let space = byHand.map { SearchSpace($0) } ?? SearchSpace(description, settings)
    let result = try space.search(
      description, settings, request.search.constraints, layerRanking: ranking, events: events)
    let fewest = result.candidates.compactMap { $0.config[.numLayers] }.min() ?? description.layers.count
    if let ranking, let note = description.indispensableNote(ranking, keeping: fewest) {
      try events.note(.indispensableLayer(note))
    }
    return PlanOutcome(
      family: description.family, isByHand: byHand != nil,
      search: SearchOutcome(result, settings, original: description.counts(settings)))
  }
}
