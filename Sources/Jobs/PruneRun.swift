import Checkpoint
import Evaluation
import Execution
import Formatting
import JSON
import Minitron
import Models
import Recovery
import Torch

/// What one run computes with, and its steps.
struct PruneRun {
  let model: SourceModel
  let inputs: PruneInputs
  let recorded: RecordedRequest
  let claim: OutputClaim
  let job: PruneJob
  let executor: Executor
  let store: PruneStore

  var request: PruneRequest { job.request }
  var events: RunEvents { job.events }

  init(_ prepared: PruneJob.Prepared, job: PruneJob, executor: Executor, store: PruneStore) {
    (model, inputs, recorded) = (prepared.model, prepared.inputs, prepared.recorded)
    claim = prepared.claim
    (self.job, self.executor, self.store) = (job, executor, store)
  }

  /// Prunes to an architecture given by hand.
  func prune(to config: ExportConfig) throws -> PruneOutcome {
    let scores = try importance()
    let selection = try scores.selection(for: config, of: model.description)
    try noteIndispensable(scores, keeping: config[.numLayers])
    let refitted = try refit(selection, config)
    let outcome = outcome(config, selection, refit: refitted?.counts)
    let card = try ModelCard(job, model, config, selection, inputs, outcome)
    try export(
      selection, refitted, hasScores ? scores : nil, outcome, score: [], card, SearchReport(byHand: card))
    return outcome
  }

  /// Searches, scores the candidates and prunes to the best of them.
  ///
  /// - Parameter planned: the result of the search, where it has been done already.
  func search(_ task: any ItemTask, planned: SearchResult?) throws -> PruneOutcome {
    let description = model.description
    // Kept scores that are damaged show here.
    let scorer = try CandidateScorer(task, inputs: inputs, store: store, events: events)
    let runOffRows = try runOffRows()
    let scores = try importance()
    // Where it is said which layers go there is no order of importance.
    let ranking = inputs.layers.choice.dropped.isEmpty ? scores.layerRanking : []
    if !ranking.isEmpty { try events.note(.layerRanking(ranking.map { $0 + 1 })) }
    let forecast = request.search.prefilter == .kl ? try forecast(scores) : nil
    let found =
      try (forecast == nil ? planned : nil)
      ?? job.search(description, layerRanking: scores.layerRanking, forecast: forecast)
    var search = SearchOutcome(found, job.settings, original: description.counts(job.settings), forecast: forecast)
    try events.send(.searched(search))
    if request.refit == .none || !request.racing { try scorer.score(&search, executor, scores) }
    var finished = try scoreRefitted(&search, task, scores)
    if let runOffRows { try runOff(runOffRows, &search, &finished, scores) }
    try events.send(.chosen(search))
    guard let best = search.best, let score = best.deliveredScore else { throw RunError("no candidate was scored") }
    let selection = try scores.selection(for: best.config, of: description)
    try noteIndispensable(scores, keeping: best.config[.numLayers])
    let refitted = try finished[best.config] ?? refit(selection, best.config)
    let outcome = outcome(best.config, selection, score, search, refit: refitted?.counts)
    let card = try ModelCard(job, model, best.config, selection, inputs, outcome)
    let report = SearchReport(
      card, search, targets: request.search.targets, layerRanking: ranking)
    try export(
      selection, refitted, hasScores ? scores : nil, outcome,
      score: [
        ("score_function", JSON.text(request.scoreFunction.text)), ("score", .double(score.mean)),
        ("score_stderr", .double(score.standardError)),
      ], card, report)
    for files in finished.values.map(\.files) { files.remove() }
    return outcome
  }

  private func outcome(
    _ config: ExportConfig, _ selection: Selection, _ score: ScoreOutcome? = nil, _ search: SearchOutcome? = nil,
    refit: RefitCounts?
  ) -> PruneOutcome {
    let counts = model.description.counts(selection.architecture(of: model.description), tokens: job.settings.seqLength)
    // By hand and without calibration nothing was computed.
    let isComputed = search != nil || inputs.isCalibrated
    return PruneOutcome(
      output: request.output, architecture: config, keptLayers: selection.layers.map { $0 + 1 },
      original: counts.original, pruned: counts.pruned, score: score, search: search,
      computeType: isComputed ? "\(inputs.dtype)" : nil, basis: inputs.basis,
      layerScore: inputs.layers.score == .kl ? .kl : .cosine, refit: refit)
  }

  /// Says which layer is kept whatever its rank, where there is one.
  private func noteIndispensable(_ scores: ImportanceScores, keeping count: Int?) throws {
    let description = model.description
    let kept = count ?? description.layers.count
    let (ranking, choice) = (scores.layerRanking, inputs.layers.choice)
    if let note = description.indispensableNote(ranking, choice, keeping: kept) {
      try events.note(.indispensableLayer(note))
    }
    let higher = ranking.prefix(kept)
    let byHand = choice.kept.layers(of: description.layers.count).filter { !higher.contains($0) }
    if !byHand.isEmpty, !ranking.isEmpty, choice.dropped.isEmpty {
      try events.note(.keptByHand(byHand.map { $0 + 1 }))
    }
  }

  /// Whether there are scores of importance, or of layers.
  private var hasScores: Bool { inputs.measuresImportance || inputs.layers.score == .kl }

  // MARK: Importance

  /// Scores of importance, with the order of layers where it is given; without any where none are needed.
  private func importance() throws -> ImportanceScores {
    var scores = inputs.measuresImportance ? try measuredImportance() : ImportanceScores()
    scores.givenLayerRanking = inputs.layers.known(model.description)
    scores.layerChoice = inputs.layers.choice
    if inputs.layers.score == .kl { scores.layerDivergences = try layerDivergences() }
    // What is scored from here on is cut in this basis.
    if let rotation = scores.rotation { try executor.weights.rotate(by: rotation) }
    return scores
  }

  private func measuredImportance() throws -> ImportanceScores {
    let description = model.description
    if let kept = try store.importance(inputs.fingerprint, for: description) {
      try events.note(.importanceKept(directory: store.directory))
      return kept
    }
    let rows = try inputs.text.calibrationRows()
    let micro = TokenBatch.groups(rows.rows, size: request.batchSize)
    let atOnce = description.tokensAtOnce(
      elementSize: inputs.dtype.byteCount, device: executor.weights.device)
    let batches = TokenBatch.packed(micro, tokens: atOnce)
    let whole = Selection(all: description)
    let visitor = ImportanceVisitor(
      description, microBatch: request.batchSize, expertChannels: request.expertChannels,
      basis: inputs.basis)
    let observer = visitor.importance
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    let plan = executor.plan(batches, subjects: [whole])
    try LibTorch.load()
    try events.note(
      .calibrating(rows: rows.rows.count, tokens: tokens, dtype: "\(inputs.dtype)", WalkSummary(plan)))
    if let hint = try request.compute.typeHint(for: model) { try events.note(.computeType(hint)) }
    let progress = events.progress("calibration", total: tokens, unit: "tokens")
    let work = Executor.work(batches, subjects: [whole])
    let walk = store.calibrationWalk(
      inputs.fingerprint, about: inputs.about, executor, observer, note: { events.post(.note(.resuming($0))) })
    try executor.walk(batches, subjects: [Subject(whole)], visitor: visitor, recorder: walk) {
      progress.update($0, of: work)
    }
    progress.finish()
    var scores = try observer.scores()
    if inputs.basis == .rotated { scores.rotate(by: try rotation(observer, rows: micro)) }
    // What comes next has tensors of other sizes.
    try LibTorch.releaseMemory()
    // What was made of changed weights must not be kept under the old ones' hash.
    try model.checkpoint.checkUnchanged()
    try keep(events) { try store.save(scores, inputs.fingerprint, about: inputs.about) }
    walk?.finish()
    return scores
  }

  // MARK: Export

  /// What writes a selection's weights, refitted where they are.
  func exporter(
    _ selection: Selection, _ refitted: (files: RefitFiles, counts: RefitCounts)?, _ scores: ImportanceScores?
  ) throws -> Exporter {
    var exporter = try Exporter(
      model, selection: selection, rotation: scores?.rotation, companions: inputs.companions)
    if let refitted { exporter.replacement = { try refitted.files.found($1)?.weights[$0] } }
    return exporter
  }

  /// - Parameter score: further entries of `coppice.json`.
  private func export(
    _ selection: Selection, _ refitted: (files: RefitFiles, counts: RefitCounts)?, _ scores: ImportanceScores?,
    _ outcome: PruneOutcome,
    score: [(String, JSON)],
    _ card: ModelCard, _ report: SearchReport
  ) throws {
    let config = outcome.architecture
    let exporter = try exporter(selection, refitted, scores)
    if let rotation = scores?.rotation, let kept = try selection.keptDirections() {
      let share = rotation.shares.prefix(kept).reduce(0) { $0 + Double($1) }
      try events.note(.rotated(kept: kept, of: rotation.hidden, share: share))
    }
    let namingCode = exporter.filesNamingCode
    if !namingCode.isEmpty { try events.note(.codeLeftOut(files: namingCode, isNative: model.description.isNative)) }
    let progress = events.progress("writing", total: try exporter.byteCount(), unit: "bytes")
    let origin: [(String, JSON)] = [
      ("coppice_version", .text(coppiceVersion)), ("export_config", config.json),
      ("kept_layers", .array(outcome.keptLayers.map(JSON.int))), ("made_of", inputs.resultFingerprint.json),
      ("request", recorded.fields.json), ("made_on", store.madeOn),
    ]
    let result = outcome.json.map { [("result", $0)] } ?? []
    try exporter.write(
      to: request.output, record: .object(origin + score + result),
      importance: scores.map { store.importanceEntries($0, inputs.layerFingerprint) },
      documents: [("README.md", card.readMe), ("report.md", report.text)], claim: claim,
      check: { try inputs.checkTokenizer(of: model) }, progress: { done, _ in progress.update(done) })
    progress.finish()
    refitted?.files.remove()
    try events.note(
      .written(output: request.output, params: outcome.pruned.params, original: outcome.original.params, config))
  }
}
