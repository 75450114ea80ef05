public import Torch

// Shapes: B rows, S tokens, H hidden, C channels (as many as H).

/// The gated short convolution of LFM2 (Liquid AI 2025, arXiv 2511.23404; `transformers` modeling_lfm2.py): `out(c × conv(b × x))`, where
/// one projection gives b, c and x. Tap: the input of the projection back.
///
/// Configs give its channels no size of their own: there are as many as the hidden size, and as many go. Which ones is ranked in each
/// layer by what is measured at the tap.
public struct ShortConvolution: Block {
  private static let tap = Tap(Axis(.convChannels), "input of the short convolution's output projection")
  private let input: Linear, output: Linear
  private let convolution: CausalConvolution

  /// - Parameters:
  ///   - prefix: what its weights' names begin with.
  ///   - bias: whether the projections and the convolution have biases.
  public init(_ prefix: String, bias: Bool) {
    let channels = Axis(.convChannels)
    input = Linear(prefix + ".in_proj", [channels + channels + channels, .hidden], bias: bias)
    convolution = CausalConvolution(prefix + ".conv", channels: channels, bias: bias)
    output = Linear(prefix + ".out_proj", [.hidden, channels], bias: bias)
  }

  public var taps: [Tap] { [Self.tap] }
  public var weights: [Weight] { input.weights + convolution.weights + output.weights }

  /// The convolution's last inputs, whatever the number of tokens.
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    rows * sizes[.convChannels] * (sizes[.convKernel] - 1)
  }

  public var mixing: TokenMixing { .sequences(sharing: .max) }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let parts = try input.forward(x, weights: weights, context: context).chunk(3, dim: 2)
    var (y, gate) = (try parts[0].multiplied(by: parts[2]), parts[1])
    if let packed = context.packed {
      y = try packed.overSequences([y]) { try mix($0[0], after: $1, weights: weights) }
      if packed.lastTokensOnly { (y, gate) = (try packed.trim(y), try packed.trim(gate)) }
    } else {
      let state: RecurrentState
      (y, state) = try mix(y, after: context.cache?.scans[context.layer], weights: weights)
      context.cache?.scans[context.layer] = state
    }
    y = try y.multiplied(by: gate)
    try context.observe(Self.tap, y)
    return try output.forward(y, weights: weights, context: context)
  }

  private func mix(
    _ x: Tensor, after before: RecurrentState?, weights: LayerWeights
  ) throws -> (Tensor, RecurrentState) {
    let (y, tail) = try convolution.forward(x, after: before?.convolution, weights: weights)
    // Nothing but the last inputs is kept.
    let state = try Tensor.zeros([x.shape[0], 1], dtype: .float32, device: x.device)
    return (try y.to(x.dtype), RecurrentState(convolution: try tail.clone(), state: state))
  }
}
