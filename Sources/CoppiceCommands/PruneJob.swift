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
  let options: PruneOptions
  let console: Console
  let settings: SearchSettings
  let constraints: Constraints
  let outputPath: String

  init(_ options: PruneOptions, console: Console) throws {
    self.options = options
    self.console = console
    settings = try options.search.settings(batchSize: options.batchSize)
    constraints = try options.search.constraints()
    outputPath = options.outputPath ?? ""
  }

  func run() throws {
    let directory = try options.model.directory()
    try OutputPlace.check(output: outputPath, model: directory, kept: options.intermediate)
    let model = try SourceModel(directory: directory)
    let description = model.description
    let byHand = try options.search.byHand(for: description)
    let warnings = try byHand?.validate(for: description) ?? []
    // Before a search, which may take seconds: a second run on the same output ends at once.
    let claim = try claimOutput()
    let finished = claim == nil ? try FinishedOutput(outputPath) : nil
    let alike = Set(description.layers.map(\.weights)).count == 1
    let pruned = pruned(byHand, in: description)
    let given = try options.layerRanking?.layers(of: description.layers.count)
    let ranking = pruned.contains(.numLayers) ? given : nil
    // Where layers are unlike, counts depend on which of them are kept. Otherwise the search is done here and now, and a
    // target out of reach shows at once.
    var planned: SearchResult?
    if byHand == nil, alike || ranking != nil || !pruned.contains(.numLayers) {
      planned = try SearchSpace(description, settings)
        .search(description, settings, constraints, layerRanking: ranking, console: console)
    } else if byHand == nil {
      try SearchSpace(description, settings).checkReachable(description, settings, constraints)
    }
    let isCalibrated = pruned.contains { $0 != .numLayers || ranking == nil }
    // Everything that can be wrong is found out before the first token is computed, and before anything is said.
    let tokenizer = try Tokenizer(directory: model.checkpoint.directory)
    if claim != nil, options.intermediate != nil {
      try PruneStore(directory: options.intermediate, fresh: options.fresh).checkWritable()
    }
    var inputs = try PruneInputs(
      options, model: model, tokenizer: tokenizer, console: console, layerRanking: ranking, isCalibrated: isCalibrated)
    let request = try PruneRequest(options, description, inputs.scoring)
    if let finished {
      try finished.check(request, &inputs, model)
      return try report(finished)
    }
    guard let claim else { return }
    if let byHand, alike || byHand[.numLayers] == nil {
      // A disk that is too full shows now. (A search's result is not known yet.)
      let metrics = MetricsCounter(description, rows: 1, tokens: 1).metrics(of: byHand.architecture(of: description))
      try claim.requireSpace(metrics.params * model.storedType.byteCount)
    }
    console.say(of: model)
    for warning in warnings + inputs.companions.warnings { console.warn(warning) }
    settings.warnOfUnknown(in: description, console)
    try inputs.hashWeights(of: model)
    if options.dryRun { return try DryRun(job: self, model: model, inputs: inputs, planned: planned).report() }
    try model.checkpoint.blamingChanges { try compute(model, inputs, request, claim, byHand, planned) }
  }

  /// Calibrates, scores and writes.
  private func compute(
    _ model: SourceModel, _ inputs: PruneInputs, _ request: PruneRequest, _ claim: OutputClaim, _ byHand: ExportConfig?,
    _ planned: SearchResult?
  ) throws {
    let description = model.description
    let executor = try options.compute.executor(model)
    let store = try store(inputs, executor)
    // Against `coppice cache rm`.
    let hold = store.hold()
    defer { withExtendedLifetime(hold) {} }
    let run = PruneRun(
      model: model, inputs: inputs, request: request, claim: claim, executor: executor, store: store)
    if let byHand {
      let scores = try importance(run)
      let selection = try scores.selection(for: byHand, of: description)
      noteIndispensable(scores, keeping: byHand[.numLayers], of: description)
      // Without calibration nothing was computed.
      let type = inputs.isCalibrated ? [("compute_dtype", JSON.text("\(inputs.dtype)"))] : []
      let result = JSON.Object(type + [("best", .object([("export_config", byHand.json)]))])
      let card = try ModelCard(self, model, byHand, selection, inputs, isMeasured: inputs.isCalibrated, score: nil)
      try export(
        run, selection, inputs.isCalibrated ? scores : nil, result: result, record: [], card, SearchReport(byHand: card)
      )
      return try print(result)
    }
    guard let scoring = inputs.scoring else { return }
    // Kept scores that are damaged show here.
    let scorer = try CandidateScorer(
      scoring, inputs: inputs, store: run.store, racing: options.racing, console: console)
    try search(run, scorer, importance(run), planned: planned)
  }

  /// The hyperparameters that may get another value.
  private func pruned(_ byHand: ExportConfig?, in description: ModelDescription) -> [Hyperparameter] {
    guard let byHand else { return SearchSpace(description, settings).choices.map(\.hyperparameter) }
    return byHand.entries.filter { $0.value != description.value(of: $0.hyperparameter) }.map(\.hyperparameter)
  }

  /// Scores of importance, with the order of layers where it is given; without any where none are needed.
  private func importance(_ run: PruneRun) throws -> ImportanceScores {
    var scores = run.inputs.isCalibrated ? try measuredImportance(run) : ImportanceScores()
    scores.givenLayerRanking = run.inputs.layerRanking
    return scores
  }

  private func measuredImportance(_ run: PruneRun) throws -> ImportanceScores {
    let (executor, inputs, store) = (run.executor, run.inputs, run.store)
    let description = executor.weights.model.description
    if let kept = try store.importance(inputs.fingerprint, for: description) {
      console.note("importance scores are kept in \(store.directory ?? "memory"): no calibration needed")
      return kept
    }
    let rows = try inputs.calibrationRows()
    let micro = TokenBatch.groups(rows.rows, size: options.batchSize)
    let atOnce = description.tokensAtOnce(
      elementSize: inputs.dtype.byteCount, device: executor.weights.device)
    let batches = TokenBatch.packed(micro, tokens: atOnce)
    let whole = Selection(all: description)
    let observer = ImportanceObserver(
      description, microBatch: options.batchSize, expertChannels: options.expertChannels)
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    let plan = executor.plan(batches, subjects: [whole])
    try LibTorch.load()
    console.note(
      "calibrating on \(rows.rows.count) rows, \(Format.grouped(tokens)) tokens, in \(inputs.dtype); \(plan.summary)")
    if let hint = try options.compute.typeHint(for: executor.weights.model) { console.note(hint) }
    let progress = console.progress("calibration", total: tokens, unit: "tokens")
    let walk = store.calibrationWalk(
      inputs.fingerprint, about: inputs.about, executor, observer, note: { console.note($0) })
    let work = max(Executor.work(batches, subjects: [whole]), 1)
    try executor.walk(batches, subjects: [Subject(whole)], visitor: EveryLayer(observer), recorder: walk) {
      progress.update(Int(Double(tokens) * Double($0) / Double(work)))
    }
    progress.finish()
    let scores = try observer.scores()
    // What comes next has tensors of other sizes.
    try LibTorch.releaseMemory()
    // What was made of changed weights must not be kept under the old ones' hash.
    try run.model.checkpoint.checkUnchanged()
    keep(in: store, console) { try store.save(scores, inputs.fingerprint, about: inputs.about) }
    walk?.finish()
    return scores
  }

  private func search(
    _ run: PruneRun, _ scorer: CandidateScorer, _ scores: ImportanceScores, planned: SearchResult?
  ) throws {
    let description = run.model.description
    if !scores.layerRanking.isEmpty {
      console.note(
        "layers by importance, best first: " + scores.layerRanking.map { String($0 + 1) }.joined(separator: ", "))
    }
    let result =
      try planned
      ?? SearchSpace(description, settings)
      .search(description, settings, constraints, layerRanking: scores.layerRanking, console: console)
    let whole = MetricsCounter(description, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
      .metrics(of: Architecture(description))
    if !options.output.json { console.note(result.spaceTable(settings)) }

    let scored = try scorer.score(result.candidates.map(\.config), run.executor, scores)
    let (items, best) = (scored.scores, scored.best)
    let means = items.map(\.mean)
    let shown = try report(scored, result, scorer)
    let winner = result.candidates[best].config
    let selection = try scores.selection(for: winner, of: description)
    noteIndispensable(scores, keeping: winner[.numLayers], of: description)
    let record = [
      ("score_function", JSON.text(options.scoreFunction)), ("score", .double(means[best])),
      ("score_stderr", .double(items[best].standardError)),
    ]
    var json = result.json(model: whole) { index in
      let asked: [(String, JSON)] = scored.race == nil ? [] : [("score_items", .int(items[index].count))]
      return [("score", .double(means[index])), ("score_stderr", .double(items[index].standardError))] + asked
    }
    let certainty = scored.race.map { [("certainty", JSON.double($0.certainty))] } ?? []
    json["best"] = .object([("export_config", winner.json), ("score", .double(means[best]))] + certainty)
    json["compute_dtype"] = .text("\(run.inputs.dtype)")
    let card = try ModelCard(
      self, run.model, winner, selection, run.inputs, isMeasured: run.inputs.isCalibrated,
      score: ModelCard.Score(
        function: options.scoreFunction, value: scorer.text(means[best]), error: scorer.text(items[best].standardError),
        over: "\(Format.grouped(items[best].count)) \(scorer.itemName)"))
    let report = SearchReport(
      card, result, targets: options.search.targets, layerRanking: scores.layerRanking, scores: shown.columns,
      marks: shown.marks, best: best, notes: shown.notes)
    try export(run, selection, scores, result: json, record: record, card, report)
    try print(json)
    try checkBound(means[best])
  }

  /// Prints a result as JSON, where that was asked for.
  private func print(_ result: JSON.Object) throws {
    if options.output.json { try console.result(JSON.object(result).serialized(indent: 2)) }
  }

  /// The candidates and their scores as a table, the winner marked, and those that may be as good.
  ///
  /// - Returns: columns of scores, marks of candidates, and sentences about them, as they were printed.
  private func report(
    _ scored: CandidateScorer.Result, _ result: SearchResult, _ scorer: CandidateScorer
  ) throws -> (columns: [(column: String, texts: [String])], marks: [String], notes: [String]) {
    let (items, best) = (scored.scores, scored.best)
    let means = items.map(\.mean)
    let noise = items.map { 2 * items[best].pairedError(with: $0) }
    let close = items.indices.map { index in
      // Of a race, only who was in to the end can be as good.
      index != best && means[best] - means[index] <= noise[index]
        && scored.race.map { $0.survivors.contains(index) } ?? true
    }
    let texts = items.indices.map { index in
      "\(scorer.text(means[index])) ± \(scorer.text(items[index].standardError))"
    }
    var columns = [(column: options.scoreFunction, texts: texts)]
    if let race = scored.race {
      let asked = items.indices.map { index in
        Format.grouped(items[index].count) + (race.survivors.contains(index) ? "" : ", out")
      }
      columns.append((column: "asked", texts: asked))
    }
    let marks = close.map { $0 ? "≈" : "" }
    let table = result.candidatesTable(
      "Candidates, by \(options.scoreFunction)", scores: columns, marks: marks, best: best)
    if options.output.json { console.note(table) } else { try console.result(table) }
    var notes: [String] = []
    if close.contains(true) {
      notes.append("≈ differs from the best by less than two standard errors of the difference: it may be as good")
    }
    if let race = scored.race {
      notes.append(
        "\(Format.percent(race.certainty, places: 1)) sure that none would score more than a standard error above the "
          + "winner, were all asked everything")
    }
    for note in notes { console.note(note) }
    return (columns, marks, notes)
  }

  /// - Parameters:
  ///   - result: what `--json` prints, recorded for the time when the same is asked for again.
  ///   - record: further entries of `coppice.json`.
  private func export(
    _ run: PruneRun, _ selection: Selection, _ scores: ImportanceScores?, result: JSON.Object,
    record: [(String, JSON)], _ card: ModelCard, _ report: SearchReport
  ) throws {
    let (model, inputs, config) = (run.model, run.inputs, card.config)
    let exporter = try Exporter(model, selection: selection, companions: inputs.companions)
    let namingCode = exporter.filesNamingCode
    if !namingCode.isEmpty {
      console.note(
        "\(namingCode.joined(separator: ", ")): left out auto_map, the Python code it names stays with the source; the "
          + "result loads with transformers' own classes, with and without trust_remote_code")
    }
    let progress = console.progress("writing", total: try exporter.byteCount(), unit: "bytes")
    let origin: [(String, JSON)] = [
      ("coppice_version", .text(coppiceVersion)), ("export_config", config.json),
      ("kept_layers", .array(selection.layers.map { .int($0 + 1) })), ("made_of", inputs.resultFingerprint.json),
      ("request", run.request.fields.json), ("made_on", run.store.madeOn),
    ]
    try exporter.write(
      to: outputPath, record: .object(origin + record + [("result", .object(result))]),
      importance: scores.map { run.store.importanceEntries($0, inputs.fingerprint) },
      documents: [("README.md", card.readMe), ("report.md", report.text)], claim: run.claim,
      check: { try inputs.checkTokenizer(of: model) }, progress: { done, _ in progress.update(done) })
    progress.finish()
    let counter = MetricsCounter(model.description, rows: 1, tokens: settings.seqLength)
    let metrics = counter.metrics(of: selection.architecture(of: model.description))
    let original = counter.metrics(of: Architecture(model.description))
    console.note(
      "\(outputPath): \(Format.count(metrics.params)) of \(Format.count(original.params)) parameters, "
        + config.entries.map { "\($0.hyperparameter.rawValue) \($0.value)" }.joined(separator: ", "))
  }
}
