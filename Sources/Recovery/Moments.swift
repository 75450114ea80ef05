import Minitron
package import Torch

/// Second moments of what goes into a linear map, and of what it should give: sums over tokens in float64 (`TokenProducts`).
///
/// Shapes: T tokens, N inputs, M targets. Activations are of the type that was computed in.
package final class Moments {
  /// Σ t xᵀ, `[M, N]`.
  package let targets: Tensor
  private let gram: Gram

  package var tokens: Int { gram.tokens }

  /// Σ x xᵀ, `[N, N]`.
  package var inputs: Tensor { get throws { try gram.sums } }

  package init(inputs: Int, targets: Int) throws {
    gram = try Gram(inputs)
    self.targets = try .zeros([targets, inputs], dtype: .float64)
  }

  /// - Parameters:
  ///   - inputs: `[N, N]` float64.
  ///   - targets: `[M, N]` float64.
  ///   - tokens: that were summed over.
  package init(inputs: Tensor, targets: Tensor, tokens: Int) {
    (gram, self.targets) = (Gram(inputs, tokens: tokens), targets)
  }

  /// - Parameters:
  ///   - x: `[T, N]`.
  ///   - t: `[T, M]`.
  package func add(_ x: Tensor, _ t: Tensor) throws {
    guard x.shape[0] > 0 else { return }
    try gram.add(x)
    try TokenProducts.add(t, x, to: targets)
  }
}

/// Second moments of what goes into linear maps: sums over tokens in float64.
package final class Gram {
  package private(set) var tokens = 0
  /// Only the upper triangle counts, until it is mirrored.
  private let upper: Tensor
  private var isMirrored = false

  /// Σ x xᵀ, `[N, N]`: no copy.
  package var sums: Tensor {
    get throws {
      if !isMirrored { try upper.mirrorUpper() }
      isMirrored = true
      return upper
    }
  }

  package init(_ inputs: Int) throws { upper = try .zeros([inputs, inputs], dtype: .float64) }

  fileprivate init(_ sums: Tensor, tokens: Int) { (upper, self.tokens) = (sums, tokens) }

  /// - Parameter x: `[T, N]`.
  package func add(_ x: Tensor) throws {
    guard x.shape[0] > 0 else { return }
    try TokenProducts.add(x, x, to: upper)
    tokens += x.shape[0]
    isMirrored = false
  }
}

/// Moments of most rows of text, to solve with, and of the rest, to judge by.
package final class DividedMoments {
  package let solved: Moments
  package let heldBack: Moments

  package init(inputs: Int, targets: Int) throws {
    (solved, heldBack) = (
      try Moments(inputs: inputs, targets: targets), try Moments(inputs: inputs, targets: targets)
    )
  }

  package init(solved: Moments, heldBack: Moments) { (self.solved, self.heldBack) = (solved, heldBack) }

  /// - Parameters:
  ///   - x: `[T, N]`, the valid tokens of a batch.
  ///   - t: `[T, M]`.
  package func add(_ x: Tensor, _ t: Tensor, _ division: RowDivision.Batch) throws {
    try division.divide(x, t) { try ($2 ? heldBack : solved).add($0, $1) }
  }

  /// The same of some tokens of a batch.
  func add(_ x: Tensor, _ t: Tensor, of tokens: [Int], _ division: RowDivision.Batch) throws {
    try division.divide(x, t, of: tokens) { try ($2 ? heldBack : solved).add($0, $1) }
  }
}
