import Models
public import Torch

// Shapes: M positions, H hidden (the channels that are kept), V vocabulary.

/// The head of the subject at hand, for states that come subject by subject: one is in memory at a time.
struct HeadOfSubject {
  private let weights: WeightSource
  private var made: (subject: Int, head: OutputHead)?

  init(_ weights: WeightSource) { self.weights = weights }

  mutating func head(_ subject: Int, _ selection: Selection) throws -> OutputHead {
    if let made, made.subject == subject { return made.head }
    let head = try OutputHead(weights, selection: selection)
    made = (subject, head)
    return head
  }
}

/// The output head of one subject: logits for all of the vocabulary, or for the few rows that matter.
public final class OutputHead {
  private let weights: WeightSource
  private let hidden: Tensor?
  /// In a rotated basis, how many directions are kept.
  private let directions: (rotated: RotatedWeights, count: Int)?
  private var whole: Tensor?

  init(_ weights: WeightSource, selection: Selection) throws {
    self.weights = weights
    directions = try weights.rotated.flatMap { rotated in
      try selection.keptDirections().map { (rotated, $0) }
    }
    hidden = try selection.kept(.hidden, layer: nil).map { try Tensor($0.map(Int64.init), shape: [$0.count]) }
  }

  private func stored() throws -> Tensor {
    let description = weights.model.description
    return try weights.model.tensor((description.head ?? description.embedding).name)
  }

  /// Its rows as matrix products take them. In float32 on the CPU products widen stored rows themselves, slice by slice.
  private func prepare(_ rows: Tensor) throws -> Tensor {
    let cut =
      try directions.map { try $0.rotated.head(rows, keeping: $0.count) } ?? hidden.map {
        try rows.indexSelect(dim: 1, $0)
      } ?? rows
    if weights.device == .cpu, weights.dtype == .float32 { return cut }
    return try cut.to(weights.dtype).to(device: weights.device)
  }

  /// All of it, `[V, H]`, as products take it.
  public func weight() throws -> Tensor { try prepare(stored()) }

  /// Bytes of a head in the order in which products are quickest, at most: beyond that it is read as it is stored.
  static let packedBytes = 1 << 30

  /// Puts it into the order in which products of so many rows are quickest, where it is not too large for a copy.
  func pack(rows: Int) throws {
    let weight = try prepare(stored())
    let bytes = weight.shape.reduce(weights.dtype.byteCount, *)
    whole = bytes > Self.packedBytes ? weight : try weight.packedForLinear(rows: rows, inputs: weights.dtype)
  }

  /// `[M, H]` → `[M, rows]` in float32, for these vocabulary rows only; the others are not read.
  public func logits(_ x: Tensor, rows: [Int]) throws -> Tensor {
    let picked = try stored().indexSelect(dim: 0, Tensor(rows.map(Int64.init), shape: [rows.count]))
    return try finish(x.linear(weight: prepare(picked)))
  }

  /// `[M, H]` → `[M, V]` in float32.
  public func logits(_ x: Tensor) throws -> Tensor {
    let head = try whole ?? prepare(stored())
    whole = head
    return try finish(x.linear(weight: head))
  }

  /// Scales and caps logits, for families that do.
  private func finish(_ logits: Tensor) throws -> Tensor {
    let scales = weights.model.description.scales
    var logits = try logits.to(.float32)
    if let factor = scales.logits { logits = try logits.multiplied(by: factor) }
    if let softcap = scales.softcap {
      logits = try logits.divided(by: softcap).tanh().multiplied(by: softcap)
    }
    return logits
  }
}
