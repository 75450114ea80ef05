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

  @OptionGroup var model: ModelOptions
  @OptionGroup var search: SearchOptions
  @OptionGroup var output: OutputOptions

  @Option(
    name: .flag("layer_ranking"), parsing: .unconditional,
    help: ArgumentHelp("JSON list of 1-based layer numbers, best first.", valueName: "file"), completion: .file())
  var layerRanking: String?

  @Option(name: .flag("calib_batch_size"), help: .hidden)
  var batchSize = 1

  public init() {}

  public func run() throws {
    let directory = try model.directory()
    let (config, file) = try CheckpointReader.readConfig(directory: directory)
    let description = try Families.describe(config: config, file: file)
    let settings = try search.settings(batchSize: batchSize)
    let console = output.console
    if try search.byHand() != nil { throw ValidationError("plan searches; --prune_export_config belongs to prune") }
    let ranking = try layerRanking.map { try Self.ranking(file: $0, layers: description.layers.count) }
    for hyperparameter in settings.skipped where !description.hyperparameters.contains(hyperparameter) {
      console.warn("--hparams_to_skip: a \(description.family) model has no \(hyperparameter.rawValue)")
    }
    let kinds = Set(description.layers.map(\.weights))
    if ranking == nil, kinds.count > 1 {
      console.warn(
        "the layers of this model are unlike: counts are provisional until --layer_ranking says which of them stay")
    }
    let result = try SearchSpace(description, settings)
      .search(description, settings, try search.constraints(), layerRanking: ranking)
    if result.refused > 0, let rule = result.refusalRule {
      console.note("\(result.refused) of \(result.size) points are left out: \(rule)")
    }
    let whole = MetricsCounter(description, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
      .metrics(sizes: description.sizes, layers: description.layers.indices)
    if output.json {
      try console.result(JSON.object(result.json(model: whole)).serialized(indent: 2))
      return
    }
    try console.result(
      sentences: "\(description.family): \(Format.count(whole.params)) parameters, "
        + "\(Format.decimal(whole.memoryMB, places: 1)) MiB with caches")
    try console.result(result.spaceTable(settings))
    try console.result(result.candidatesTable("Top \(result.candidates.count) candidates"))
  }

  /// Reads a layer ranking: 1-based in the file, 0-based here.
  static func ranking(file: String, layers: Int) throws -> [Int] {
    let json = try WholeFile.json(file)
    let numbers = json.array?.compactMap(\.int) ?? []
    guard numbers.sorted() == Array(1...layers), json.array?.count == layers else {
      throw ModelError("\(file): a layer ranking is a JSON list with each number from 1 to \(layers) once, best first")
    }
    return numbers.map { $0 - 1 }
  }
}
