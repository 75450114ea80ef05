import Models
public import Torch

// Shapes: M positions, H hidden (the channels that are kept), V vocabulary.

/// The head of the subject at hand, for states that come subject by subject: one is in memory at a time.
struct HeadOfSubject {
  private let weights: WeightSource
  private var made: (subject: Int, head: OutputHead)?

  init(_ weights: WeightSource) { self.weights = weights }

  mutating func head(_ number: Int, _ subject: Subject) throws -> OutputHead {
    if let made, made.subject == number { return made.head }
    let head = try OutputHead(weights, of: subject)
    made = (number, head)
    return head
  }
}

/// The output head of one subject: logits for all of the vocabulary, or for the few rows that matter.
public final class OutputHead {
  private let weights: WeightSource
  private let subject: Subject
  private let hidden: Tensor?
  /// In a rotated basis, how many directions are kept.
  private let directions: (rotated: RotatedWeights, count: Int)?
  private var whole: Tensor?

  init(_ weights: WeightSource, of subject: Subject) throws {
    (self.weights, self.subject) = (weights, subject)
    let selection = subject.selection
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
  public func weight() throws -> Tensor {
    if let whole { return whole }
    var head = try prepare(stored())
    if let overlay = subject.overlay, let weight = weights.model.description.head {
      let own = try overlay.apply(LayerWeights([weight: head]), of: subject.selection, layer: nil)[weight]
      head = try own.to(head.dtype).to(device: head.device)
    }
    whole = head
    return head
  }

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
    let picked = try Tensor(rows.map(Int64.init), shape: [rows.count])
    let few =
      subject.overlay == nil
      ? try prepare(stored().indexSelect(dim: 0, picked))
      : try weight().indexSelect(dim: 0, picked.to(device: weights.device))
    return try finish(x.linear(weight: few), rows: picked)
  }

  /// `[M, H]` → `[M, R]`: products with rows that follow one another, of which only a view is taken.
  public func products(_ x: Tensor, slice: Range<Int>) throws -> Tensor {
    try x.linear(weight: weight().narrow(dim: 0, start: slice.lowerBound, length: slice.count))
  }

  /// Logits of such products: in float32, or these themselves where they are the logits.
  public func logits(of products: Tensor, slice: Range<Int>) throws -> Tensor {
    try finish(products, slice: slice, widening: false)
  }

  /// `[M, H]` → `[M, V]` in float32.
  public func logits(_ x: Tensor) throws -> Tensor {
    try finish(x.linear(weight: weight()))
  }

  /// Makes logits of products with the head.
  ///
  /// - Parameters:
  ///   - products: `[M, R]`.
  ///   - rows: of the vocabulary; nil for all.
  ///   - slice: the same where they follow one another.
  ///   - widening: whether products that are the logits already become float32, too.
  private func finish(
    _ products: Tensor, rows: Tensor? = nil, slice: Range<Int>? = nil, widening: Bool = true
  ) throws -> Tensor {
    let description = weights.model.description
    let bias = try description.headBias.map { weight in
      var bias = try weights.model.tensor(weight.name)
      if let rows { bias = try bias.indexSelect(dim: 0, rows) }
      if let slice { bias = try bias.narrow(dim: 0, start: slice.lowerBound, length: slice.count) }
      return try bias.to(device: weights.device)
    }
    return try description.scales.logits(of: products, bias: bias, widening: widening)
  }
}
