public import Torch

/// A norm over the last axis, as `transformers` computes it.
public struct Norm: Sendable {
  public enum Kind: Sendable {
    /// RMSNorm (Zhang & Sennrich 2019, arXiv 1910.07467), rounded before the weight (Llama).
    case rms
    /// RMSNorm whose weight is applied in float32 (OLMo 2).
    case rmsWide
    /// RMSNorm by `1 + weight`, in float32 (Gemma).
    case rmsPlusOne
    /// LayerNorm (Ba et al. 2016, arXiv 1607.06450), with a bias or without.
    case layer
    /// LayerNorm by `1 + weight` (Nemotron's LayerNorm1P).
    case layerPlusOne
    /// RMSNorm without a weight (nanochat).
    case bare

    /// What is added to the weight before it multiplies.
    public var offset: Double {
      switch self {
      case .rms, .rmsWide, .layer, .bare: 0
      case .rmsPlusOne, .layerPlusOne: 1
      }
    }
  }

  public let kind: Kind
  /// nil for a norm without one.
  public let weight: Weight?
  public let bias: Weight?
  public let epsilon: Double

  public init(_ name: String, over axis: Axis = .hidden, epsilon: Double, kind: Kind = .rms, bias: Bool = false) {
    self.kind = kind
    weight = kind == .bare ? nil : Weight(name + ".weight", [axis])
    self.bias = bias ? Weight(name + ".bias", [axis]) : nil
    self.epsilon = epsilon
  }

  public var weights: [Weight] { [weight, bias].compactMap { $0 } }

  /// `[…, C]` → `[…, C]`, statistics in float32.
  ///
  /// - Parameters:
  ///   - tap: sees the result, `[B, S, C]` then.
  ///   - weights: of the layer.
  ///   - x: `[…, C]`.
  public func forward(_ x: Tensor, weights: LayerWeights, tap: ChannelSums? = nil) throws -> Tensor {
    let weight = try weights[optional: weight]
    if let offset = fusedOffset {
      return try x.fusedRMSNorm(weight: weight, eps: epsilon, offset: offset.value, tap: tap)
    }
    let shifted = kind.offset == 0 ? weight : try weight?.adding(kind.offset)
    let normed = try x.layerNorm(weight: shifted, bias: weights[optional: bias], eps: epsilon)
    try tap?.add(normed)
    return normed
  }

  /// The residual sum and its norm: in one pass where the kind allows.
  ///
  /// - Parameters:
  ///   - branch: added to `x`; its memory is used again.
  ///   - keepsInput: whether `x` must keep its values; otherwise it becomes the sum.
  func forward(
    adding branch: Tensor, to x: Tensor, keepsInput: Bool, weights: LayerWeights, tap: ChannelSums?
  ) throws -> (sum: Tensor, normed: Tensor) {
    guard let offset = fusedOffset else {
      let sum = try x.residualSum(branch, keepsInput: keepsInput)
      return (sum, try forward(sum, weights: weights, tap: tap))
    }
    let sum = keepsInput ? try Tensor.empty(x.shape, dtype: x.dtype, device: x.device) : x
    let normed = try x.fusedRMSNorm(
      adding: branch, sum: sum, weight: weights[optional: weight], eps: epsilon, offset: offset.value, into: branch,
      tap: tap)
    return (sum, normed)
  }

  /// How the fused kernel takes the weight; nil for the kinds that it does not know.
  private var fusedOffset: (value: Double?, Void)? {
    switch kind {
    case .rms, .bare: (nil, ())
    case .rmsWide, .rmsPlusOne: (kind.offset, ())
    case .layer, .layerPlusOne: nil
    }
  }
}

extension Tensor {
  /// `self` + `branch`, in `self`'s memory unless that must keep its values.
  func residualSum(_ branch: Tensor, keepsInput: Bool) throws -> Tensor {
    if keepsInput { return try adding(branch) }
    try add(branch)
    return self
  }
}
