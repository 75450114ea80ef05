import Evaluation
import Execution
import Minitron
import Models
import Torch

extension PruneRun {
  /// What the whole model loses without each of its layers: the divergence of its next token's distribution per predicted
  /// token, on the first calibration rows. All of these models walk together, and what they share is computed once.
  func layerDivergences() throws -> [Double] {
    let (description, made) = (model.description, inputs.layerFingerprint)
    if let kept = try store.layerDivergences(made, for: description) {
      try events.note(.layerScoresKept(directory: store.directory))
      return kept
    }
    let all = try inputs.text.calibrationRows().rows
    let rows = Array(all.prefix(request.rowsToScoreLayers))
    let text = try LanguageModeling(rows: rows)
    let layers = Array(description.layers.indices)
    // Those that have to be kept need no score: what is computed in their places is the whole model.
    let subjects = layers.map { left in
      Selection(layers: layers.filter { $0 != left || description.required.layers.contains(left) })
    }
    let tokens = text.batches.reduce(0) { $0 + $1.tokenCount }
    let lengths = rows.map(\.count)
    let work =
      description.layerScoringOperations(rows: lengths)
      / max(description.operations(rows: lengths, in: Architecture(description)), 1)
    try LibTorch.load()
    try events.note(
      .scoringLayers(
        layers.count, rows: rows.count, of: all.count, tokens: tokens, likeRows: Int(Double(rows.count) * work),
        WalkSummary(text.plan(executor, ofParts: subjects))))
    let partial = PartialScores()
    let walk = store.layerWalk(
      made, about: inputs.about, executor, note: { events.post(.note(.resuming($0))) }, sums: { partial.sums },
      restore: { try partial.restore($0) })
    partial.recorder = walk
    let progress = events.progress("scoring layers", total: tokens, unit: "tokens")
    let scores = try text.negativeDivergence(executor, ofParts: subjects, partial: partial) {
      progress.update($0, of: $1)
    }
    progress.finish(saying: "scored \(layers.count) layers")
    try LibTorch.releaseMemory()
    let divergences = scores.map { -$0.mean }
    try model.checkpoint.checkUnchanged()
    try keep(events) { try store.save(layerDivergences: divergences, made, about: inputs.about) }
    walk?.finish()
    return divergences
  }
}

extension PruneRequest {
  /// Calibration rows that layers are scored on, as many as hold 65,536 tokens, from 16 to 256, unless the request says.
  var rowsToScoreLayers: Int {
    min(layerScoreRows ?? min(max((1 << 16) / search.seqLength, 16), 256), calibrationRows)
  }
}

extension ModelDescription {
  /// Operations that scoring layers takes on rows: the whole model, and without each layer what comes after it; logits of both
  /// for each.
  func layerScoringOperations(rows: [Int]) -> Double {
    let all = Array(layers.indices)
    let own = all.map { operations(rows: rows, in: Architecture(self, layers: [$0])) }
    let walks = own.enumerated().reduce(0) { $0 + Double($1.offset + 1) * $1.element }
    return walks + 2 * Double(all.count) * headOperations(tokens: rows.reduce(0, +))
  }
}
