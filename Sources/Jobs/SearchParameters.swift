import Formatting
public import Minitron
public import Models

/// What to prune to, and how far a search may go. In JSON its fields have the names of the command line's flags.
public struct SearchParameters: Codable, Sendable, Equatable {
  /// Upper bounds; those that are given hold together.
  public var targetParams: ParameterCount?
  public var targetActiveParams: ParameterCount?
  /// Weights and caches, at `seqLength` and `inferenceBatchSize`.
  public var targetMemory: Mebibytes?
  /// An architecture by hand, in place of targets.
  public var architecture: ExportConfig?
  /// Layers that go, and no others; nil: those with the lowest scores do. Without targets this is an architecture by hand.
  public var droppedLayers: LayerNumbers?
  /// Layers that are kept, whatever their scores.
  public var keptLayers: LayerNumbers?
  /// Granularity of hidden_size and ffn; nil: 256 and 512.
  public var channelDivisor: Int?
  /// Largest cut of each width, and of the depth, as fractions of one.
  public var maxWidthPruning = SearchSettings().maxWidthPruning
  public var maxDepthPruning = SearchSettings().maxDepthPruning
  /// Names of hyperparameters to leave alone; one text may hold several, with spaces between them.
  public var skipped: [String] = []
  /// Candidates to score.
  public var topK = SearchSettings().topK
  /// What decides which points are scored.
  public var prefilter = Prefilter.size
  /// Tokens of a calibration row.
  public var seqLength = SearchSettings().seqLength
  /// Rows of a memory target; nil: those of a micro-batch.
  public var inferenceBatchSize: Int?

  public init() {}

  private enum CodingKeys: String, CodingKey {
    case targetParams = "prune_target_params"
    case targetActiveParams = "prune_target_active_params"
    case targetMemory = "prune_target_memory_mb"
    case architecture = "prune_export_config"
    case droppedLayers = "drop_layers"
    case keptLayers = "keep_layers"
    case channelDivisor = "ss_channel_divisor"
    case maxWidthPruning = "max_width_pruning"
    case maxDepthPruning = "max_depth_pruning"
    case skipped = "hparams_to_skip"
    case topK = "top_k"
    case prefilter
    case seqLength = "seq_length"
    case inferenceBatchSize = "inference_batch_size"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    targetParams = try values.decodeIfPresent(ParameterCount.self, forKey: .targetParams)
    targetActiveParams = try values.decodeIfPresent(ParameterCount.self, forKey: .targetActiveParams)
    targetMemory = try values.decodeIfPresent(Mebibytes.self, forKey: .targetMemory)
    architecture = try values.decodeIfPresent(ExportConfig.self, forKey: .architecture)
    droppedLayers = try values.decodeIfPresent(LayerNumbers.self, forKey: .droppedLayers)
    keptLayers = try values.decodeIfPresent(LayerNumbers.self, forKey: .keptLayers)
    channelDivisor = try values.decodeIfPresent(Int.self, forKey: .channelDivisor)
    maxWidthPruning = try values.decodeIfPresent(Double.self, forKey: .maxWidthPruning) ?? maxWidthPruning
    maxDepthPruning = try values.decodeIfPresent(Double.self, forKey: .maxDepthPruning) ?? maxDepthPruning
    skipped = try values.decodeIfPresent([String].self, forKey: .skipped) ?? skipped
    topK = try values.decodeIfPresent(Int.self, forKey: .topK) ?? topK
    prefilter = try values.decodeIfPresent(Prefilter.self, forKey: .prefilter) ?? prefilter
    seqLength = try values.decodeIfPresent(Int.self, forKey: .seqLength) ?? seqLength
    inferenceBatchSize = try values.decodeIfPresent(Int.self, forKey: .inferenceBatchSize)
  }

  var layerChoice: LayerChoice {
    LayerChoice(dropped: droppedLayers ?? LayerNumbers(), kept: keptLayers ?? LayerNumbers())
  }

  public var hasTarget: Bool { targetParams != nil || targetActiveParams != nil || targetMemory != nil }

  /// What to prune to, in words.
  public var targets: [String] {
    [
      targetParams.map { "at most \($0) parameters" }, targetActiveParams.map { "at most \($0) active parameters" },
      targetMemory.map { "at most \($0) MiB" },
    ].compactMap { $0 }
  }

  public var constraints: Constraints {
    Constraints(
      params: targetParams.map { Double($0.count) }, activeParams: targetActiveParams.map { Double($0.count) },
      memoryMB: targetMemory?.value)
  }

  /// What is wrong with a value, whatever else is asked for.
  ///
  /// - Throws: `RequestError`.
  public func validate() throws {
    if hasTarget, architecture != nil {
      throw RequestError(
        "\(parameter: "prune_export_config") fixes the architecture: it cannot be combined with targets")
    }
    try validateLayers()
    if let channelDivisor { try atLeast(1, channelDivisor, "ss_channel_divisor") }
    try atLeast(1, topK, "top_k")
    try atLeast(1, seqLength, "seq_length")
    if let inferenceBatchSize { try atLeast(1, inferenceBatchSize, "inference_batch_size") }
    for (name, value) in [("max_width_pruning", maxWidthPruning), ("max_depth_pruning", maxDepthPruning)] {
      guard value >= 0, value <= 1 else {
        throw RequestError("\(parameter: name) should be a fraction from 0 to 1, found \(value)")
      }
    }
    _ = try settings()
  }

  /// - Parameter batchSize: the default of `inferenceBatchSize`.
  /// - Throws: `RequestError` for names of no hyperparameter, and for caches that no machine could hold.
  public func settings(batchSize: Int = 1) throws -> SearchSettings {
    var settings = SearchSettings()
    settings.layerChoice = layerChoice
    settings.channelDivisor = channelDivisor
    settings.maxWidthPruning = maxWidthPruning
    settings.maxDepthPruning = maxDepthPruning
    settings.topK = topK
    settings.seqLength = seqLength
    settings.inferenceBatchSize = inferenceBatchSize ?? batchSize
    try checkCacheSize(rows: settings.inferenceBatchSize, tokens: seqLength)
    let known = Hyperparameter.searched.map(\.rawValue)
    // Some scripts quote the whole list: "a b".
    for name in skipped.flatMap({ $0.split(whereSeparator: \.isWhitespace) }).map(String.init) {
      guard let hyperparameter = Hyperparameter(rawValue: name), known.contains(name) else {
        let hint = nearest(name, in: known).map { ", did you mean \($0)?" } ?? "."
        throw RequestError(
          """
          \(parameter: "hparams_to_skip"): "\(name)" is no hyperparameter\(hint) Known: \(known.joined(separator: ", "))
          """)
      }
      settings.skipped.insert(hyperparameter)
    }
    return settings
  }
}
