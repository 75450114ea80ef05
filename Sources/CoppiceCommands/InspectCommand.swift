public import ArgumentParser
import Checkpoint
import Files
import Foundation
import JSON
import Minitron
import Models
import Report
import Formatting
import Jobs

/// `coppice inspect`: what a model consists of, what it needs, and what can be pruned. Reads `config.json`, and of
/// weights, where there are any, their headers only.
public struct InspectCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show parameters by part, memory and what can be pruned; config.json is enough.")

  @OptionGroup(title: "Model") var model: ModelOptions

  @Option(name: .flag("seq_length"), help: ArgumentHelp("Tokens of a sequence, for memory.", valueName: "tokens"))
  var seqLength = SearchParameters().seqLength

  @Option(name: .flag("inference_batch_size"), help: ArgumentHelp("Sequences held at once.", valueName: "n"))
  var batchSize = 1

  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public mutating func validate() throws {
    try usage { try checkCacheSize(rows: batchSize, tokens: seqLength) }
  }

  public func run() throws {
    let directory = try model.directory(.config, console: output.console)
    let weights = try WeightsReport(directory: directory)
    // The weights have the last word over the config, where they are this model's.
    let description = try weights.model ?? Families.describe(directory: directory)
    let metrics = MetricsCounter(description, rows: batchSize, tokens: seqLength)
      .metrics(of: Architecture(description))
    let parts = ModelParts(description, rows: batchSize, tokens: seqLength)
    let console = output.console
    if let note = weights.headNote { console.note(note) }
    if output.json {
      try console.result(json(description, metrics, parts, weights).serialized(indent: 2))
    } else {
      try console.result(
        sentences: "\(description.family): \(Format.count(metrics.params)) parameters"
          + (metrics.activeParams == metrics.params ? "" : ", \(Format.count(metrics.activeParams)) active"))
      for table in [partsTable(description, metrics, parts), memoryTable(metrics, parts), pruningTable(description)] {
        try console.result("")
        try console.result(table)
      }
      try console.result(sentences: "\n" + weights.text)
    }
    for warning in weights.warnings { console.warn(warning) }
    if let problem = weights.problem { throw ModelError(problem) }
  }

  // MARK: Tables

  private func partsTable(_ description: ModelDescription, _ metrics: Metrics, _ parts: ModelParts) -> Table {
    var table = Table(
      title: "Parameters",
      columns: [
        Table.Column("Part", isFlexible: true), Table.Column("per layer", .right), Table.Column("layers", .right),
        Table.Column("total", .right), Table.Column("share", .right),
      ])
    for part in parts.parts {
      table.add([
        part.name,
        part.range.map {
          $0.lowerBound == $0.upperBound
            ? Format.grouped($0.lowerBound)
            : "\(Format.grouped($0.lowerBound))–\(Format.grouped($0.upperBound))"
        } ?? "", part.layers.isEmpty ? "" : "\(part.layers.count)", Format.grouped(part.params),
        share(part, metrics).map { Format.percent($0, places: 1) } ?? "",
      ])
    }
    if description.head == nil { table.add(["head, tied to the embedding", "", "", "0"]) }
    table.addSectionBreak()
    table.add(["total", "", "\(description.layers.count)", Format.grouped(metrics.params), "100.0%"])
    return table
  }

  private func share(_ part: ModelParts.Part, _ metrics: Metrics) -> Double? {
    metrics.params > 0 ? Double(part.params) / Double(metrics.params) : nil
  }

  /// MiB as a memory target counts them, and Model-Optimizer's total where it is another.
  private func memory(_ metrics: Metrics, _ parts: ModelParts) -> [(name: String, mib: Double)] {
    func mib(_ bytes: Int) -> Double { Double(bytes) / 1_048_576 }
    let ours = [
      ("weights", mib(2 * metrics.params)), ("caches", mib(parts.cacheBytes)), ("total", metrics.memoryMB),
    ]
    return metrics.referenceMemoryMB == metrics.memoryMB ? ours : ours + [("reference", metrics.referenceMemoryMB)]
  }

  private func memoryTable(_ metrics: Metrics, _ parts: ModelParts) -> Table {
    var table = Table(
      title: "Memory in 16 bits, \(batchSize) × \(Format.grouped(seqLength)) tokens",
      columns: [Table.Column("Part"), Table.Column("MiB", .right)])
    for (name, mib) in memory(metrics, parts) {
      table.add([name == "reference" ? "total as Model-Optimizer counts" : name, Format.decimal(mib, places: 1)])
    }
    return table
  }

  /// The choices of a search with default settings; empty where there is nothing to choose.
  private func choices(_ description: ModelDescription) -> [Hyperparameter: [Int]] {
    let space = SearchSpace(description, SearchSettings())
    return Dictionary(space.choices.map { ($0.hyperparameter, $0.values) }) { first, _ in first }
  }

  private func pruningTable(_ description: ModelDescription) -> Table {
    let choices = choices(description)
    var table = Table(
      title: "What can be pruned",
      columns: [
        Table.Column("Hyperparameter"), Table.Column("is", .right),
        Table.Column("choices of a default search", isFlexible: true),
      ])
    for hyperparameter in description.prunable {
      table.add([
        hyperparameter.rawValue, "\(description.value(of: hyperparameter))",
        choices[hyperparameter].map(listed)
          ?? (hyperparameter.facts.isSearched ? "none (too few multiples of its divisor)" : "none (by hand only)"),
      ])
    }
    return table
  }

  // MARK: JSON

  /// Choices as a list. Of more than any search has room for, the ends and how many there are.
  private func json(choices: [Int]) -> JSON {
    guard choices.count > 10_000, let first = choices.first, let last = choices.last else {
      return .array(choices.map(JSON.int))
    }
    return .object([("first", .int(first)), ("last", .int(last)), ("count", .int(choices.count))])
  }

  private func json(
    _ description: ModelDescription, _ metrics: Metrics, _ parts: ModelParts, _ weights: WeightsReport
  ) -> JSON {
    let choices = choices(description)
    let partEntries = parts.parts.map { part -> (String, JSON) in
      var entry: [(String, JSON)] = [("params", .int(part.params))]
      if let share = share(part, metrics) { entry.append(("share", .double(share))) }
      if let range = part.range {
        entry.append(("layers", .int(part.layers.count)))
        entry.append(
          ("per_layer", range.count == 1 ? .int(range.lowerBound) : .array(part.layers.map(JSON.int))))
      }
      return (part.name, .object(entry))
    }
    return .object([
      ("family", .text(description.family)), ("params", .int(metrics.params)),
      ("active_params", .int(metrics.activeParams)), ("layers", .int(description.layers.count)),
      ("tied_head", .bool(description.head == nil)), ("parts", .object(partEntries)),
      ("seq_length", .int(seqLength)), ("inference_batch_size", .int(batchSize)),
      ("memory_mb", .object(memory(metrics, parts).map { ($0.name, JSON.double($0.mib)) })),
      (
        "hyperparameters",
        .object(
          description.prunable.map { hyperparameter in
            (
              hyperparameter.rawValue,
              .object([
                ("value", .int(description.value(of: hyperparameter))),
                ("choices", json(choices: choices[hyperparameter] ?? [])),
              ])
            )
          })
      ), ("weights", weights.json),
    ])
  }
}

/// What lies beside `config.json`: weights that match it, weights that do not, or none.
private struct WeightsReport {
  let text: String
  let json: JSON
  /// Why the weights are not this model's; nil when they are, or when there are none.
  let problem: String?
  /// The model as its weights have it; nil when they are not this model's, or when there are none.
  let model: ModelDescription?
  /// See `SourceModel`.
  let headNote: String?
  /// Where the files disagree about something that this model does not need.
  private(set) var warnings: [String] = []

  init(directory: String) throws {
    let suffixes = [".safetensors", ".safetensors.index.json", ".gguf"]
    let names = try Files.names(in: directory)
    let isPart = ModelPlace.hasPartOfWeights(directory)
    guard !isPart,
      names.contains(where: { name in Pickles.isPickle(name) || suffixes.contains { name.lowercased().hasSuffix($0) } })
    else {
      text = "Weights: \(isPart ? "not all" : "none") here, which is enough for plan and inspect"
      json = .null
      problem = nil
      model = nil
      headNote = nil
      return
    }
    do {
      let reader = try CheckpointReader(directory: directory)
      warnings = reader.indexNotes
      let bytes = reader.tensors.reduce(0) { $0 + $1.range.count }
      var types: [(name: String, tensors: Int, bytes: Int)] = []
      for tensor in reader.tensors {
        let name = tensor.type.rawValue
        let at = types.firstIndex { $0.name == name } ?? types.count
        if at == types.count { types.append((name, 0, 0)) }
        types[at].tensors += 1
        types[at].bytes += tensor.range.count
      }
      let files = reader.weightFiles.count
      var mismatch: String?
      var source: SourceModel?
      do { source = try SourceModel(directory: directory) } catch { mismatch = "\(error)" }
      problem = mismatch
      model = source?.description
      headNote = source?.headNote
      let verdict =
        mismatch != nil
        ? "they do not match the config"
        : "\(headNote == nil ? "they are exactly" : "but for the head they are") what the config describes"
      text =
        "Weights: \(Format.bytes(bytes)) in \(files) file\(files == 1 ? "" : "s"), "
        + types.map { "\($0.tensors) tensors of \($0.name)" }.joined(separator: ", ")
        + "; \(verdict)"
      json = .object([
        ("files", .int(files)), ("bytes", .int(bytes)),
        (
          "types",
          .object(
            types.map { ($0.name, .object([("tensors", .int($0.tensors)), ("bytes", .int($0.bytes))])) })
        ), ("matches", .bool(mismatch == nil)), ("problem", mismatch.map(JSON.text) ?? .null),
      ])
    } catch {
      text = "Weights: cannot be read"
      json = .object([("matches", .bool(false)), ("problem", .text("\(error)"))])
      problem = "\(error)"
      model = nil
      headNote = nil
    }
  }
}
