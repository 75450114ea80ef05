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

    /// What is added to the weight before it multiplies.
    public var offset: Double {
      switch self {
      case .rms, .rmsWide, .layer: 0
      case .rmsPlusOne, .layerPlusOne: 1
      }
    }
  }

  public let kind: Kind
  public let weight: Weight
  public let bias: Weight?
  public let epsilon: Double

  public init(_ name: String, over axis: Axis = .hidden, epsilon: Double, kind: Kind = .rms, bias: Bool = false) {
    self.kind = kind
    weight = Weight(name + ".weight", [axis])
    self.bias = bias ? Weight(name + ".bias", [axis]) : nil
    self.epsilon = epsilon
  }

  public var weights: [Weight] { bias.map { [weight, $0] } ?? [weight] }

  /// `[…, C]` → `[…, C]`, statistics in float32.
  public func forward(_ x: Tensor, weights: LayerWeights) throws -> Tensor {
    let weight = try weights[weight]
    switch kind {
    case .rms: return try x.fusedRMSNorm(weight: weight, eps: epsilon)
    case .rmsWide:
      return try x.to(.float32).rmsNorm(weight: weight.to(.float32), eps: epsilon).to(x.dtype)
    case .rmsPlusOne:
      return try x.to(.float32).rmsNorm(weight: weight.to(.float32).adding(1), eps: epsilon).to(x.dtype)
    case .layer: return try x.layerNorm(weight: weight, bias: weights[optional: bias], eps: epsilon)
    case .layerPlusOne:
      return try x.layerNorm(weight: weight.adding(1), bias: weights[optional: bias], eps: epsilon)
    }
  }
}
