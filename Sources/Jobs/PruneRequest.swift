import Datasets
import Formatting
import JSON
import Messages
public import Minitron
public import Recovery

/// All that a run of pruning is asked for. Defaults are those of the command line, and in JSON every field has the name
/// of its flag: `{"hf_model_name_or_path": "model", "output_hf_path": "pruned", "prune_target_params": "3M", …}`. Fields
/// that are left out have their default.
public struct PruneRequest: Codable, Sendable, Equatable {
  /// The checkpoint: a local directory in Hugging Face's layout, or the hub's name of a model.
  public var model: String
  /// A branch, tag or commit of the hub's model; nil: `main`.
  public var revision: String?
  /// Where the pruned checkpoint goes; a finished one is never overwritten.
  public var output: String
  public var search = SearchParameters()
  /// Layers by importance instead of the measured order.
  public var layerRanking: LayerRanking?
  /// What layers are ranked by; nil for cosine, where no order is given.
  public var layerScore: LayerScore?
  /// Calibration rows that `kl` ranks layers on; nil for as many as hold 65,536 tokens, from 16 to 256.
  public var layerScoreRows: Int?
  /// How candidates are scored; its data is in `evaluation`.
  public var scoreFunction = ScoreFunctionName.standard
  /// The run fails when the winner scores less.
  public var scoreLowerBound: Double?
  /// The directory where scores are kept for resuming; nil: one in the user's cache.
  public var keptScores: String?
  /// Kept scores are computed again.
  public var fresh = false
  /// Calibration text: files, directories, registered names, names of the hub; empty: the set that the reference takes.
  public var calibration: [String] = []
  public var calibrationRows = 1024
  /// Rows of a micro-batch.
  public var batchSize = 1
  /// The order in which several datasets are mixed.
  public var seed: UInt64 = 0
  public var evaluation = EvaluationParameters()
  public var compute = ComputeParameters()
  /// Candidates that are out are not scored on.
  public var racing = false
  /// How experts rank their channels.
  public var expertChannels = ExpertChannels.shared
  /// How what is kept is made to give what the original gives.
  public var refit = RefitMode.none
  /// Calibration rows that are refitted on; nil for as many as hold 131,072 tokens, from 16 to 256.
  public var refitRows: Int?
  /// How many of the best candidates of a search are refitted one after another before the choice between them.
  public var refitCandidates = 2
  /// Tokens that the best candidates of a search learn from before the choice between them; nil: none.
  public var runOffTokens: Int?
  /// The highest learning rate of that.
  public var runOffRate = 1e-4
  /// What hidden_size is cut in.
  public var basis = ResidualBasis.channels
  /// What becomes of modules that predict further tokens.
  public var prediction = PredictionChoice.drop

  public init(model: String, output: String) {
    self.model = model
    self.output = output
  }

  /// The names of what is calibrated on.
  var calibrationNames: [String] { calibration.isEmpty ? [DatasetRegistry.defaultName] : calibration }

  /// What every field is unless somebody sets it.
  package static let defaults = PruneRequest(model: "", output: "")

  private enum CodingKeys: String, CodingKey {
    case model = "hf_model_name_or_path"
    case revision
    case output = "output_hf_path"
    case layerRanking = "layer_ranking"
    case layerScore = "layer_score"
    case layerScoreRows = "layer_score_rows"
    case scoreFunction = "prune_score_func"
    case scoreLowerBound = "score_lower_bound"
    case keptScores = "prune_intermediate_ckpt"
    case fresh
    case calibration = "calib_dataset_name"
    case calibrationRows = "calib_num_samples"
    case batchSize = "calib_batch_size"
    case seed
    case racing
    case expertChannels = "expert_channels"
    case refit
    case refitRows = "refit_rows"
    case refitCandidates = "refit_candidates"
    case runOffTokens = "kd_runoff"
    case runOffRate = "kd_runoff_lr"
    case basis
    case prediction = "mtp"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      model: try values.decode(String.self, forKey: .model), output: try values.decode(String.self, forKey: .output))
    revision = try values.decodeIfPresent(String.self, forKey: .revision)
    layerRanking = try values.decodeIfPresent(LayerRanking.self, forKey: .layerRanking)
    layerScore = try values.decodeIfPresent(LayerScore.self, forKey: .layerScore)
    layerScoreRows = try values.decodeIfPresent(Int.self, forKey: .layerScoreRows)
    scoreFunction = try values.decodeIfPresent(ScoreFunctionName.self, forKey: .scoreFunction) ?? scoreFunction
    scoreLowerBound = try values.decodeIfPresent(Double.self, forKey: .scoreLowerBound)
    keptScores = try values.decodeIfPresent(String.self, forKey: .keptScores)
    fresh = try values.decodeIfPresent(Bool.self, forKey: .fresh) ?? fresh
    calibration = try values.decodeIfPresent([String].self, forKey: .calibration) ?? calibration
    calibrationRows = try values.decodeIfPresent(Int.self, forKey: .calibrationRows) ?? calibrationRows
    batchSize = try values.decodeIfPresent(Int.self, forKey: .batchSize) ?? batchSize
    seed = try values.decodeIfPresent(UInt64.self, forKey: .seed) ?? seed
    racing = try values.decodeIfPresent(Bool.self, forKey: .racing) ?? racing
    expertChannels = try values.decodeIfPresent(ExpertChannels.self, forKey: .expertChannels) ?? expertChannels
    refit = try values.decodeIfPresent(RefitMode.self, forKey: .refit) ?? refit
    refitRows = try values.decodeIfPresent(Int.self, forKey: .refitRows)
    refitCandidates = try values.decodeIfPresent(Int.self, forKey: .refitCandidates) ?? refitCandidates
    runOffTokens = try values.decodeIfPresent(Int.self, forKey: .runOffTokens)
    runOffRate = try values.decodeIfPresent(Double.self, forKey: .runOffRate) ?? runOffRate
    basis = try values.decodeIfPresent(ResidualBasis.self, forKey: .basis) ?? basis
    prediction = try values.decodeIfPresent(PredictionChoice.self, forKey: .prediction) ?? prediction
    search = try SearchParameters(from: decoder)
    evaluation = try EvaluationParameters(from: decoder)
    compute = try ComputeParameters(from: decoder)
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(model, forKey: .model)
    try values.encodeIfPresent(revision, forKey: .revision)
    try values.encode(output, forKey: .output)
    try values.encodeIfPresent(layerRanking, forKey: .layerRanking)
    try values.encodeIfPresent(layerScore, forKey: .layerScore)
    try values.encodeIfPresent(layerScoreRows, forKey: .layerScoreRows)
    try values.encode(scoreFunction, forKey: .scoreFunction)
    try values.encodeIfPresent(scoreLowerBound, forKey: .scoreLowerBound)
    try values.encodeIfPresent(keptScores, forKey: .keptScores)
    try values.encode(fresh, forKey: .fresh)
    try values.encode(calibration, forKey: .calibration)
    try values.encode(calibrationRows, forKey: .calibrationRows)
    try values.encode(batchSize, forKey: .batchSize)
    try values.encode(seed, forKey: .seed)
    try values.encode(racing, forKey: .racing)
    try values.encode(expertChannels, forKey: .expertChannels)
    try values.encode(refit, forKey: .refit)
    try values.encodeIfPresent(refitRows, forKey: .refitRows)
    try values.encode(refitCandidates, forKey: .refitCandidates)
    try values.encodeIfPresent(runOffTokens, forKey: .runOffTokens)
    try values.encode(runOffRate, forKey: .runOffRate)
    try values.encode(basis, forKey: .basis)
    try values.encode(prediction, forKey: .prediction)
    try search.encode(to: encoder)
    try evaluation.encode(to: encoder)
    try compute.encode(to: encoder)
  }

  // MARK: What can be wrong with it

  /// What is wrong with a value, whatever else is asked for: that of a plan as much as that of a run.
  ///
  /// - Throws: `RequestError`.
  public func validateValues() throws {
    try search.validate()
    try evaluation.validate()
    guard scoreLowerBound == nil || !search.isByHand else {
      let byHand = search.architecture == nil ? "drop_layers" : "prune_export_config"
      throw RequestError(
        "\(parameter: "score_lower_bound") belongs to a search; \(parameter: byHand) scores nothing")
    }
    if layerRanking != nil {
      let others = [
        ("layer_score", layerScore == nil, "measures one"),
        ("drop_layers", search.droppedLayers == nil, "says which layers go, whatever their order"),
      ]
      for (name, isOut, does) in others where !isOut {
        throw RequestError(
          """
          \(parameter: "layer_ranking") gives the order of layers, and \(parameter: name) \(does): leave one of them out
          """)
      }
    }
    if let layerScoreRows { try atLeast(1, layerScoreRows, "layer_score_rows") }
    try atLeast(1, calibrationRows, "calib_num_samples")
    // Their tokens can be counted.
    guard calibrationRows <= 1 << 32 else {
      throw RequestError("\(parameter: "calib_num_samples") should be at most \(1 << 32), found \(calibrationRows)")
    }
    try atLeast(1, batchSize, "calib_batch_size")
    // One is held back, to judge by.
    if let refitRows { try atLeast(2, refitRows, "refit_rows") }
    try atLeast(1, refitCandidates, "refit_candidates")
    if let runOffTokens { try atLeast(1, runOffTokens, "kd_runoff") }
    try positive(runOffRate, "kd_runoff_lr")
    guard runOffTokens == nil || !search.isByHand else {
      throw RequestError("\(parameter: "kd_runoff") chooses among the candidates of a search; by hand there is one")
    }
  }

  /// What is wrong with it as the request of a run.
  ///
  /// - Throws: `RequestError`.
  public func validate() throws {
    try validateValues()
    guard !output.isEmpty else {
      throw RequestError("\(parameter: "output_hf_path") is empty; say where the pruned checkpoint goes")
    }
    guard search.hasTarget || search.isByHand else { throw RequestError(Self.noGoal) }
  }

  static let noGoal: Message =
    """
    say what to prune to: \(parameter: "prune_target_params"), \(parameter: "prune_target_active_params"), \
    \(parameter: "prune_target_memory_mb"), \(parameter: "prune_export_config") or \(parameter: "drop_layers")
    """

  var rowsToRefit: Int { refitRows ?? min(max((1 << 17) / search.seqLength, 16), 256) }

  func settings() throws -> SearchSettings { try search.settings(batchSize: batchSize) }
}

extension ExpertChannels: Codable {}
extension ResidualBasis: Codable {}

/// In JSON an architecture is the text of its own JSON object, since the order of hyperparameters is part of it.
extension ExportConfig: WrittenValue {
  public var text: String { description }

  /// - Parameter text: a JSON object, such as `{"hidden_size": 3584}`.
  public init(_ text: String) throws {
    try self.init(parsing: JSON(parsing: text), suggest: { nearest($0, in: $1) })
  }
}
