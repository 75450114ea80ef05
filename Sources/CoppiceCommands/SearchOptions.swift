import ArgumentParser
import Foundation
import JSON
import Minitron
import Models
import Report

/// What to prune to, and how far a search may go.
struct SearchOptions: ParsableArguments {
  @Option(name: .flag("prune_target_params"), help: ArgumentHelp("Total parameters: 6e9, 6B, 600M.", valueName: "n"))
  var targetParams: String?

  @Option(
    name: .flag("prune_target_active_params"),
    help: ArgumentHelp("Active parameters (mixtures of experts).", valueName: "n"))
  var targetActiveParams: String?

  @Option(
    name: .flag("prune_target_memory_mb"),
    help: ArgumentHelp(
      "Weights and caches in MiB, at --seq_length and --inference_batch_size.", valueName: "mib"))
  var targetMemory: String?

  @Option(
    name: .flag("prune_export_config"),
    help: ArgumentHelp(
      "An architecture by hand, as JSON: '{\"hidden_size\": 3584}'. Excludes the targets.", valueName: "json"))
  var exportConfig: String?

  @Option(
    name: .flag("ss_channel_divisor"),
    help: ArgumentHelp("Granularity of hidden_size and ffn (default: 256 and 512).", valueName: "n"))
  var channelDivisor: Int?

  @Option(name: .flag("max_width_pruning"), help: ArgumentHelp("Largest cut of each width.", valueName: "fraction"))
  var maxWidthPruning = 0.4

  @Option(name: .flag("max_depth_pruning"), help: ArgumentHelp("Largest cut of the depth.", valueName: "fraction"))
  var maxDepthPruning = 0.2

  @Option(
    name: .flag("hparams_to_skip"), parsing: .upToNextOption,
    help: ArgumentHelp("Hyperparameters to leave alone, separated by spaces.", valueName: "name"),
    completion: .list(Hyperparameter.searched.map(\.rawValue)))
  var skipped: [String] = []

  @Option(name: .flag("top_k"), help: ArgumentHelp("Candidates to score.", valueName: "k"))
  var topK = 10

  @Option(name: .flag("seq_length"), help: ArgumentHelp("Tokens of a calibration row.", valueName: "tokens"))
  var seqLength = 4096

  @Option(
    name: .flag("inference_batch_size"),
    help: ArgumentHelp("Rows of a memory target (default: --calib_batch_size).", valueName: "n"))
  var inferenceBatchSize: Int?

  /// What to prune to, in words.
  var targets: [String] {
    [
      targetParams.map { "at most \($0) parameters" }, targetActiveParams.map { "at most \($0) active parameters" },
      targetMemory.map { "at most \($0) MiB" },
    ].compactMap { $0 }
  }

  var hasTarget: Bool { targetParams != nil || targetActiveParams != nil || targetMemory != nil }

  mutating func validate() throws {
    if hasTarget, exportConfig != nil {
      throw ValidationError("--prune_export_config fixes the architecture: it cannot be combined with targets")
    }
    if let channelDivisor { try atLeast(1, channelDivisor, "--ss_channel_divisor") }
    try atLeast(1, topK, "--top_k")
    try atLeast(1, seqLength, "--seq_length")
    if let inferenceBatchSize { try atLeast(1, inferenceBatchSize, "--inference_batch_size") }
    for (name, value) in [("width", maxWidthPruning), ("depth", maxDepthPruning)] {
      guard value >= 0, value <= 1 else {
        throw ValidationError("--max_\(name)_pruning should be a fraction from 0 to 1, found \(value)")
      }
    }
    _ = try settings()
    _ = try constraints()
    _ = try byHand()
  }

  /// - Parameter batchSize: what `--inference_batch_size` defaults to.
  func settings(batchSize: Int = 1) throws -> SearchSettings {
    var settings = SearchSettings()
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
        throw ValidationError(
          "--hparams_to_skip: \"\(name)\" is no hyperparameter\(hint) Known: \(known.joined(separator: ", "))")
      }
      settings.skipped.insert(hyperparameter)
    }
    return settings
  }

  func constraints() throws -> Constraints {
    func count(_ text: String?, _ flag: String) throws -> Double? {
      guard let text else { return nil }
      do { return Double(try Format.parseCount(text)) } catch { throw ValidationError("\(flag): \(error)") }
    }
    func memory(_ text: String?) throws -> Double? {
      guard let text else { return nil }
      let value: Double
      do { value = try Format.parseNumber(text) } catch { throw ValidationError("--prune_target_memory_mb: \(error)") }
      guard value > 0 else { throw ValidationError("--prune_target_memory_mb should be above zero, found \(text)") }
      return value
    }
    return Constraints(
      params: try count(targetParams, "--prune_target_params"),
      activeParams: try count(targetActiveParams, "--prune_target_active_params"),
      memoryMB: try memory(targetMemory))
  }

  /// The architecture given by hand, with what follows from it in a model.
  func byHand(for model: ModelDescription) throws -> ExportConfig? { try byHand()?.completed(for: model) }

  /// The architecture given by hand.
  func byHand() throws -> ExportConfig? {
    guard let exportConfig else { return nil }
    return try usage {
      do {
        return try ExportConfig(parsing: JSON(parsing: exportConfig), suggest: { nearest($0, in: $1) })
      } catch { throw ModelError("--prune_export_config: \(error)") }
    }
  }
}

/// Choices for a table: of many the first, the last, and how many there are.
func listed(_ values: [Int]) -> String {
  guard values.count > 40 else { return values.map(String.init).joined(separator: ", ") }
  let ends = values.prefix(3).map(String.init) + ["…"] + values.suffix(2).map(String.init)
  return ends.joined(separator: ", ") + " (\(Format.grouped(values.count)) choices)"
}

extension SearchSettings {
  /// Names what is to be skipped and is not in the model.
  func warnOfUnknown(in description: ModelDescription, _ console: Console) {
    for hyperparameter in skipped where !description.hyperparameters.contains(hyperparameter) {
      console.warn("--hparams_to_skip: a \(description.family) model has no \(hyperparameter.rawValue)")
    }
  }
}

extension SearchSpace {
  /// The search, with progress when it takes more than a second, and a note on what the architecture refuses.
  func search(
    _ model: ModelDescription, _ settings: SearchSettings, _ constraints: Constraints, layerRanking: [Int]?,
    console: Console
  ) throws -> SearchResult {
    let meter = console.progress("search", total: size, unit: "points")
    let start = ContinuousClock.now
    var isLong = false
    let result = try search(model, settings, constraints, layerRanking: layerRanking) { points in
      if !isLong { isLong = ContinuousClock.now - start > .seconds(1) }
      if isLong { meter.update(points) }
    }
    if isLong {
      meter.update(result.size)
      meter.finish()
    }
    if result.refused > 0, let rule = result.refusalRule {
      console.note("\(result.refused) of \(result.size) points are left out: \(rule)")
    }
    return result
  }
}

extension SearchResult {
  /// The search space as a table.
  func spaceTable(_ settings: SearchSettings) -> Table {
    var table = Table(
      title: "Search space (at most \(Format.percent(settings.maxWidthPruning, places: 0)) of each width, "
        + "\(Format.percent(settings.maxDepthPruning, places: 0)) of the depth)",
      columns: [Table.Column("Hyperparameter"), Table.Column("Choices", isFlexible: true)])
    for (hyperparameter, values) in space.choices {
      table.add([hyperparameter.rawValue, listed(values)])
    }
    table.addSectionBreak()
    table.add(["points", "\(Format.grouped(size)), \(Format.grouped(fitting)) of them fit"])
    return table
  }

  /// Candidates as a table; `scores` gives the texts of further columns.
  ///
  /// - Parameter marks: one for each candidate, or none.
  func candidatesTable(
    _ title: String, scores: [(column: String, texts: [String])] = [], marks: [String] = [], best: Int? = nil
  ) -> Table {
    let names = space.choices.map(\.hyperparameter)
    // Without experts all parameters are active.
    let hasExperts = candidates.contains { $0.metrics.activeParams != $0.metrics.params }
    var table = Table(
      title: title,
      columns: [Table.Column("#", .right)]
        + names.map { Table.Column($0.rawValue, .right, isSharable: true, short: $0.facts.heading) }
        + (hasExperts ? ["params", "active", "MiB"] : ["params", "MiB"]).map { Table.Column($0, .right) }
        + scores.map { Table.Column($0.column, .right) })
    for (index, candidate) in candidates.enumerated() {
      let metrics = candidate.metrics
      let counts = hasExperts ? [metrics.params, metrics.activeParams] : [metrics.params]
      table.add(
        ["\(index + 1)"] + names.map { candidate.config[$0].map(String.init) ?? "" } + counts.map(Format.count)
          + [Format.decimal(metrics.memoryMB, places: 1)] + scores.map { $0.texts[index] },
        mark: index < marks.count ? marks[index] : "", highlighted: index == best)
    }
    return table
  }

  /// The JSON that `plan --json` and `prune --json` share.
  ///
  /// - Parameter scores: further entries of each candidate.
  func json(model: Metrics, scores: (Int) -> [(String, JSON)] = { _ in [] }) -> JSON.Object {
    func metrics(_ metrics: Metrics) -> [(String, JSON)] {
      [
        ("params", .int(metrics.params)), ("active_params", .int(metrics.activeParams)),
        ("memory_mb", .double(metrics.memoryMB)),
      ]
    }
    return JSON.Object([
      ("model", .object(metrics(model))),
      ("search_space", .object(space.choices.map { ($0.hyperparameter.rawValue, .array($0.values.map(JSON.int))) })),
      ("size", .int(size)),
      ("fitting", .int(fitting)),
      (
        "candidates",
        .array(
          candidates.enumerated().map { index, candidate in
            .object([("export_config", candidate.config.json)] + metrics(candidate.metrics) + scores(index))
          })
      ),
    ])
  }
}
