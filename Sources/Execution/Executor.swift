public import Models
public import Torch

// Shapes: B rows, S tokens, H hidden.

/// Walks a model layer by layer: bring a layer in, run every batch of every subject through it, let it go.
///
/// The model is never in memory as a whole. Several subjects (the original and candidates cut from it) share
/// one walk: each layer is read once and sliced for each subject.
public final class Executor {
  public let weights: WeightSource
  private var model: SourceModel { weights.model }

  /// - Parameter dtype: the type computed with.
  public init(_ model: SourceModel, dtype: DType) { weights = WeightSource(model, dtype: dtype) }

  /// What happens at the end of a walk with one batch of one subject.
  /// - Parameter hidden: `[B, S, H]` after the final norm.
  public typealias Finish = (_ subject: Int, _ batch: Int, _ hidden: Tensor, _ head: OutputHead) throws -> Void

  /// Lets `observer` see the activations of the whole model. Neither final norm nor head are computed.
  ///
  /// - Parameter progress: called with the number of row-layers done, of `work(batches:subjects:)`.
  public func observe(
    _ batches: [TokenBatch], observer: any TapObserver, progress: (Int) -> Void = { _ in }
  ) throws {
    _ = try walk(batches, [Selection(all: model.description)], observer, progress)
  }

  /// - Parameters:
  ///   - subjects: what stays of the model, one each. Hidden states of all of them are held at once.
  ///   - progress: called with the number of row-layers done, of `work(batches:subjects:)`.
  ///   - finish: called for every batch of every subject at the end of the walk.
  public func run(
    _ batches: [TokenBatch], subjects: [Selection], progress: (Int) -> Void, finish: Finish
  ) throws {
    try end(batches, subjects, walk(batches, subjects, nil, progress), finish)
  }

  public func run(_ batches: [TokenBatch], subjects: [Selection], finish: Finish) throws {
    try run(batches, subjects: subjects, progress: { _ in }, finish: finish)
  }

  /// The hidden states of every subject and batch after the last layer.
  private func walk(
    _ batches: [TokenBatch], _ subjects: [Selection], _ observer: (any TapObserver)?, _ progress: (Int) -> Void
  ) throws -> [[Tensor]] {
    try check(batches)
    let description = model.description
    var states: [[Tensor]] = try subjects.map { subject in
      let kept = try subject.kept(.hidden, layer: nil).map { try Tensor($0.map(Int64.init), shape: [$0.count]) }
      return try batches.map { batch in
        let embedded = try weights.embed(batch.tensor())
        return try kept.map { try embedded.indexSelect(dim: 2, $0) } ?? embedded
      }
    }
    weights.releaseEmbedding()
    var positions: [Int: Positions] = [:]
    for width in Set(batches.map(\.width)) { positions[width] = Positions(count: width, dtype: weights.dtype) }

    var done = 0
    for layer in description.layers.indices {
      let takers = subjects.indices.filter { subjects[$0].layers.contains(layer) }
      if takers.isEmpty { continue }
      let whole = try weights.layer(layer)
      weights.prefetch(layer: layer + 1)
      for subject in takers {
        var sliced = try whole.sliced(by: subjects[subject], layer: layer, sizes: description.sizes)
        if batches.reduce(0, { $0 + $1.rows.count * $1.width }) >= 2048 { sliced = try sliced.packed(rows: batches[0].width * batches[0].rows.count) }
        for (index, batch) in batches.enumerated() {
          guard let positions = positions[batch.width] else { continue }
          let context = ForwardContext(
            layer: layer, lengths: batch.lengths, positions: positions, observer: observer)
          states[subject][index] = try description.layers[layer].forward(
            states[subject][index], weights: sliced, context: context)
          done += batch.rows.count
          progress(done)
        }
      }
      weights.release(layer: layer)
    }
    return states
  }

  private func end(
    _ batches: [TokenBatch], _ subjects: [Selection], _ states: [[Tensor]], _ finish: Finish
  ) throws {
    let norm = model.description.finalNorm
    var tensors: [Weight: Tensor] = [:]
    for weight in norm.weights { tensors[weight] = try model.tensor(weight.name).to(weights.dtype) }
    for (subject, selection) in subjects.enumerated() {
      let sliced = try LayerWeights(tensors).sliced(by: selection, layer: nil, sizes: model.description.sizes)
      let head = try OutputHead(weights, selection: selection)
      for batch in batches.indices {
        try finish(subject, batch, norm.forward(states[subject][batch], weights: sliced), head)
      }
    }
    weights.releaseEmbedding()
    if let head = model.description.head { model.checkpoint.release([head.name]) }
  }

  /// Row-layers of a walk: what `progress` counts up to.
  public static func work(_ batches: [TokenBatch], subjects: [Selection]) -> Int {
    batches.reduce(0) { $0 + $1.rows.count } * subjects.reduce(0) { $0 + $1.layers.count }
  }

  private func check(_ batches: [TokenBatch]) throws {
    for batch in batches {
      for row in batch.rows { try model.check(row) }
    }
  }
}

extension SourceModel {
  /// - Throws: `ModelError` when a row is empty or holds a token that the embedding has no row for.
  func check(_ row: [Int32]) throws {
    guard !row.isEmpty else { throw ModelError("a row without tokens cannot go through a model") }
    let vocabulary = description.sizes[.vocabulary]
    if let token = row.first(where: { $0 < 0 || $0 >= vocabulary }) {
      throw ModelError(
        "the token number \(token) is outside the model's vocabulary of \(vocabulary): the tokenizer in "
          + "\(checkpoint.directory) does not belong to these weights")
    }
  }
}
