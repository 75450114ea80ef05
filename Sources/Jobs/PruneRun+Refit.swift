import Execution
import Minitron
import Models
import Recovery
import Torch

extension PruneRun {
  /// Refits what is kept, while the original and the pruned model walk side by side; nil where nobody asked for that.
  func refit(_ selection: Selection, _ config: ExportConfig) throws -> RefitFiles? {
    guard request.refit != .none else { return nil }
    let description = model.description
    let made = inputs.resultFingerprint.adding([
      ("export_config", config.json.serialized()), ("kept_layers", "\(selection.layers.map { $0 + 1 })"),
    ])
    let files = try RefitFiles(directory: store.directory, made, description, isFresh: store.fresh)
    let rows = Array(try inputs.text.calibrationRows().rows.prefix(request.refitRows))
    let micro = TokenBatch.groups(rows, size: request.batchSize)
    let atOnce = description.tokensAtOnce(elementSize: inputs.dtype.byteCount, device: executor.weights.device)
    let batches = TokenBatch.packed(micro, tokens: atOnce)
    let visitor = try RefitVisitor(description, selection, kept: files) { [model, dtype = inputs.dtype] weight, layer in
      model.checkpoint.entry(weight.name(layer: layer))?.type.dtype ?? dtype
    }
    let subjects = [Subject(Selection(all: description)), Subject(selection)]
    try events.note(.refitting(rows: rows.count, tokens: batches.reduce(0) { $0 + $1.tokenCount }))
    let progress = events.progress("refit", total: batches.reduce(0) { $0 + $1.tokenCount }, unit: "tokens")
    let work = Executor.work(batches, subjects: subjects.map(\.selection))
    try executor.walk(batches, subjects: subjects, visitor: visitor, progress: { progress.update($0, of: work) }) {
      subject, batch, hidden, head in
      try visitor.didFinish(subject: subject, batch: batches[batch], number: batch, hidden: hidden, head: head)
    }
    try visitor.solveHead(norm: finalNorm(selection))
    progress.finish()
    try LibTorch.releaseMemory()
    try model.checkpoint.checkUnchanged()
    try events.note(.refitted(visitor.counts))
    return files
  }

  /// The pruned model's final norm's weight.
  private func finalNorm(_ selection: Selection) throws -> Tensor {
    let weight = try model.tensor(model.description.finalNorm.weight.name)
    guard let channels = selection.kept(.hidden, layer: nil) else { return weight }
    return try weight.indexSelect(dim: 0, Tensor(channels.map(Int64.init), shape: [channels.count]))
  }
}
