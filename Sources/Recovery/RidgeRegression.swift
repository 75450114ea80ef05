package import Torch

/// Least squares that is drawn towards given weights: of all W the one with the least Σ |W x − y|² + λ |W − S|², in closed form
/// `W = (Y Xᵀ + λ S) (X Xᵀ + λ I)⁻¹` (Hoerl & Kennard 1970, about S in place of 0).
///
/// λ is a multiple of the mean square of an input, chosen on tokens that are held back, for each W by itself. What several W have in
/// common is computed once.
package final class RidgeRegression {
  /// Multiples of the mean square that are tried, from the middle on in both directions as long as it gets better.
  private static let ridges = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
  private static let middle = 3
  /// Of what W gives, how much less has to be wrong to be better: less than that is rounding.
  private static let noise = 1e-6
  /// Rows of W that ridges are tried on.
  private static let rowsTried = 512
  /// Rows of W that are solved for together, which bounds what a wide output takes.
  private static let rowsAtOnce = 16384

  package let moments: DividedMoments

  /// Σ x xᵀ of the tokens that are solved with, its mean diagonal, and Σ x xᵀ of those held back in float32; nil where nothing can
  /// be solved.
  private lazy var inputs = Result { try usableInputs() }
  /// Cholesky's factors for the ridges that were tried last; nil where there is none. A search takes four at most.
  private var factors: [(ridge: Double, factor: Tensor?)] = []
  private static let factorsKept = 4

  package init(moments: DividedMoments) { self.moments = moments }

  private func usableInputs() throws -> (gram: Tensor, scale: Double, held: Tensor)? {
    let solved = moments.solved
    guard solved.tokens > 0, moments.heldBack.tokens > 0, try solved.targets.allFinite() else { return nil }
    let gram = try solved.inputs
    let scale = try gram.diagonal().mean().item()
    guard try gram.allFinite(), scale > 0, scale.isFinite else { return nil }
    return (gram, scale, try moments.heldBack.inputs.to(.float32))
  }

  private func factor(_ ridge: Double, _ gram: Tensor) throws -> Tensor? {
    let found =
      try factors.first { $0.ridge == ridge } ?? (ridge: ridge, factor: gram.withRidge(ridge).choleskyFactor())
    factors.removeAll { $0.ridge == ridge }
    factors = factors.suffix(Self.factorsKept - 1) + [found]
    return found.factor
  }

  /// What is found, and how much it helps.
  package struct Solution {
    /// `[M, N]` float32.
    package let weight: Tensor
    package let ridge: Double
  }

  /// Some rows of W, or all of them: each is a regression of its own.
  private struct Rows {
    /// S, float32.
    let sliced: Tensor
    /// What they should give, by inputs: float64 of the tokens that are solved with, float32 of those held back.
    let right: Tensor, held: Tensor
    /// Σ x xᵀ of tokens held back, float32.
    let inputs: Tensor

    /// Σ |W x − y|² over tokens held back, without Σ |y|², which is the same for all W.
    func error(_ weight: Tensor) throws -> Double {
      try size(weight) - 2 * weight.multiplied(by: held).sum(dtype: .float64).item()
    }

    /// Σ |W x|².
    private func size(_ weight: Tensor) throws -> Double {
      try weight.matmul(inputs).multiplied(by: weight).sum(dtype: .float64).item()
    }

    /// What has to be fallen short of to be better than S by more than rounding.
    func bound() throws -> Double {
      let size = try size(sliced)
      return try size - 2 * sliced.multiplied(by: held).sum(dtype: .float64).item() - RidgeRegression.noise * size
    }
  }

  /// The best weights, where they are better than `sliced` on the tokens held back.
  ///
  /// - Parameters:
  ///   - sliced: S, `[M, N]`, of any type.
  ///   - targets: what makes targets of those that were summed, `[M, K]`; nil where they are what W should give.
  /// - Returns: nil where nothing is better, or no finite solution is found.
  package func solve(towards sliced: Tensor, targets map: Tensor? = nil) throws -> Solution? {
    guard let (gram, scale, held) = try inputs.get() else { return nil }
    let count = sliced.shape[0]
    func rows(_ numbers: Tensor?) throws -> Rows {
      func some(_ tensor: Tensor) throws -> Tensor { try numbers.map { try tensor.indexSelect(dim: 0, $0) } ?? tensor }
      let map = try map.map(some)
      func aims(_ moments: Moments, _ dtype: DType) throws -> Tensor {
        try map.map { try $0.to(dtype).matmul(moments.targets.to(dtype)) } ?? some(moments.targets).to(dtype)
      }
      return Rows(
        sliced: try some(sliced).to(.float32), right: try aims(moments.solved, .float64),
        held: try aims(moments.heldBack, .float32), inputs: held)
    }
    func weights(_ rows: Rows, _ ridge: Double) throws -> Tensor? {
      guard let factor = try factor(ridge * scale, gram) else { return nil }
      let found = try Self.weights(factor, rows, ridge * scale)
      return try found.allFinite() ? found : nil
    }
    // Which ridge is best shows on some of many rows.
    guard count >= 2 * Self.rowsTried else { return try best(of: rows(nil), weights) }
    let numbers = stride(from: 0, to: count, by: max(count / Self.rowsTried, 1)).map(Int64.init)
    let tried = try rows(Tensor(numbers, shape: [numbers.count]))
    guard let best = try best(of: tried, weights) else { return nil }
    let all = try rows(nil)
    guard let weight = try weights(all, best.ridge), try all.error(weight) < all.bound() else { return nil }
    return Solution(weight: weight, ridge: best.ridge)
  }

  /// The ridge with the least error, and what it gives of these rows.
  private func best(of rows: Rows, _ weights: (Rows, Double) throws -> Tensor?) throws -> Solution? {
    var best: (error: Double, solution: Solution?) = (try rows.bound(), nil)
    func attempt(_ ridge: Double) throws -> Bool {
      guard let weight = try weights(rows, ridge) else { return false }
      let found = try rows.error(weight)
      guard found.isFinite, found < best.error else { return false }
      best = (found, Solution(weight: weight, ridge: ridge))
      return true
    }
    var isLowered = false
    if try attempt(Self.ridges[Self.middle]) {
      for ridge in Self.ridges[..<Self.middle].reversed() {
        guard try attempt(ridge) else { break }
        isLowered = true
      }
    }
    if !isLowered {
      for ridge in Self.ridges[(Self.middle + 1)...] where try !attempt(ridge) && best.solution != nil { break }
    }
    return best.solution
  }

  /// (right + ridge × S) · A⁻¹, by the factor of A.
  private static func weights(_ factor: Tensor, _ rows: Rows, _ ridge: Double) throws -> Tensor {
    var parts: [Tensor] = []
    for start in stride(from: 0, to: rows.sliced.shape[0], by: rowsAtOnce) {
      let length = min(rowsAtOnce, rows.sliced.shape[0] - start)
      let aims = try rows.right.narrow(dim: 0, start: start, length: length).clone()
      try aims.add(rows.sliced.narrow(dim: 0, start: start, length: length).to(.float64), scaledBy: ridge)
      parts.append(try factor.choleskySolve(aims.transpose(0, 1)).transpose(0, 1).to(.float32).contiguous())
    }
    return parts.count == 1 ? parts[0] : try Tensor.cat(parts, dim: 0)
  }
}

extension Tensor {
  /// A copy of `[N, N]` with a number added to its diagonal.
  func withRidge(_ ridge: Double) throws -> Tensor {
    let (size, sum) = (shape[0], try contiguous().clone())
    let flat = try sum.reshape([size * size])
    // Rows of N + 1 numbers, and a last one, begin with the diagonal.
    if size > 1 {
      try flat.narrow(dim: 0, start: 0, length: size * size - 1).view([size - 1, size + 1])
        .narrow(dim: 1, start: 0, length: 1).add(ridge)
    }
    try flat.narrow(dim: 0, start: size * size - 1, length: 1).add(ridge)
    return sum
  }

  /// `[N]` of `[N, N]`.
  func diagonal() throws -> Tensor {
    let size = shape[0]
    return try contiguous().reshape([size * size])
      .indexSelect(dim: 0, Tensor((0..<size).map { Int64($0 * (size + 1)) }, shape: [size]))
  }
}
