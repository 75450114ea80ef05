import ArgumentParser
import Datasets
import Jobs
import Minitron
import Recovery

/// The flags of the reference's `prune_minitron.py` and Coppice's own: those of `prune`, and of `plan`.
struct PruneOptions: ParsableArguments {
  @OptionGroup(title: "Model") var model: ModelOptions

  @Option(
    name: .flag("output_hf_path"), parsing: .unconditional,
    help: ArgumentHelp("Where the pruned checkpoint goes; a finished one is never overwritten.", valueName: "path"),
    completion: .directory)
  var outputPath: String?

  @OptionGroup(title: "Search") var search: SearchOptions

  @Option(
    name: .flag("layer_ranking"), parsing: .unconditional,
    help: ArgumentHelp(
      "Layers by importance instead of the measured order: 1-based numbers, best first, as a JSON list or a file with one.",
      valueName: "list"), completion: .file())
  var layerRanking: LayerRanking?

  @Option(
    name: .flag("layer_score"),
    help: ArgumentHelp(
      "What layers are ranked by: cosine (default), how much they change what they read; kl, what the model loses without them.",
      valueName: "score"))
  var layerScore: LayerScore?

  @Option(
    name: .flag("layer_score_rows"),
    help: ArgumentHelp("Calibration rows for kl (default: 65,536 tokens' worth, 16 to 256).", valueName: "n"))
  var layerScoreRows: Int?

  @Option(
    name: .flag("prune_score_func"),
    help: ArgumentHelp("mmlu_<N>pct_bs<B>, exact_<N>, exact_<N>_chat, neg_loss or neg_kl.", valueName: "name"))
  var scoreFunction = Written(ScoreFunctionName.standard)

  @Option(
    name: .flag("score_lower_bound"),
    help: ArgumentHelp("Fail when the winner scores less; the result is written all the same.", valueName: "score"))
  var scoreLowerBound: Double?

  @Option(
    name: .flag("prune_intermediate_ckpt"), parsing: .unconditional,
    help: ArgumentHelp("Where scores are kept for resuming (default: the user's cache).", valueName: "path"),
    completion: .directory)
  var intermediate: String?

  @Flag(name: .flag("fresh"), help: "Compute kept scores again.")
  var fresh = false

  @Option(
    name: .flag("calib_dataset_name"), parsing: .upToNextOption,
    help: ArgumentHelp(
      "Calibration text: files, directories, registered names or OWNER/NAME of the hub; several allowed (default: \(DatasetRegistry.defaultName)).",
      valueName: "path"),
    completion: .file())
  var calibration: [String] = []

  @Option(name: .flag("calib_num_samples"), help: ArgumentHelp("Calibration rows.", valueName: "n"))
  var calibrationRows = PruneRequest.defaults.calibrationRows

  @Option(name: .flag("calib_batch_size"), help: ArgumentHelp("Rows of a micro-batch.", valueName: "n"))
  var batchSize = PruneRequest.defaults.batchSize

  @Option(
    name: .flag("basis"),
    help: ArgumentHelp(
      "What hidden_size is cut in (default: channels); rotated: the directions that hold most of the residual stream.",
      valueName: "basis"))
  var basis: ResidualBasis?

  @Option(
    name: .flag("refit"),
    help: ArgumentHelp(
      "Solve what is kept for what the original gives: none (default), local: each map for itself, sequential: map after map.",
      valueName: "mode"))
  var refit: RefitMode?

  @Option(
    name: .flag("refit_rows"),
    help: ArgumentHelp("Calibration rows to refit on (default: 131,072 tokens' worth, 16 to 256).", valueName: "n"))
  var refitRows: Int?

  @Option(
    name: .flag("refit_candidates"),
    help: ArgumentHelp(
      "With --refit sequential, how many of the best candidates to refit before the choice.", valueName: "n"))
  var refitCandidates = PruneRequest.defaults.refitCandidates

  @Flag(name: .flag("recover"), help: "As --basis rotated --refit sequential: what loses least before any training.")
  var recover = false

  @OptionGroup(title: "Run-off") var runOff: RunOffOptions
  @OptionGroup(title: "Stages") var stages: StageOptions

  @Option(name: .flag("seed"), help: ArgumentHelp("Order in which several datasets are mixed.", valueName: "n"))
  var seed = PruneRequest.defaults.seed

  @OptionGroup(title: "Evaluation") var evaluation: EvaluationOptions
  @OptionGroup(title: "Computation") var compute: ComputeOptions

  @Flag(name: .flag("dry_run"), help: "Say what would be done: work, memory, disk and time.")
  var dryRun = false

  @Flag(name: .flag("racing"), help: "Stop scoring candidates that are out; says how sure the winner is.")
  var racing = false

  @Option(
    name: .flag("nproc"),
    help: ArgumentHelp("Processes: stages times replicas (default: --pp_size).", valueName: "n"))
  var processes: Int?

  @Option(
    name: .flag("pp_size"),
    help: ArgumentHelp("Pipeline stages, each in a process of its own.", valueName: "n"))
  var pipelineStages = 1

  @Option(
    name: .flag("num_layers_in_first_pipeline_stage"),
    help: ArgumentHelp("Layers of the first stage, where stages are uneven.", valueName: "n"))
  var firstStageLayers: Int?

  @Option(
    name: .flag("num_layers_in_last_pipeline_stage"),
    help: ArgumentHelp("Layers of the last stage, where stages are uneven.", valueName: "n"))
  var lastStageLayers: Int?

  @Option(
    name: .flag("expert_channels"),
    help: ArgumentHelp("How experts rank their channels: shared or own (each for itself).", valueName: "mode"))
  var expertChannelsMode: String?

  @Flag(name: .flag("no_moe_grouped_gemm"), help: "As --expert_channels own: what the reference does with it.")
  var noGroupedGEMM = false

  @Option(
    name: .flag("mtp"),
    help: ArgumentHelp(
      "Modules that predict further tokens: drop (default), or keep, with hidden_size and num_layers alone to cut.",
      valueName: "mode"))
  var prediction: PredictionChoice?

  @Option(name: .flag("output_megatron_path"), help: .hidden)
  var megatronPath: String?

  @OptionGroup(title: "Output") var output: OutputOptions

  var expertChannels: ExpertChannels {
    noGroupedGEMM ? .own : expertChannelsMode.flatMap(ExpertChannels.init(rawValue:)) ?? .shared
  }

  /// What is wrong with a value wherever it is given; what a run needs besides is for `PruneCommand` to say.
  mutating func validate() throws {
    guard megatronPath == nil else {
      throw ValidationError(
        "--output_megatron_path is not supported: Coppice writes Hugging Face checkpoints; use --output_hf_path")
    }
    if let mode = expertChannelsMode {
      guard let channels = ExpertChannels(rawValue: mode) else {
        throw ValidationError("--expert_channels: \"\(mode)\" is not known; it can be shared or own")
      }
      guard channels == .own || !noGroupedGEMM else {
        throw ValidationError("--no_moe_grouped_gemm means --expert_channels own; they contradict each other")
      }
    }
    if recover, basis == .channels || refit == RefitMode.none {
      throw ValidationError("--recover means --basis rotated --refit sequential; they contradict each other")
    }
    let request = try request()
    try usage(request.validateValues)
    if let processes { try atLeast(1, processes, flag: "--nproc") }
    try atLeast(1, pipelineStages, flag: "--pp_size")
    if let firstStageLayers { try atLeast(1, firstStageLayers, flag: "--num_layers_in_first_pipeline_stage") }
    if let lastStageLayers { try atLeast(1, lastStageLayers, flag: "--num_layers_in_last_pipeline_stage") }
  }

  /// What the flags ask for.
  ///
  /// - Throws: `ValidationError`.
  func request() throws -> PruneRequest {
    var request = PruneRequest(model: model.model, output: outputPath ?? "")
    request.revision = model.revision
    request.search = try search.parameters()
    request.layerRanking = layerRanking
    request.layerScore = layerScore
    request.layerScoreRows = layerScoreRows
    request.scoreFunction = try scoreFunction.value("--prune_score_func")
    request.scoreLowerBound = scoreLowerBound
    request.keptScores = intermediate
    request.fresh = fresh
    request.calibration = calibration
    request.calibrationRows = calibrationRows
    request.batchSize = batchSize
    request.seed = seed
    request.evaluation = evaluation.parameters
    request.compute = try compute.parameters()
    request.compute.stages = pipelineStages
    (request.compute.firstStageLayers, request.compute.lastStageLayers) = (firstStageLayers, lastStageLayers)
    request.racing = racing
    request.expertChannels = expertChannels
    request.refit = refit ?? (recover ? .sequential : .none)
    request.refitRows = refitRows
    request.refitCandidates = refitCandidates
    (request.runOffTokens, request.runOffRate) = (try runOff.count(), runOff.rate)
    request.prediction = prediction ?? .drop
    request.basis = basis ?? (recover ? .rotated : .channels)
    return request
  }
}
