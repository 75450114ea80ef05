import ArgumentParser
import Checkpoint
import Datasets
import Evaluation
import Execution
import Foundation
import JSON
import Minitron
import Models
import Report
import Tokenization
import Torch

/// One run of `prune`: load, calibrate, search, score, export. Every step that takes long is kept for resuming.
struct PruneJob {
  let options: PruneCommand
  let console: Console
  let settings: SearchSettings
  let constraints: Constraints
  let outputPath: String

  init(_ options: PruneCommand, console: Console) throws {
    self.options = options
    self.console = console
    settings = try options.search.settings(batchSize: options.batchSize)
    constraints = try options.search.constraints()
    outputPath = options.outputPath ?? ""
  }

  func run() throws {
    if OutputDirectory.isFinished(outputPath) {
      console.note("\(outputPath) holds a finished checkpoint already; nothing to do")
      return
    }
    let model = try SourceModel(directory: options.model.directory())
    let description = model.description
    for note in model.notes { console.note(note) }
    let byHand = try options.search.byHand()
    for warning in try byHand?.validate(for: description) ?? [] { console.warn(warning) }
    for hyperparameter in settings.skipped where !description.hyperparameters.contains(hyperparameter) {
      console.warn("--hparams_to_skip: a \(description.family) model has no \(hyperparameter.rawValue)")
    }
    if byHand == nil {
      // Without a layer ranking counts may shift where layers are unlike, but a target out of reach shows now.
      let reachable = Set(description.layers.map(\.weights)).count == 1
      if reachable {
        _ = try SearchSpace(description, settings).search(description, settings, constraints, layerRanking: nil)
      }
    }
    let tokenizer = try Tokenizer(directory: model.checkpoint.directory)
    let inputs = try PruneInputs(options, model: model, tokenizer: tokenizer, console: console)
    if options.dryRun {
      try DryRun(job: self, model: model, inputs: inputs).report()
      return
    }
    let whole = byHand.map { $0.isWhole(description) } ?? false
    // A result that cannot be written should not be learnt of after hours.
    try OutputDirectory.checkWritable(outputPath)

    let executor = try options.compute.executor(model)
    let store = PruneStore(
      directory: options.intermediate ?? PruneStore.automaticDirectory(inputs.fingerprint), fresh: options.fresh)
    let scores = whole ? nil : try importance(executor, inputs, store)
    if let byHand {
      let selection = try scores?.selection(for: byHand, of: description) ?? Selection(all: description)
      try export(model, byHand, selection, inputs, scores, record: [])
      if options.output.json {
        let best = JSON.object([("best", .object([("export_config", byHand.json)]))])
        try console.result(best.serialized(indent: 2))
      }
      return
    }
    guard let scores else { return }
    try search(executor, inputs, store, scores, tokenizer)
  }

  private func importance(_ executor: Executor, _ inputs: PruneInputs, _ store: PruneStore) throws -> ImportanceScores {
    let description = executor.weights.model.description
    if let kept = try store.importance(inputs.fingerprint, for: description) {
      console.note("importance scores are kept in \(store.directory): no calibration needed")
      return kept
    }
    let rows = try inputs.calibrationRows()
    // Experts are scored by micro-batch inside their block; everything else can be told apart afterwards.
    let micro = TokenBatch.groups(rows.rows, size: options.batchSize)
    let atOnce = description.tokensAtOnce(
      elementSize: inputs.dtype.byteCount, device: executor.weights.device)
    let batches =
      description.hyperparameters.contains(.numMoEExperts) ? micro : TokenBatch.packed(micro, tokens: atOnce)
    let whole = Selection(all: description)
    let observer = ImportanceObserver(description, microBatch: options.batchSize)
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    let plan = executor.plan(batches, subjects: [whole])
    try LibTorch.load()
    console.note(
      "calibrating on \(rows.rows.count) rows, \(Format.grouped(tokens)) tokens, in \(inputs.dtype); \(plan.summary)")
    if let hint = options.compute.typeHint(for: executor.weights.model) { console.note(hint) }
    let progress = console.progress("calibration", total: tokens, unit: "tokens")
    let work = Executor.work(batches, subjects: [whole])
    var before = 0
    for chunk in plan.chunks {
      try executor.observe(chunk, observer: observer) {
        progress.update(Int(Double(tokens) * Double(before + $0) / Double(max(work, 1))))
      }
      before += Executor.work(chunk, subjects: [whole])
    }
    progress.finish()
    let scores = try observer.scores()
    // What comes next has tensors of other sizes.
    try LibTorch.releaseMemory()
    try store.save(scores, inputs.fingerprint)
    return scores
  }

  private func search(
    _ executor: Executor, _ inputs: PruneInputs, _ store: PruneStore, _ scores: ImportanceScores, _ tokenizer: Tokenizer
  ) throws {
    let model = executor.weights.model
    let description = model.description
    console.note(
      "layers by importance, best first: " + scores.layerRanking.map { String($0 + 1) }.joined(separator: ", "))
    let result = try SearchSpace(description, settings)
      .search(description, settings, constraints, layerRanking: scores.layerRanking)
    if result.refused > 0, let rule = result.refusalRule {
      console.note("\(result.refused) of \(result.size) points are left out: \(rule)")
    }
    let whole = MetricsCounter(description, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
      .metrics(sizes: description.sizes, layers: description.layers.indices)
    if !options.output.json { console.note(result.spaceTable(settings)) }

    let scorer = try CandidateScorer(options, inputs: inputs, tokenizer: tokenizer, console: console)
    let scored = try scorer.score(result.candidates.map(\.config), executor, store, scores)
    let (items, best) = (scored.scores, scored.best)
    let means = items.map(\.mean)
    try report(scored, result, scorer)
    let winner = result.candidates[best].config
    let selection = try scores.selection(for: winner, of: description)
    let record = [
      ("score_function", JSON.text(options.scoreFunction)), ("score", .double(means[best])),
      ("score_stderr", .double(items[best].standardError)),
    ]
    try export(model, winner, selection, inputs, scores, record: record)
    if options.output.json {
      var json = result.json(model: whole) { index in
        let asked: [(String, JSON)] = scored.race == nil ? [] : [("score_items", .int(items[index].count))]
        return [("score", .double(means[index])), ("score_stderr", .double(items[index].standardError))] + asked
      }
      let certainty = scored.race.map { [("certainty", JSON.double($0.certainty))] } ?? []
      json["best"] = .object([("export_config", winner.json), ("score", .double(means[best]))] + certainty)
      try console.result(JSON.object(json).serialized(indent: 2))
    }
    if let bound = options.scoreLowerBound, means[best] < bound {
      throw ModelError(
        "the best candidate scores \(means[best]), below --score_lower_bound \(bound); it was written to \(outputPath) "
          + "all the same")
    }
  }

  /// The candidates and their scores as a table, the winner marked, and those that may be as good.
  private func report(_ scored: CandidateScorer.Result, _ result: SearchResult, _ scorer: CandidateScorer) throws {
    let (items, best) = (scored.scores, scored.best)
    let means = items.map(\.mean)
    let noise = items.map { 2 * items[best].pairedError(with: $0) }
    let close = items.indices.map { index in
      // Of a race, only who was in to the end can be as good.
      index != best && means[best] - means[index] <= noise[index]
        && scored.race.map { $0.survivors.contains(index) } ?? true
    }
    func text(_ value: Double) -> String {
      scorer.isAccuracy ? Format.percent(value) : Format.decimal(value, places: 4)
    }
    let texts = items.indices.map { index in
      "\(text(means[index])) ± \(text(items[index].standardError))"
    }
    var columns = [(column: options.scoreFunction, texts: texts)]
    if let race = scored.race {
      let asked = items.indices.map { index in
        Format.grouped(items[index].count) + (race.survivors.contains(index) ? "" : ", out")
      }
      columns.append((column: "asked", texts: asked))
    }
    let table = result.candidatesTable(
      "Candidates, by \(options.scoreFunction)", scores: columns, marks: close.map { $0 ? "≈" : "" }, best: best)
    if options.output.json { console.note(table) } else { try console.result(table) }
    if close.contains(true) {
      console.note("≈ differs from the best by less than two standard errors of the difference: it may be as good")
    }
    if let race = scored.race {
      console.note(
        "\(Format.percent(race.certainty, places: 1)) sure that none would score more than a standard error above the "
          + "winner, were all asked everything")
    }
  }

  private func export(
    _ model: SourceModel, _ config: ExportConfig, _ selection: Selection, _ inputs: PruneInputs,
    _ scores: ImportanceScores?, record: [(String, JSON)]
  ) throws {
    let exporter = try Exporter(model, config: config, selection: selection, companions: inputs.companions)
    let namingCode = exporter.filesNamingCode
    if !namingCode.isEmpty {
      console.note(
        "\(namingCode.joined(separator: ", ")): left out auto_map, the Python code it names stays with the source; the "
          + "result loads with transformers' own classes, with and without trust_remote_code")
    }
    let progress = console.progress("writing", total: try exporter.byteCount(), unit: "bytes")
    let origin: [(String, JSON)] = [
      ("coppice_version", .text(coppiceVersion)), ("export_config", config.json),
      ("kept_layers", .array(selection.layers.map { .int($0 + 1) })), ("made_of", inputs.fingerprint.json),
    ]
    try exporter.write(
      to: outputPath, record: .object(origin + record),
      importance: scores.map { PruneStore.importanceJSON($0, inputs.fingerprint) },
      progress: { done, _ in progress.update(done) })
    progress.finish()
    let counter = MetricsCounter(model.description, rows: 1, tokens: settings.seqLength)
    let metrics = counter.metrics(sizes: config.sizes(from: model.description.sizes), layers: selection.layers)
    let original = counter.metrics(sizes: model.description.sizes, layers: model.description.layers.indices)
    console.note(
      "\(outputPath): \(Format.count(metrics.params)) of \(Format.count(original.params)) parameters, "
        + config.entries.map { "\($0.hyperparameter.rawValue) \($0.value)" }.joined(separator: ", "))
  }
}
