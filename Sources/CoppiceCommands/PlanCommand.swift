public import ArgumentParser
import Formatting
import JSON
import Jobs
import Report

/// `coppice plan`: the search space and the first candidates, from `config.json` alone.
public struct PlanCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Show the search space and the top candidates; reads config.json only.")

  @OptionGroup var options: PruneOptions

  public init() {}

  public func run() throws {
    let console = options.output.console
    let ranks = options.processes ?? options.pipelineStages
    let unused = try UnusedFlags(of: Self.self, console)
    let noting = DescribedListener { unused.note(allBut: Self.used(isAlone: ranks == 1), "on a plan") }
    let outcome = try PlanJob(
      options.request(), ranks: ranks,
      listeners: [ConsoleListener(console, json: options.output.json), noting]
    ).run()
    let (search, whole) = (outcome.search, outcome.search.original)
    if options.output.json {
      var json = search.json
      if let crew = outcome.crew { json["processes"] = crew.json }
      try console.result(JSON.object(json).serialized(indent: 2))
      return
    }
    try console.result(
      sentences: "\(outcome.family): \(Format.count(whole.params)) parameters, "
        + "\(Format.decimal(whole.memoryMB, places: 1)) MiB with caches")
    if !outcome.isByHand { try console.result(search.spaceTable) }
    try console.result(
      search.candidatesTable(
        outcome.isByHand ? "The architecture given" : "Top \(search.candidates.count) candidates"))
    if let crew = outcome.crew {
      try console.result("")
      try console.result(crew.table)
    }
  }

  /// Flags of `prune` that change something of a plan. All others are about the work that a plan does not do.
  ///
  /// - Parameter isAlone: the plan is one process's.
  private static func used(isAlone: Bool) -> Set<String> {
    let always: Set<String> = [
      "hf_model_name_or_path", "revision", "prune_target_params", "prune_target_active_params",
      "prune_target_memory_mb",
      "prune_export_config", "ss_channel_divisor", "max_width_pruning", "max_depth_pruning", "hparams_to_skip", "top_k",
      "seq_length", "inference_batch_size", "calib_batch_size", "layer_ranking", "drop_layers", "keep_layers", "json",
      "quiet", "basis", "recover", "mtp", "nproc", "pp_size", "num_layers_in_first_pipeline_stage",
      "num_layers_in_last_pipeline_stage",
    ]
    return isAlone ? always : always.union(["calib_num_samples", "compute_dtype", "memory_budget"])
  }
}
