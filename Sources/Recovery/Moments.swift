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
  /// Only the upper triangle counts.
  private let upper: Tensor

  /// Σ x xᵀ, `[N, N]`: no copy.
  package var sums: Tensor {
    get throws {
      try upper.mirrorUpper()
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
}

/// The same of inputs alone, and of a constant one after them.
final class DividedGram {
  private let parts: [Gram]
  /// Σ x, `[N]` float64.
  private let sums: [Tensor]

  init(_ inputs: Int) throws {
    parts = try [Gram(inputs), Gram(inputs)]
    sums = try [.zeros([inputs], dtype: .float64), .zeros([inputs], dtype: .float64)]
  }

  /// - Parameter x: `[T, N]`, the valid tokens of a batch.
  func add(_ x: Tensor, _ division: RowDivision.Batch) throws {
    try division.divide(x, x) { x, _, isHeldBack in
      try parts[isHeldBack ? 1 : 0].add(x)
      try sums[isHeldBack ? 1 : 0].add(x.sum(dims: [0], dtype: .float32).to(device: .cpu).to(.float64))
    }
  }

  /// What to solve with and what to judge by: tokens, Σ x xᵀ `[N, N]` and Σ x `[N]`.
  func whole() throws -> [(tokens: Int, gram: Tensor, sums: Tensor)] {
    try zip(parts, sums).map { ($0.tokens, try $0.sums, $1) }
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

    /// The rows of two activations, in two parts.
    func divide(_ x: Tensor, _ t: Tensor, _ part: (_ x: Tensor, _ t: Tensor, _ isHeldBack: Bool) throws -> Void) throws
    {
      guard let heldBack else { return try part(x, t, false) }
      func rows(_ numbers: Tensor, isHeldBack: Bool) throws {
        let numbers = try numbers.to(device: x.device)
        let own = try x.indexSelect(dim: 0, numbers)
        try part(own, t === x ? own : t.indexSelect(dim: 0, numbers), isHeldBack)
      }
      try rows(heldBack, isHeldBack: true)
      if let solved { try rows(solved, isHeldBack: false) }
    }
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
