package import Torch

/// Least squares that is drawn towards given weights: of all W the one with the least Σ |W x − y|² + λ |W − S|², in closed form
/// `W = (Y Xᵀ + λ S) (X Xᵀ + λ I)⁻¹` (Hoerl & Kennard 1970, about S in place of 0).
///
/// λ is a multiple of the mean square of an input, chosen on tokens that are held back, for each W by itself. What several W have in
/// common is computed once.
///
/// Shapes: N inputs, M outputs, K of what makes targets.
package final class RidgeRegression {
  /// Multiples of the mean square that are tried, from the middle on in both directions as long as it gets better.
  private static let ridges = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
  private static let middle = 3
  /// Of what W gives, how much less has to be wrong to be better: less than that is rounding.
  private static let noise = 1e-6
  /// Rows of W that ridges are tried on, and that say whether anything is better than S.
  private static let rowsTried = 256
  /// With more inputs ridges are tried in float32, which takes half the time and memory. What is found is float64 always.
  private static let fewInputs = 1024
  /// Rows of W that are solved for together, which bounds what a wide output takes.
  private static let rowsAtOnce = 4096

  /// What is solved, once for all weights; nil where nothing can be.
  private let system: RidgeSystem?
  private let outputs: Int

  /// - Parameters:
  ///   - moments: not held longer than needed: those to judge by are narrowed here.
  ///   - outputs: of all W that will be solved, where these are many.
  package init(moments: DividedMoments, outputs: Int = 0) throws {
    system = try RidgeSystem(moments, fewInputs: Self.fewInputs)
    self.outputs = outputs
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
    /// What they should give, by inputs: of the tokens that are solved with, and float32 of those held back.
    let right: Tensor, held: Tensor
    /// Σ x xᵀ of tokens held back, float32.
    let inputs: Tensor

    /// Σ |W x − y|² over tokens held back, less the same of S.
    func change(_ weight: Tensor) throws -> Double {
      let step = try weight.subtracting(sliced)
      let sizes = try step.matmul(inputs).multiplied(by: weight.adding(sliced)).sum(dtype: .float64).item()
      return try sizes - 2 * step.multiplied(by: held).sum(dtype: .float64).item()
    }

    /// What the change has to fall short of, for W to be better than S by more than rounding.
    func bound() throws -> Double {
      try -RidgeRegression.noise * sliced.matmul(inputs).multiplied(by: sliced).sum(dtype: .float64).item()
    }
  }

  /// The best weights, where they are better than `sliced` on the tokens held back.
  ///
  /// - Parameters:
  ///   - sliced: S, `[M, N]`, of any type, on any device: what is found is on the CPU, as what was summed is.
  ///   - targets: what makes targets of those that were summed, `[M, K]`; nil where they are what W should give.
  /// - Returns: nil where nothing is better, or no finite solution is found.
  package func solve(towards sliced: Tensor, targets map: Tensor? = nil) throws -> Solution? {
    guard let system else { return nil }
    let (sliced, map) = (try sliced.to(device: .cpu), try map?.to(device: .cpu))
    let count = sliced.shape[0]
    let numbers: Tensor? =
      count < 2 * Self.rowsTried
      ? nil
      : try {
        let numbers = stride(from: 0, to: count, by: count / Self.rowsTried).map(Int64.init)
        return try Tensor(numbers, shape: [numbers.count])
      }()
    func some(_ tensor: Tensor) throws -> Tensor { try numbers.map { try tensor.indexSelect(dim: 0, $0) } ?? tensor }
    let someMap = try map.map(some)
    func aims(_ summed: Tensor, _ dtype: DType) throws -> Tensor {
      try someMap.map { try $0.to(dtype).matmul(summed.to(dtype)) } ?? some(summed).to(dtype)
    }
    let tried = Rows(
      sliced: try some(sliced).to(.float32), right: try aims(system.targets, system.searchType),
      held: try aims(system.heldTargets, .float32), inputs: system.held)
    let best = try best(of: tried) { rows, ridge in
      try system.searched(ridge).map { try Self.weights($0, rows.sliced, rows.right, ridge * system.scale) }
    }
    guard let best, numbers != nil || system.searchType != .float64 else { return best }
    try system.makeRoom()
    guard let weight = try whole(system, sliced, map, best.ridge), try weight.sum(dtype: .float64).item().isFinite
    else {
      return nil
    }
    return Solution(weight: weight, ridge: best.ridge)
  }

  /// The ridge with the least error, and what it gives of these rows.
  private func best(of rows: Rows, _ weights: (Rows, Double) throws -> Tensor?) throws -> Solution? {
    var best: (change: Double, solution: Solution?) = (try rows.bound(), nil)
    func attempt(_ ridge: Double) throws -> Bool {
      guard let weight = try weights(rows, ridge) else { return false }
      let found = try rows.change(weight)
      guard found.isFinite, found < best.change else { return false }
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

  /// All rows by a ridge, solved in float64, some at a time.
  private func whole(_ system: RidgeSystem, _ sliced: Tensor, _ map: Tensor?, _ ridge: Double) throws -> Tensor? {
    // Maps of the same targets share what is solved for these, where that is not more than what is solved for the maps.
    let isShared = map != nil && max(2 * sliced.shape[0], outputs) >= system.targets.shape[0]
    let shared = try isShared ? system.shared(ridge, system.targets) : nil
    let factor = try isShared ? nil : system.factor(ridge)
    let weight = try Tensor.empty(sliced.shape, dtype: .float32)
    for start in stride(from: 0, to: sliced.shape[0], by: Self.rowsAtOnce) {
      let length = min(Self.rowsAtOnce, sliced.shape[0] - start)
      func some(_ tensor: Tensor) throws -> Tensor { try tensor.narrow(dim: 0, start: start, length: length) }
      let own = try some(sliced).to(.float32)
      if let map, let shared {
        let made = try some(map).to(.float32).matmul(shared.targets)
        try some(weight).copy(from: made.adding(own.matmul(shared.pull)))
      } else if let factor {
        let right = try map.map { try some($0).to(.float64).matmul(system.targets) } ?? some(system.targets)
        try some(weight).copy(from: Self.weights(factor, own, right, ridge * system.scale))
      } else {
        return nil
      }
    }
    return weight
  }

  /// (right + ridge × S) · A⁻¹, by the factor of A.
  private static func weights(_ factor: Tensor, _ sliced: Tensor, _ right: Tensor, _ ridge: Double) throws -> Tensor {
    let aims = try right.clone()
    try aims.add(sliced.to(aims.dtype), scaledBy: ridge)
    return try factor.choleskySolve(aims.transpose(0, 1)).transpose(0, 1).to(.float32).contiguous()
  }
}
