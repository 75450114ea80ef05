package import Torch

/// Sums over tokens of products of two activations' channels: the same numbers on any number of threads.
///
/// Shapes: T tokens, M and N channels.
package enum TokenProducts {
  /// Adds Σ a bᵀ over tokens.
  ///
  /// - Parameters:
  ///   - a: `[T, M]`, float32 or narrower.
  ///   - b: `[T, N]`; where it is `a` itself the sums are symmetric, and only the upper triangle counts.
  ///   - total: `[M, N]` float64.
  ///   - rounding: added to what a batch gives and taken off again; 0 for nothing.
  package static func add(_ a: Tensor, _ b: Tensor, to total: Tensor, rounding: Double = 0) throws {
    if a.device == .cpu, b.device == .cpu, total.device == .cpu {
      return try total.addProducts(a, b, isSymmetric: a === b, rounding: rounding)
    }
    let product = try a.to(.float32).transpose(0, 1).matmul(b.to(.float32)).to(device: total.device).to(.float64)
    if rounding != 0 {
      try product.add(rounding)
      try product.subtract(rounding)
    }
    try total.add(product)
  }
}
