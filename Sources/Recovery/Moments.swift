import Torch

/// Second moments of what goes into a linear map, and of what it should give: sums over tokens, of products in float32, in float64.
///
/// Shapes: T tokens, N inputs, M targets.
final class Moments {
  /// Σ x xᵀ, `[N, N]`.
  let inputs: Tensor
  /// Σ t xᵀ, `[M, N]`.
  let targets: Tensor
  private(set) var tokens = 0

  init(inputs: Int, targets: Int) throws {
    self.inputs = try .zeros([inputs, inputs], dtype: .float64)
    self.targets = try .zeros([targets, inputs], dtype: .float64)
  }

  init(inputs: Tensor, targets: Tensor, tokens: Int) {
    (self.inputs, self.targets, self.tokens) = (inputs, targets, tokens)
  }

  /// - Parameters:
  ///   - x: `[T, N]` float32.
  ///   - t: `[T, M]` float32.
  func add(_ x: Tensor, _ t: Tensor) throws {
    guard x.shape[0] > 0 else { return }
    try inputs.add(x.transpose(0, 1).matmul(x).to(.float64))
    try targets.add(t.transpose(0, 1).matmul(x).to(.float64))
    tokens += x.shape[0]
  }
}

/// Moments of most of the tokens of each batch, to solve with, and of the rest, to judge by.
final class DividedMoments {
  let solved: Moments
  let heldBack: Moments
  init(solved: Moments, heldBack: Moments) { (self.solved, self.heldBack) = (solved, heldBack) }

  /// Of how many tokens one is held back.
  static let share = 8

  init(inputs: Int, targets: Int) throws {
    (solved, heldBack) = (
      try Moments(inputs: inputs, targets: targets), try Moments(inputs: inputs, targets: targets)
    )
  }

  /// - Parameters:
  ///   - x: `[T, N]` float32, the tokens of a batch in their order: those held back are the last rows' or the last row's end.
  ///   - t: `[T, M]` float32.
  func add(_ x: Tensor, _ t: Tensor) throws {
    let count = x.shape[0]
    let kept = count - count / Self.share
    try solved.add(x.narrow(dim: 0, start: 0, length: kept), t.narrow(dim: 0, start: 0, length: kept))
    try heldBack.add(
      x.narrow(dim: 0, start: kept, length: count - kept), t.narrow(dim: 0, start: kept, length: count - kept))
  }
}
