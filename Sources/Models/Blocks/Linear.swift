public import Torch

/// A linear projection: its weight `[out, in]` and, where the family has one, its bias `[out]`.
public struct Linear: Sendable {
  public let weight: Weight
  public let bias: Weight?

  /// - Parameter axes: of the output and of the input.
  public init(_ name: String, _ axes: [Axis], bias: Bool = false) {
    weight = Weight(name + ".weight", axes, isProjection: true)
    self.bias = bias ? Weight(name + ".bias", Array(axes.prefix(1))) : nil
  }

  public var weights: [Weight] { bias.map { [weight, $0] } ?? [weight] }

  /// `[…, in]` → `[…, out]`.
  public func forward(_ x: Tensor, weights: LayerWeights) throws -> Tensor {
    try x.linear(weight: weights[weight], bias: weights[optional: bias])
  }
}
