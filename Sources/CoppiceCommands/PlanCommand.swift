public import ArgumentParser
import Checkpoint
import Files
import JSON
import Minitron
import Models
import Report

/// `coppice plan`: the search space and the first candidates, from `config.json` alone.
public struct PlanCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Show the search space and the top candidates; reads config.json only.")

  @OptionGroup var options: PruneOptions

  public init() {}

  public func run() throws {
    let console = options.output.console
    let directory = try options.model.directory()
    // Without weights, or with others than the config's, the config says what there is to plan.
    let source = try? SourceModel(directory: directory)
    let description = try source?.description ?? Families.describe(directory: directory)
    if let note = source?.headNote { console.note(note) }
    let settings = try options.search.settings(batchSize: options.batchSize)
    if let note = try noteOnUnused(CommandLine.arguments.dropFirst(2)) { console.note(note) }
    let ranking = try options.layerRanking?.layers(of: description.layers.count)
    let kinds = Set(description.layers.map(\.weights))
    if ranking == nil, kinds.count > 1 {
      console.warn(
        "the layers of this model are unlike: counts are provisional until --layer_ranking says which of them stay")
    }
    let byHand = try options.search.byHand(for: description)
    for warning in try byHand?.validate(for: description) ?? [] { console.warn(warning) }
    settings.warnOfUnknown(in: description, console)
    let space = byHand.map { SearchSpace($0) } ?? SearchSpace(description, settings)
    let result = try space.search(
      description, settings, try options.search.constraints(), layerRanking: ranking, console: console)
    let fewest = result.candidates.compactMap { $0.config[.numLayers] }.min() ?? description.layers.count
    if let ranking, let note = description.indispensableNote(ranking, keeping: fewest) { console.note(note) }
    let whole = MetricsCounter(description, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
      .metrics(of: Architecture(description))
    if options.output.json {
      try console.result(JSON.object(result.json(model: whole)).serialized(indent: 2))
      return
    }
    try console.result(
      sentences: "\(description.family): \(Format.count(whole.params)) parameters, "
        + "\(Format.decimal(whole.memoryMB, places: 1)) MiB with caches")
    if byHand == nil { try console.result(result.spaceTable(settings)) }
    try console.result(
      result.candidatesTable(byHand == nil ? "Top \(result.candidates.count) candidates" : "The architecture given"))
  }

  /// Flags of `prune` that change nothing of a plan, of those given; nil when there are none.
  ///
  /// All but those named here: a new flag of `prune` is taken to be about the work that a plan does not do.
  ///
  /// - Parameter arguments: those after the command's name.
  private func noteOnUnused(_ arguments: some Sequence<String>) throws -> String? {
    let used: Set<String> = [
      "--hf_model_name_or_path", "--prune_target_params", "--prune_target_active_params", "--prune_target_memory_mb",
      "--prune_export_config", "--ss_channel_divisor", "--max_width_pruning", "--max_depth_pruning",
      "--hparams_to_skip", "--top_k", "--seq_length", "--inference_batch_size", "--calib_batch_size", "--layer_ranking",
      "--json", "--quiet",
    ]
    let given = try Arguments.options(in: arguments, of: Self.self).filter { !used.contains($0) }
    return given.isEmpty ? nil : "without effect on a plan: \(given.joined(separator: ", "))"
  }
}
