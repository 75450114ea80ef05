public import Torch

// Shapes: B rows, S tokens, H hidden.

/// One linear map in the place of attention or an MLP (Bercovich et al. 2024, arXiv 2411.19146, section 2).
public struct LinearReplacement: Block {
  private let map: Linear

  /// - Parameter name: the map's, without `.weight`.
  public init(_ name: String) { map = Linear(name, [.hidden, .hidden]) }

  public var weights: [Weight] { map.weights }
  public var mixing: TokenMixing { .none }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    try map.forward(x, weights: weights, context: context)
  }
}
