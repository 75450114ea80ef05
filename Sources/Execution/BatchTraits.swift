import Models
import Torch

/// Positions of the batches, made once for all layers.
struct BatchTraits {
  private let batches: [TokenBatch]
  private var positions: [Positions] = []
  private var packed: [(wantedPositions: Positions, wanted: Tensor, stored: Tensor?)?] = []

  init(_ batches: [TokenBatch], dtype: DType, device: Device) throws {
    self.batches = batches
    var byWidth: [Int: Positions] = [:]
    for batch in batches {
      if let packing = batch.packing {
        let lengths = packing.lengths
        func indices(_ values: [Int]) throws -> Tensor {
          try Tensor(values.map(Int64.init), shape: [values.count]).to(device: device)
        }
        positions.append(Positions(places: packing.positions, lengths: lengths, dtype: dtype, device: device))
        packed.append(
          (
            Positions(
              places: packing.wanted.map { packing.positions[$0] }, lengths: packing.wanted.map { lengths[$0] },
              dtype: dtype, device: device),
            try indices(packing.wanted), packing.stored.isEmpty ? nil : try indices(packing.stored)
          ))
      } else {
        let shared = byWidth[batch.width] ?? Positions(count: batch.width, dtype: dtype, device: device)
        byWidth[batch.width] = shared
        positions.append(shared.rows(lengths: batch.lengths))
        packed.append(nil)
      }
    }
  }

  func context(
    _ index: Int, layer: Int, observer: (any TapObserver)?, linearObserver: (any LinearObserver)?, carry: CarriedKeys,
    lastTokensOnly: Bool
  ) -> ForwardContext {
    let batch = batches[index]
    var packed: PackedContext?
    if let packing = batch.packing, let traits = self.packed[index] {
      packed = PackedContext(
        packing, wantedPositions: traits.wantedPositions, wanted: traits.wanted, stored: traits.stored, carry: carry)
      packed?.lastTokensOnly = lastTokensOnly
    }
    return ForwardContext(
      layer: layer, lengths: batch.lengths, microBatches: batch.microBatches, positions: positions[index],
      observer: observer, linearObserver: linearObserver, packed: packed)
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
