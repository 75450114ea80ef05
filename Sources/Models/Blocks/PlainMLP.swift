public import Torch

// Shapes: B rows, S tokens, H hidden, F ffn.

/// `down(act(up(x)))`, the MLP of the first transformers (Vaswani et al. 2017, arXiv 1706.03762). Tap: the input of
/// `down`.
public struct PlainMLP: Block {
  let up: Linear, down: Linear
  let activation: Activation
  /// The nonlinearity where it has parameters, in the activation's place.
  private let learned: XIELU?
  private let tap: Tap

  /// - Parameters:
  ///   - up: the projections' names; families differ.
  ///   - ffn: the axis of its channels.
  ///   - bias: whether there are biases.
  ///   - down: the name of the projection back.
  ///   - activation: the nonlinearity.
  ///   - learned: the nonlinearity where it has parameters, in the activation's place.
  ///   - isStoredTransposed: whether weights lie `[in, out]` in the file.
  public init(
    up: String, down: String, activation: Activation, learned: XIELU? = nil, bias: Bool = false,
    channels ffn: Axis = .ffn, isStoredTransposed: Bool = false
  ) {
    self.up = Linear(up, [ffn, .hidden], bias: bias, isStoredTransposed: isStoredTransposed)
    self.down = Linear(down, [.hidden, ffn], bias: bias, isStoredTransposed: isStoredTransposed)
    self.activation = activation
    self.learned = learned
    tap = Tap(ffn, "input of the MLP's down projection")
  }

  public var taps: [Tap] { [tap] }

  public var weights: [Weight] { up.weights + down.weights + (learned?.weights ?? []) }
  public var mixing: TokenMixing { .none }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let inner = try up.forward(x, weights: weights, context: context)
    let active = try context.observing(tap, channels: inner.shape[2], of: x) {
      try learned?(inner, weights: weights, tap: $0) ?? activation(inner, tap: $0)
    }
    return try down.forward(active, weights: weights, context: context)
  }
}
