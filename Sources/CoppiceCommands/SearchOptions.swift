import ArgumentParser
import Jobs
import Minitron
import Models

/// What to prune to, and how far a search may go.
struct SearchOptions: ParsableArguments {
  @Option(name: .flag("prune_target_params"), help: ArgumentHelp("Total parameters: 6e9, 6B, 600M.", valueName: "n"))
  var targetParams: Written<ParameterCount>?

  @Option(
    name: .flag("prune_target_active_params"),
    help: ArgumentHelp("Active parameters (mixtures of experts).", valueName: "n"))
  var targetActiveParams: Written<ParameterCount>?

  @Option(
    name: .flag("prune_target_memory_mb"),
    help: ArgumentHelp(
      "Weights and caches in MiB, at --seq_length and --inference_batch_size.", valueName: "mib"))
  var targetMemory: Written<Mebibytes>?

  @Option(
    name: .flag("prune_export_config"),
    help: ArgumentHelp(
      "An architecture by hand, as JSON: '{\"hidden_size\": 3584}'. Excludes the targets.", valueName: "json"))
  var exportConfig: Written<ExportConfig>?

  @Option(
    name: .flag("drop_layers"),
    help: ArgumentHelp(
      "Layers that go, and no others, whatever their scores: 3,5,27-34, counted from 1.", valueName: "layers"))
  var droppedLayers: Written<LayerNumbers>?

  @Option(
    name: .flag("keep_layers"),
    help: ArgumentHelp("Layers that are kept whatever their scores; others go first.", valueName: "layers"))
  var keptLayers: Written<LayerNumbers>?

  @Option(
    name: .flag("ss_channel_divisor"),
    help: ArgumentHelp("Granularity of hidden_size and ffn (default: 256 and 512).", valueName: "n"))
  var channelDivisor: Int?

  @Option(name: .flag("max_width_pruning"), help: ArgumentHelp("Largest cut of each width.", valueName: "fraction"))
  var maxWidthPruning = SearchParameters().maxWidthPruning

  @Option(name: .flag("max_depth_pruning"), help: ArgumentHelp("Largest cut of the depth.", valueName: "fraction"))
  var maxDepthPruning = SearchParameters().maxDepthPruning

  @Option(
    name: .flag("hparams_to_skip"), parsing: .upToNextOption,
    help: ArgumentHelp("Hyperparameters to leave alone, separated by spaces.", valueName: "name"),
    completion: .list(Hyperparameter.searched.map(\.rawValue)))
  var skipped: [String] = []

  @Option(name: .flag("top_k"), help: ArgumentHelp("Candidates to score.", valueName: "k"))
  var topK = SearchParameters().topK

  @Option(
    name: .flag("prefilter"),
    help: ArgumentHelp(
      "What candidates are chosen by: size (default, as the reference), or kl, a forecast of their divergence.",
      valueName: "rule"))
  var prefilter = SearchParameters().prefilter

  @Option(name: .flag("seq_length"), help: ArgumentHelp("Tokens of a calibration row.", valueName: "tokens"))
  var seqLength = SearchParameters().seqLength

  @Option(
    name: .flag("inference_batch_size"),
    help: ArgumentHelp("Rows of a memory target (default: --calib_batch_size).", valueName: "n"))
  var inferenceBatchSize: Int?

  mutating func validate() throws {
    if exportConfig == nil || targetParams == nil && targetActiveParams == nil && targetMemory == nil {
      let parameters = try parameters()
      return try usage(parameters.validate)
    }
    // Whatever else is wrong with them.
    var both = SearchParameters()
    (both.targetParams, both.architecture) = (1, ExportConfig([]))
    try usage(both.validate)
  }

  /// - Throws: `ValidationError`.
  func parameters() throws -> SearchParameters {
    var parameters = SearchParameters()
    parameters.droppedLayers = try droppedLayers?.value("--drop_layers")
    parameters.keptLayers = try keptLayers?.value("--keep_layers")
    parameters.channelDivisor = channelDivisor
    parameters.maxWidthPruning = maxWidthPruning
    parameters.maxDepthPruning = maxDepthPruning
    parameters.skipped = skipped
    parameters.topK = topK
    parameters.prefilter = prefilter
    parameters.seqLength = seqLength
    parameters.inferenceBatchSize = inferenceBatchSize
    parameters.targetParams = try targetParams?.value("--prune_target_params")
    parameters.targetActiveParams = try targetActiveParams?.value("--prune_target_active_params")
    parameters.targetMemory = try targetMemory?.value("--prune_target_memory_mb")
    parameters.architecture = try exportConfig?.value("--prune_export_config")
    return parameters
  }
}
