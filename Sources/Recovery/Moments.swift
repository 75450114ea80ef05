package import Torch

/// Second moments of what goes into a linear map, and of what it should give: sums over tokens, of products in float32, in float64.
///
/// Shapes: T tokens, N inputs, M targets.
package final class Moments {
  /// Σ x xᵀ, `[N, N]`.
  package let inputs: Tensor
  /// Σ t xᵀ, `[M, N]`.
  package let targets: Tensor
  package private(set) var tokens = 0

  package init(inputs: Int, targets: Int) throws {
    self.inputs = try .zeros([inputs, inputs], dtype: .float64)
    self.targets = try .zeros([targets, inputs], dtype: .float64)
  }

  package init(inputs: Tensor, targets: Tensor, tokens: Int) {
    (self.inputs, self.targets, self.tokens) = (inputs, targets, tokens)
  }

  /// - Parameters:
  ///   - x: `[T, N]` float32.
  ///   - t: `[T, M]` float32.
  package func add(_ x: Tensor, _ t: Tensor) throws {
    guard x.shape[0] > 0 else { return }
    try inputs.add(x.transpose(0, 1).matmul(x).to(.float64))
    try targets.add(t.transpose(0, 1).matmul(x).to(.float64))
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
