public import JSON
public import Messages
public import Minitron
public import Recovery

/// What a run of pruning has made.
public struct PruneOutcome: Codable, Sendable, Equatable {
  /// The pruned checkpoint's directory.
  public let output: String
  /// It was there already, made of the same request and inputs.
  public let wasFinished: Bool
  /// The architecture: the winner's, or that given by hand.
  public let architecture: ExportConfig
  /// Numbers of the layers that are kept, 1-based.
  public let keptLayers: [Int]
  /// Before and after, with caches for one sequence of `seqLength` tokens.
  public let original: ModelCounts, pruned: ModelCounts
  /// The winner's score; nil by hand.
  public let score: ScoreOutcome?
  /// Nil by hand, and of a result that was there already.
  public let search: SearchOutcome?
  /// The type computed with; nil where nothing was computed.
  public let computeType: String?
  /// What hidden_size was cut in.
  public let basis: ResidualBasis
  /// What layers were ranked by, where they were ranked.
  public let layerScore: LayerScore
  /// How many linear maps were refitted; nil where none were to be.
  public let refit: RefitCounts?
  /// What `coppice.json` says of a result that was there already.
  let recorded: String?

  init(
    output: String, architecture: ExportConfig, keptLayers: [Int], original: ModelCounts, pruned: ModelCounts,
    score: ScoreOutcome? = nil, search: SearchOutcome? = nil, computeType: String? = nil,
    basis: ResidualBasis = .channels, layerScore: LayerScore = .cosine, refit: RefitCounts? = nil
  ) {
    self.output = output
    wasFinished = false
    self.architecture = architecture
    self.keptLayers = keptLayers
    (self.original, self.pruned) = (original, pruned)
    self.score = score
    self.search = search
    self.computeType = computeType
    self.basis = basis
    self.layerScore = layerScore
    self.refit = refit
    recorded = nil
  }

  /// Of a result that was there already.
  init(_ finished: FinishedOutput, _ counts: (ExportConfig, [Int]) -> (original: ModelCounts, pruned: ModelCounts)) {
    let record = finished.record
    architecture = record["export_config"].flatMap { try? ExportConfig(parsing: $0) } ?? ExportConfig([])
    output = finished.path
    wasFinished = true
    keptLayers = record["kept_layers"]?.array?.compactMap(\.int) ?? []
    (original, pruned) = counts(architecture, keptLayers.map { $0 - 1 })
    score = record["score"]?.double.map {
      ScoreOutcome(mean: $0, standardError: record["score_stderr"]?.double ?? 0, items: 0)
    }
    search = nil
    computeType = record["result"]?["compute_dtype"]?.string
    basis = record["made_of"]?["basis"]?.string.flatMap(ResidualBasis.init(rawValue:)) ?? .channels
    layerScore = record["made_of"]?["layer_score"]?.string.flatMap(LayerScore.init(rawValue:)) ?? .cosine
    refit = record["result"]?["refit"].flatMap(RefitCounts.init)
    recorded = record["result"]?.serialized()
  }

  /// What `prune --json` prints and `coppice.json` records; nil for a result that was there already and does not say.
  public var json: JSON? {
    if wasFinished { return recorded.flatMap { try? JSON(parsing: $0) } }
    var type = computeType.map { [("compute_dtype", JSON.text($0))] } ?? []
    if basis != .channels { type.append(("basis", .text(basis.rawValue))) }
    if layerScore != .cosine { type.append(("layer_score", .text(layerScore.rawValue))) }
    if let refit { type.append(("refit", refit.json)) }
    guard let search, let score else {
      return .object(type + [("best", .object([("export_config", architecture.json)]))])
    }
    var json = search.json
    let certainty = search.scoring?.certainty.map { [("certainty", JSON.double($0))] } ?? []
    json["best"] = .object([("export_config", architecture.json), ("score", .double(score.mean))] + certainty)
    for (name, value) in type { json[name] = value }
    return .object(json)
  }
}

/// The winner scores less than was asked for. It was written all the same.
public struct ScoreBelowBound: MessageError, Sendable {
  public let outcome: PruneOutcome
  public let bound: Double

  public var message: Message {
    """
    the best candidate scores \(outcome.score?.mean ?? .nan), below \(parameter: "score_lower_bound") \(bound); it was \
    written to \(outcome.output) all the same
    """
  }
}
