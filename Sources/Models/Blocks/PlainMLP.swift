public import Torch

// Shapes: B rows, S tokens, H hidden, F ffn.

/// `down(act(up(x)))`, the MLP of the first transformers (Vaswani et al. 2017, arXiv 1706.03762). Tap: the input of
/// `down`.
public struct PlainMLP: Block {
  let up: Linear, down: Linear
  let activation: Activation
  let hyperparameter: Hyperparameter

  /// - Parameters:
  ///   - up: the projections' names; families differ.
  ///   - hyperparameter: what counts its channels.
  public init(
    up: String, down: String, activation: Activation, bias: Bool = false,
    hyperparameter: Hyperparameter = .ffnHiddenSize
  ) {
    let ffn = Axis(Dimension(hyperparameter))
    self.up = Linear(up, [ffn, .hidden], bias: bias)
    self.down = Linear(down, [.hidden, ffn], bias: bias)
    self.activation = activation
    self.hyperparameter = hyperparameter
  }

  public var weights: [Weight] { up.weights + down.weights }
  public var mixing: TokenMixing { .none }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let inner = try up.forward(x, weights: weights)
    let active = try context.observing(.channels(hyperparameter), channels: inner.shape[2], of: x) {
      try activation(inner, tap: $0)
    }
    return try down.forward(active, weights: weights)
  }
}
