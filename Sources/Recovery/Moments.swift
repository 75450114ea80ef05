import Minitron
package import Torch

/// Second moments of what goes into a linear map, and of what it should give: sums over tokens, of products in float32, in float64.
///
/// Shapes: T tokens, N inputs, M targets.
package final class Moments {
  /// Σ t xᵀ, `[M, N]`.
  package let targets: Tensor
  package private(set) var tokens = 0
  /// Σ x xᵀ, `[N, N]`, of which only blocks on and above the diagonal count.
  private let upper: Tensor

  /// Σ x xᵀ, `[N, N]`.
  package var inputs: Tensor { get throws { try BlockProducts.whole(upper) } }

  package init(inputs: Int, targets: Int) throws {
    upper = try .zeros([inputs, inputs], dtype: .float64)
    self.targets = try .zeros([targets, inputs], dtype: .float64)
  }

  package init(inputs: Tensor, targets: Tensor, tokens: Int) {
    (upper, self.targets, self.tokens) = (inputs, targets, tokens)
  }

  /// - Parameters:
  ///   - x: `[T, N]` float32.
  ///   - t: `[T, M]` float32.
  package func add(_ x: Tensor, _ t: Tensor) throws {
    guard x.shape[0] > 0 else { return }
    try BlockProducts(x.shape[1]).add(x, x, to: upper)
    try BlockProducts(t.shape[1], x.shape[1]).add(t, x, to: targets)
    tokens += x.shape[0]
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
  ///   - x: `[T, N]` float32, the valid tokens of a batch.
  ///   - t: `[T, M]` float32.
  package func add(_ x: Tensor, _ t: Tensor, _ division: RowDivision.Batch) throws {
    guard let held = division.heldBack else { return try solved.add(x, t) }
    try heldBack.add(x.indexSelect(dim: 0, held), t.indexSelect(dim: 0, held))
    guard let rest = division.solved else { return }
    try solved.add(x.indexSelect(dim: 0, rest), t.indexSelect(dim: 0, rest))
  }
}

/// Which tokens of each batch are held back: those of every eighth row, and of the last where there are fewer.
package struct RowDivision {
  static let share = 8

  package struct Batch {
    /// Numbers among the batch's valid tokens; nil for none.
    package let heldBack: Tensor?
    /// The others; nil for none where some are held back, and for all where none are.
    package let solved: Tensor?
  }

  package let batches: [Batch]

  /// - Parameter lengths: valid tokens of each row of each batch.
  package init(_ lengths: [[Int]]) throws {
    let rows = lengths.reduce(0) { $0 + $1.count }
    var row = 0
    batches = try lengths.map { lengths in
      var (held, rest, token) = ([Int64](), [Int64](), 0)
      for length in lengths {
        row += 1
        let isHeldBack = row % Self.share == 0 || rows < Self.share && rows > 1 && row == rows
        let tokens = (token..<token + length).map(Int64.init)
        if isHeldBack { held += tokens } else { rest += tokens }
        token += length
      }
      guard !held.isEmpty else { return Batch(heldBack: nil, solved: nil) }
      return Batch(
        heldBack: try Tensor(held, shape: [held.count]),
        solved: rest.isEmpty ? nil : try Tensor(rest, shape: [rest.count]))
    }
  }
}
