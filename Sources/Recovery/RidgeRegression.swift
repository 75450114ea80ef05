package import Torch

/// Least squares that is drawn towards given weights: of all W the one with the least Σ |W x − y|² + λ |W − S|², in closed form
/// `W = (Y Xᵀ + λ S) (X Xᵀ + λ I)⁻¹` (Hoerl & Kennard 1970, about S in place of 0).
///
/// λ is a multiple of the mean square of an input, chosen on tokens that are held back.
package struct RidgeRegression {
  /// Multiples of the mean square that are tried, from the middle on in both directions as long as it gets better.
  private static let ridges = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
  private static let middle = 3
  /// Of what W gives, how much less has to be wrong to be better: less than that is rounding.
  private static let noise = 1e-6
  /// Rows of W that are solved for together, which bounds what a wide output takes.
  private static let rowsAtOnce = 16384

  package let moments: DividedMoments

  package init(moments: DividedMoments) { self.moments = moments }

  /// What is found, and how much it helps.
  package struct Solution {
    /// `[M, N]` float32.
    package let weight: Tensor
    package let ridge: Double
  }

  /// The best weights, where they are better than `sliced` on the tokens held back.
  ///
  /// - Parameters:
  ///   - sliced: S, `[M, N]`, of any type.
  ///   - targets: what makes targets of those that were summed, `[M, K]`; nil where they are what W should give.
  /// - Returns: nil where nothing is better, or no finite solution is found.
  package func solve(towards sliced: Tensor, targets map: Tensor? = nil) throws -> Solution? {
    let solved = moments.solved
    guard solved.tokens > 0, moments.heldBack.tokens > 0, try solved.targets.allFinite()
    else { return nil }
    let gram = try solved.inputs
    guard try gram.allFinite() else { return nil }
    let scale = try gram.diagonal().mean().item()
    guard scale > 0, scale.isFinite else { return nil }
    let sliced = try sliced.to(.float32)
    let right = try targets(solved, map)
    let held = (
      inputs: try moments.heldBack.inputs.to(.float32), targets: try targets(moments.heldBack, map).to(.float32)
    )
    func error(_ weight: Tensor) throws -> Double {
      // Σ |W x − y|² without Σ |y|², which is the same for all W.
      try size(weight) - 2 * weight.multiplied(by: held.targets).sum(dtype: .float64).item()
    }
    // Σ |W x|².
    func size(_ weight: Tensor) throws -> Double {
      try weight.matmul(held.inputs).multiplied(by: weight).sum(dtype: .float64).item()
    }
    var best: (error: Double, solution: Solution?) = (
      try error(sliced) - Self.noise * size(sliced), nil
    )
    let identity = try Tensor.identity(gram.shape[0])
    func attempt(_ index: Int) throws -> Bool {
      let ridge = Self.ridges[index]
      let left = try gram.adding(identity.multiplied(by: ridge * scale))
      guard let weight = try weights(left, right, sliced, ridge * scale), try weight.allFinite() else { return false }
      let found = try error(weight)
      guard found.isFinite, found < best.error else { return false }
      best = (found, Solution(weight: weight, ridge: ridge))
      return true
    }
    var isLowered = false
    if try attempt(Self.middle) {
      for index in (0..<Self.middle).reversed() {
        guard try attempt(index) else { break }
        isLowered = true
      }
    }
    if !isLowered {
      for index in Self.middle + 1..<Self.ridges.count where try !attempt(index) && best.solution != nil { break }
    }
    return best.solution
  }

  /// What W should give, by inputs: `[M, N]` float64.
  private func targets(_ moments: Moments, _ map: Tensor?) throws -> Tensor {
    try map.map { try $0.to(.float64).matmul(moments.targets) } ?? moments.targets
  }

  /// (right + ridge × sliced) · left⁻¹; nil where `left` is not positive definite.
  private func weights(_ left: Tensor, _ right: Tensor, _ sliced: Tensor, _ ridge: Double) throws -> Tensor? {
    var parts: [Tensor] = []
    for start in stride(from: 0, to: sliced.shape[0], by: Self.rowsAtOnce) {
      let length = min(Self.rowsAtOnce, sliced.shape[0] - start)
      let aims = try right.narrow(dim: 0, start: start, length: length).clone()
      try aims.add(sliced.narrow(dim: 0, start: start, length: length).to(.float64), scaledBy: ridge)
      guard let solved = try left.solvePositive(aims.transpose(0, 1)) else { return nil }
      parts.append(try solved.transpose(0, 1).to(.float32).contiguous())
    }
    return parts.count == 1 ? parts[0] : try Tensor.cat(parts, dim: 0)
  }
}

extension Tensor {
  /// `[N, N]`, float64.
  static func identity(_ size: Int) throws -> Tensor {
    try ones([size, size], dtype: .float64).triu().tril()
  }

  /// `[N]` of `[N, N]`.
  func diagonal() throws -> Tensor {
    let size = shape[0]
    return try contiguous().reshape([size * size])
      .indexSelect(dim: 0, Tensor((0..<size).map { Int64($0 * (size + 1)) }, shape: [size]))
  }
}
