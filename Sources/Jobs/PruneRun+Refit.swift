import Execution
import Minitron
import Models
import Recovery
import Torch

extension PruneRun {
  /// Refits what is kept, while the original and the pruned model walk side by side; nil where nobody asked for that.
  func refit(_ selection: Selection, _ config: ExportConfig) throws -> (files: RefitFiles, counts: RefitCounts)? {
    guard request.refit != .none else { return nil }
    let description = model.description
    let made = inputs.resultFingerprint.adding([
      ("export_config", config.json.serialized()), ("kept_layers", "\(selection.layers.map { $0 + 1 })"),
    ])
    let files = try RefitFiles(directory: store.directory, made, description, isFresh: store.fresh)
    let rows = Array(try inputs.text.calibrationRows().rows.prefix(request.rowsToRefit))
    let micro = TokenBatch.groups(rows, size: request.batchSize)
    let atOnce = description.tokensAtOnce(elementSize: inputs.dtype.byteCount, device: executor.weights.device)
    let batches = TokenBatch.packed(micro, tokens: atOnce)
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    let directions = try executor.weights.rotated.flatMap { rotated in
      try selection.keptDirections().map { try rotated.directions(keeping: $0) }
    }
    let visitor = try RefitVisitor(
      description, selection, kept: files, directions: directions, tiedHead: tiedHead(selection), batches: batches,
      room: executor.budget / 4
    ) { [model, dtype = inputs.dtype] weight, layer in
      model.checkpoint.entry(weight.name(layer: layer))?.type.dtype ?? dtype
    }
    let subjects = [Subject(Selection(all: description)), Subject(selection)]
    try events.note(.refitting(rows: rows.count, tokens: tokens))
    let progress = events.progress("refit", total: tokens, unit: "tokens")
    let work = Executor.work(batches, subjects: subjects.map(\.selection))
    try executor.walk(batches, subjects: subjects, visitor: visitor, progress: { progress.update($0, of: work) }) {
      subject, batch, hidden, head in
      try visitor.didFinish(subject: subject, batch: batches[batch], number: batch, hidden: hidden, head: head)
    }
    try visitor.solveHead(norm: executor.weights.outer(description.finalNorm.weight, of: selection))
    progress.finish()
    try LibTorch.releaseMemory()
    try model.checkpoint.checkUnchanged()
    try events.note(.refitted(visitor.counts, experts: description.layers.contains { !$0.expertWeights.isEmpty }))
    return (files, visitor.counts)
  }

  /// The embedding as a head, with the final norm's weight, of the original and of the pruned model; nil where it is not tied.
  private func tiedHead(_ selection: Selection) throws -> (whole: Tensor, own: Tensor)? {
    let description = model.description
    guard description.isTied, selection.kept(.hidden, layer: nil) != nil else { return nil }
    let (norm, offset) = (description.finalNorm.weight, description.finalNorm.kind.offset)
    func head(_ rows: Tensor, _ factors: Tensor) throws -> Tensor {
      try rows.to(.float32).multiplied(by: factors.to(.float32).adding(offset))
    }
    return (
      try head(model.tensor(description.embedding.name), model.tensor(norm.name)),
      try head(
        executor.weights.outer(description.embedding, of: selection), executor.weights.outer(norm, of: selection))
    )
  }
}
