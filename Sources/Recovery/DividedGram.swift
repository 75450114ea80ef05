import Torch

/// Second moments of inputs alone, and of a constant one after them, of the tokens to solve with and of those to judge by.
///
/// Shapes: T tokens, N inputs, k of them that are kept.
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
    try division.divide(x, x) { x, _, isHeldBack in try add(x, isHeldBack) }
  }

  /// The same of some tokens of a batch.
  func add(_ x: Tensor, of tokens: [Int], _ division: RowDivision.Batch) throws {
    try division.divide(x, x, of: tokens) { x, _, isHeldBack in try add(x, isHeldBack) }
  }

  private func add(_ x: Tensor, _ isHeldBack: Bool) throws {
    try parts[isHeldBack ? 1 : 0].add(x)
    try sums[isHeldBack ? 1 : 0].add(x.sum(dims: [0], dtype: .float32).to(device: .cpu).to(.float64))
  }

  /// Tokens to solve with, and to judge by.
  var tokens: (solved: Int, heldBack: Int) { (parts[0].tokens, parts[1].tokens) }

  /// Of a map that gives what another gives of all inputs, from those that are kept.
  ///
  /// - Parameters:
  ///   - kept: their numbers.
  ///   - scale: what the kept inputs are multiplied by.
  ///   - isConstant: whether a constant one is among the inputs, as the last one.
  func moments(keeping kept: [Int], scale: Double = 1, isConstant: Bool) throws -> DividedMoments {
    let indices = try Tensor(kept.map(Int64.init), shape: [kept.count])
    let made = try zip(parts, sums).map { part, sums in
      var cross = try part.sums.indexSelect(dim: 1, indices)
      if scale != 1 { try cross.multiply(by: scale) }
      var own = try cross.indexSelect(dim: 0, indices)
      if scale != 1 { try own.multiply(by: scale) }
      if isConstant {
        let few = try sums.indexSelect(dim: 0, indices).multiplied(by: scale).unsqueeze(0)
        let count = try Tensor.ones([1, 1], dtype: .float64).multiplied(by: Double(part.tokens))
        cross = try Tensor.bordered(cross, right: sums.unsqueeze(1), below: few, corner: count)
        own = try Tensor.bordered(own, right: few.transpose(0, 1), below: few, corner: count)
      }
      return Moments(inputs: own, targets: cross, tokens: part.tokens)
    }
    return DividedMoments(solved: made[0], heldBack: made[1])
  }
}

extension Tensor {
  /// A matrix with one more row and column.
  fileprivate static func bordered(_ inner: Tensor, right: Tensor, below: Tensor, corner: Tensor) throws -> Tensor {
    try cat([cat([inner, right], dim: 1), cat([below, corner], dim: 1)], dim: 0)
  }
}
