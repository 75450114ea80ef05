public import Execution
public import Models
public import Torch

// Shapes: B rows, S tokens, T valid tokens, H hidden, V vocabulary, N norms over the residual stream.

/// Measures what a rotated basis needs besides its directions: for each norm and each number of directions the constant
/// that takes the place of its weight.
///
/// With x a token's stream and y the first k of its H directions, a norm gives x / rms(x), and after a cut y / rms(y). The
/// factor c with which the latter comes closest to the former's first k directions, over all tokens, is the mean of
/// rms(y) / rms(x); with nothing cut it is 1. The mean differs little from token to token: a few rows are enough.
public final class NormConstants: WalkVisitor, TapObserver {
  private let model: ModelDescription
  private let directions: Tensor
  /// For each norm, [H] float64.
  private var sums: [Tensor?]
  private var counts: [Int]
  /// The number of each layer's first norm.
  private var firsts: [Int] = []

  /// Of calibration's micro-batches those that are enough: a sixteenth of them, evenly spread, at least so many as have
  /// 2,048 tokens, at most sixteen.
  public static func sample(of batches: [TokenBatch]) -> [TokenBatch] {
    let tokens = max(batches.reduce(0) { $0 + $1.tokenCount } / max(batches.count, 1), 1)
    let count = min(max((batches.count + 15) / 16, (2048 + tokens - 1) / tokens), min(batches.count, 16))
    return (0..<count).map { batches[$0 * batches.count / count] }
  }

  public init(_ model: ModelDescription, _ principal: PrincipalDirections) throws {
    self.model = model
    let hidden = model.sizes[.hidden]
    directions = try Tensor(principal.directions, shape: [hidden, hidden])
    var count = 0
    for layer in model.layers {
      firsts.append(count)
      count += layer.sublayers.count
    }
    sums = Array(repeating: nil, count: count + 1)
    counts = Array(repeating: 0, count: count + 1)
  }

  public func observer(subject: Int, layer: Int) -> (any TapObserver)? { self }
  public func observe(_ tap: Tap, layer: Int, _ sums: ChannelSums) throws {}
  public func observeExperts(layer: Int, _ sums: ExpertSums) throws {}

  public func observeLayer(_ layer: Int, input: Tensor, output: Tensor, lengths: [Int]) throws {}

  public func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
    guard let norm = model.norm(readingStream: sublayer, ofLayer: layer) else { return }
    try add(state, norm: firsts[layer] + sublayer, epsilon: norm.epsilon, lengths)
  }

  /// Tokens that one thread takes at a time: their numbers stay in the caches.
  private static let slice = 128

  private func add(_ stream: Tensor, norm: Int, epsilon: Double, _ lengths: [Int]?) throws {
    // What float64 needs is little, and not every device has it.
    let tokens = try stream.valid(lengths).to(device: .cpu).to(.float32)
    let hidden = tokens.shape[1]
    let dimensions = try Tensor.arange(hidden, dtype: .float64).adding(1)
    let starts = Array(stride(from: 0, to: tokens.shape[0], by: Self.slice))
    let parts = try Tensor.zeros([starts.count, hidden], dtype: .float64)
    try LibTorch.parallel(starts.count) { number in
      let length = min(Self.slice, tokens.shape[0] - starts[number])
      let squares = try tokens.narrow(dim: 0, start: starts[number], length: length).matmul(directions).square()
        .cumsum(dim: 1, dtype: .float64)
      try squares.divide(by: dimensions)
      try squares.add(epsilon)  // those of rms(y), for each k
      let whole = try squares.narrow(dim: 1, start: hidden - 1, length: 1).clone()
      try squares.divide(by: whole)
      try parts.narrow(dim: 0, start: number, length: 1).copy(from: squares.sqrt().sum(dims: [0], keepDim: true))
    }
    let seen = try parts.sum(dims: [0])
    sums[norm] = try sums[norm]?.adding(seen) ?? seen
    counts[norm] += tokens.shape[0]
  }

  /// For each norm the constants for 1 … H directions.
  ///
  /// - Throws: `ModelError` when nothing was seen, or what was seen is not finite.
  public func constants() throws -> [[Float]] {
    try zip(sums, counts).map { sum, count in
      guard let sum, count > 0 else { throw ModelError("nothing was observed at a norm of the residual stream") }
      let values = try sum.divided(by: Double(count)).to(.float32).floats()
      guard values.allSatisfy(\.isFinite) else { throw ModelError("the residual stream holds NaN or infinite values") }
      return values
    }
  }
}

extension RotatedWeights {
  /// For a head that is the embedding W: the factor by which each of its columns, the directions q, comes closest to the
  /// one of a head that has the final norm's weight g in it, ⟨W q, W (g ∘ q)⟩ / |W q|².
  ///
  /// - Returns: nil where the head is its own.
  public static func headFactors(_ model: SourceModel, _ principal: PrincipalDirections) throws -> [Float]? {
    let description = model.description
    guard description.isTied else { return nil }
    let hidden = description.sizes[.hidden]
    let embedding = try model.tensor(description.embedding.name)
    let products = try Tensor.zeros([hidden, hidden], dtype: .float64)  // Wᵀ W
    let step = max((8 << 20) / hidden, 1)
    for first in stride(from: 0, to: embedding.shape[0], by: step) {
      let rows = try embedding.narrow(dim: 0, start: first, length: min(step, embedding.shape[0] - first)).to(.float32)
      try products.add(rows.transpose(0, 1).matmul(rows).to(.float64))
    }
    let norm = description.finalNorm
    guard let gain = try norm.weight.map({ try model.tensor($0.name).to(.float64).adding(norm.kind.offset) }) else {
      return nil
    }
    let directions = try Tensor(principal.directions, shape: [hidden, hidden]).to(.float64)
    let met = try products.matmul(directions)
    let squares = try met.multiplied(by: directions).sum(dims: [0]).doubles()
    let scaled = try met.multiplied(by: directions.multiplied(by: gain.unsqueeze(1))).sum(dims: [0]).doubles()
    // A direction that the embedding does not have is not seen in logits, whatever its factor.
    return zip(scaled, squares).map { $1 > 0 ? Float($0 / $1) : 1 }
  }
}
