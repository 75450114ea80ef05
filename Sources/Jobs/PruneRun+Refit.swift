import Evaluation
import Execution
import Minitron
import Models
import Recovery
import Torch

extension PruneRun {
  /// Scores the candidates as a refit makes them, and chooses the best: all with each map refitted for itself; where maps are to be
  /// refitted one after another, the best few also as they would be written.
  ///
  /// - Returns: what was found for those few.
  func scoreRefitted(
    _ search: inout SearchOutcome, _ task: any ItemTask, _ scores: ImportanceScores
  ) throws -> [ExportConfig: (files: RefitFiles, counts: RefitCounts)] {
    guard request.refit != .none else { return [:] }
    let description = model.description
    let selections = try search.candidates.map { try scores.selection(for: $0.config, of: description) }
    let (local, rest) = try locally(search.candidates.map(\.config), scores)
    try CandidateScorer(
      task, inputs: inputs, store: store, events: events, weights: .refittedLocally, overlay: { _ in local }
    ).score(&search, rest, scores)
    guard request.refit == .sequential else { return [:] }
    let order = search.candidates.indices.filter { !search.candidates[$0].isOut }.sorted {
      let (a, b) = (search.candidates[$0].refittedScore?.mean ?? 0, search.candidates[$1].refittedScore?.mean ?? 0)
      return (a, $1) > (b, $0)
    }
    let best = Array(order.prefix(request.refitCandidates))
    var finished: [ExportConfig: (files: RefitFiles, counts: RefitCounts)] = [:]
    for number in best {
      let config = search.candidates[number].config
      if best.count > 1 { try events.note(.refittingCandidate(config, of: best.count)) }
      finished[config] = try refit(selections[number], config)
    }
    try CandidateScorer(
      task, inputs: inputs, store: store, events: events, weights: .finished, overlay: { finished[$0]?.files }
    ).score(&search, executor, scores, only: best)
    return finished
  }

  /// What refits each map for itself, and what walks architectures with such weights.
  func locally(_ configs: [ExportConfig], _ scores: ImportanceScores) throws -> (LocalRefit, Executor) {
    // The original walks along on rows of its own.
    let beside = Executor(sharing: executor, budget: executor.budget / 4)
    let selections = try configs.map { try scores.selection(for: $0, of: model.description) }
    return (
      try LocalRefit(beside, rowsToRefit().batches, for: selections, storedType: storedType),
      Executor(sharing: executor, budget: executor.budget - beside.budget)
    )
  }

  /// Refits what is kept, while the original and the pruned model walk side by side; nil where nobody asked for that.
  func refit(_ selection: Selection, _ config: ExportConfig) throws -> (files: RefitFiles, counts: RefitCounts)? {
    guard request.refit != .none else { return nil }
    let description = model.description
    let made = inputs.resultFingerprint.adding([
      ("export_config", config.json.serialized()), ("kept_layers", "\(selection.layers.map { $0 + 1 })"),
    ])
    let files = try RefitFiles(directory: store.directory, made, description, isFresh: store.fresh)
    let (rows, batches) = try rowsToRefit()
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    if request.refit == .local {
      let counts = try refitLocally(selection, files, rows: rows, batches)
      return (files, counts)
    }
    let directions = try executor.weights.rotated.flatMap { rotated in
      try selection.keptDirections().map { try rotated.directions(keeping: $0) }
    }
    let ahead = try StreamsAhead(
      description, selection, batches: batches.count, store: executor.makeStore(budget: executor.budget / 8)
    ) { try files.found($0) != nil }
    let walks = RefitMode.sequential.walks + (ahead == nil ? 0 : 1)
    try events.note(.refitting(rows: rows, tokens: tokens, walks: walks))
    if let ahead { try walk(ahead, batches) }
    let visitor = try RefitVisitor(
      description, selection, kept: files, directions: directions, tiedHead: tiedHead(selection), batches: batches,
      ahead: ahead, room: min(executor.budget, executor.room) / (ahead == nil ? 4 : 8), storedType: storedType
    )
    let subjects = visitor.subjects
    let progress = events.progress("refit", total: tokens, unit: "tokens")
    let work = Executor.work(batches, subjects: subjects.map(\.selection))
    try executor.walk(batches, subjects: subjects, visitor: visitor, progress: { progress.update($0, of: work) }) {
      subject, batch, hidden, head in
      try visitor.didFinish(subject: subject, batch: batches[batch], number: batch, hidden: hidden, head: head)
    }
    // Blocks of the layers' sizes are of no use to the head.
    try LibTorch.releaseMemory()
    try visitor.solveHead(norm: description.finalNorm.weight.map { try executor.weights.outer($0, of: selection) })
    progress.finish()
    try LibTorch.releaseMemory()
    try model.checkpoint.checkUnchanged()
    try events.note(.refitted(visitor.counts))
    return (files, visitor.counts)
  }

  /// The original alone, as far as what is dropped of it can be made up for.
  private func walk(_ ahead: StreamsAhead, _ batches: [TokenBatch]) throws {
    let subjects = [ahead.subject]
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    let progress = events.progress("dropped layers", total: tokens, unit: "tokens")
    let work = Executor.work(batches, subjects: subjects.map(\.selection))
    try executor.walk(batches, subjects: subjects, visitor: ahead.visitor, progress: { progress.update($0, of: work) })
    progress.finish()
  }

  /// Calibration rows that are refitted on.
  func rowsToRefit() throws -> (rows: Int, batches: [TokenBatch]) {
    let rows = Array(try inputs.text.calibrationRows().rows.prefix(request.rowsToRefit))
    let micro = TokenBatch.groups(rows, size: request.batchSize)
    let atOnce = model.description.tokensAtOnce(
      elementSize: inputs.dtype.byteCount, device: executor.weights.device)
    return (rows.count, TokenBatch.packed(micro, tokens: atOnce))
  }

  /// The type that a weight has in the result.
  var storedType: (Weight, Int?) -> DType {
    { [model, dtype = inputs.dtype] weight, layer in
      model.checkpoint.entry(weight.name(layer: layer))?.type.dtype ?? dtype
    }
  }

  /// Refits the maps whose inputs are cut, each for itself.
  private func refitLocally(
    _ selection: Selection, _ files: RefitFiles, rows: Int, _ batches: [TokenBatch]
  ) throws -> RefitCounts {
    let local = try LocalRefit(executor, batches, for: [selection], storedType: storedType)
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    try events.note(.refitting(rows: rows, tokens: tokens, walks: RefitMode.local.walks))
    let progress = events.progress("refit", total: selection.layers.count + 1, unit: "layers")
    var counts = RefitCounts()
    let places: [Int?] = selection.layers + [nil]
    for (number, layer) in places.enumerated() {
      var found = try files.found(layer)
      if found == nil {
        let weights =
          try layer.map { try executor.weights.layer($0, of: selection) } ?? executor.weights.outside(selection)
        let made = try local.refitted(weights, of: selection, layer: layer)
        try files.keep(made.weights, layer: layer, counts: made.counts)
        found = made
      }
      counts = counts + (found?.counts ?? RefitCounts())
      progress.update(number + 1)
    }
    progress.finish()
    try LibTorch.releaseMemory()
    try model.checkpoint.checkUnchanged()
    try events.note(.refitted(counts))
    return counts
  }

  /// The embedding as a head, with the final norm's weight, of the original and of the pruned model; nil where it is not tied.
  private func tiedHead(_ selection: Selection) throws -> (whole: Tensor, own: Tensor)? {
    let description = model.description
    guard description.isTied, selection.kept(.hidden, layer: nil) != nil else { return nil }
    let offset = description.finalNorm.kind.offset
    func head(_ source: (Weight) throws -> Tensor) throws -> Tensor {
      let rows = try source(description.embedding).to(.float32)
      return try description.finalNorm.weight.map {
        try rows.multiplied(by: source($0).to(.float32).adding(offset))
      } ?? rows
    }
    return (
      try head { try model.tensor($0.name) }, try head { try executor.weights.outer($0, of: selection) }
    )
  }
}
