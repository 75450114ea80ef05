import Torch

/// A nonlinearity with two learned parameters a layer (Huang & Schlag 2024, arXiv 2411.13010; `XIELUActivation` in
/// `transformers`' activations.py): a parabola above zero, an integral of ELU below. Checkpoints hold its two constants too.
public struct XIELU: Sendable {
  private let above: Weight, below: Weight
  private let beta: Weight, epsilon: Weight

  /// - Parameter prefix: what its parameters' names begin with.
  public init(_ prefix: String) {
    above = Weight(prefix + ".alpha_p", [.one])
    below = Weight(prefix + ".alpha_n", [.one])
    beta = Weight(prefix + ".beta", [])
    epsilon = Weight(prefix + ".eps", [])
  }

  public var weights: [Weight] { [above, below, beta, epsilon] }

  private func constant(_ weight: Weight, _ weights: LayerWeights) throws -> Tensor {
    let value = try weights[weight].to(.float32)
    return LibTorch.isRecording ? try value.leaf(wantsGradient: false) : value
  }

  /// Elements that are float32 at a time.
  private static let slice = 1 << 20

  /// `[B, S, C]`, in float32 and rounded once; `x`'s memory receives it where it lies without gaps.
  func callAsFunction(_ x: Tensor, weights: LayerWeights, tap: ChannelSums?) throws -> Tensor {
    func number(_ weight: Weight) throws -> Tensor { try weights[weight].to(.float32) }
    // Constants, which training leaves as they are.
    let (beta, epsilon) = (try constant(beta, weights), try constant(epsilon, weights))
    let (above, below) = (try number(above).softplus(), try beta.adding(number(below).softplus()))
    func curve(_ part: Tensor) throws -> Tensor {
      let wide = try part.to(.float32)
      // eˣ − 1 through tanh, which is exact near zero as well.
      let half = try wide.minimum(epsilon).multiplied(by: 0.5).tanh()
      let growth = try half.multiplied(by: 2).divided(by: half.negated().adding(1))
      let tail = try growth.subtracting(wide).multiplied(by: below)
      let curve = try Tensor.where(wide.gt(0), wide.square().multiplied(by: above), tail)
      return try curve.adding(wide.multiplied(by: beta))
    }
    if LibTorch.isRecording { return try curve(x).to(x.dtype) }
    let rows = try x.reshape([-1, x.shape[2]])
    let step = max(Self.slice / max(x.shape[2], 1), 1)
    for first in stride(from: 0, to: rows.shape[0], by: step) {
      let part = try rows.narrow(dim: 0, start: first, length: min(step, rows.shape[0] - first))
      try part.copy(from: curve(part))
    }
    let result = try rows.reshape(x.shape)
    try tap?.add(result)
    return result
  }
}
