public import Torch

/// A norm over the last axis: RMSNorm (Zhang & Sennrich 2019, arXiv 1910.07467) as `transformers` computes it.
public struct Norm: Sendable {
  public let weight: Weight
  public let epsilon: Double

  public init(_ name: String, over axis: Axis = .hidden, epsilon: Double) {
    weight = Weight(name + ".weight", [axis])
    self.epsilon = epsilon
  }

  public var weights: [Weight] { [weight] }

  /// `[…, C]` → `[…, C]`, float32 inside.
  public func forward(_ x: Tensor, weights: LayerWeights) throws -> Tensor {
    try x.rmsNorm(weight: weights[weight], eps: epsilon)
  }
}
