public import Torch

// Shapes: B rows, S tokens, H hidden, F ffn.

/// The nonlinearity of an MLP, by `hidden_act`.
public enum Activation: String, Sendable, CaseIterable {
  case silu, swish, gelu, relu
  case geluNew = "gelu_new"
  case geluTanh = "gelu_pytorch_tanh"
  /// Squared ReLU (So et al. 2021, arXiv 2109.08668).
  case squaredReLU = "relu2"

  init(_ config: ConfigReader, key: String = "hidden_act", default fallback: String = "silu") throws {
    let name = try config.string(key, default: fallback)
    guard let activation = Activation(rawValue: name) else {
      let known = Activation.allCases.map(\.rawValue).joined(separator: ", ")
      throw ModelError("\(config.file): \"\(key)\" is \"\(name)\"; supported are \(known)")
    }
    self = activation
  }

  func callAsFunction(_ x: Tensor) throws -> Tensor {
    switch self {
    case .silu, .swish: try x.silu()
    case .gelu: try x.gelu()
    case .geluNew, .geluTanh: try x.gelu(approximate: .tanh)
    case .relu: try x.relu()
    case .squaredReLU: try x.relu().square()
    }
  }
}

/// `down(act(gate(x)) × up(x))` (Shazeer 2020, arXiv 2002.05202). Tap: the input of `down`.
public struct GatedMLP: Block {
  let gate: Weight, up: Weight, down: Weight
  let gateBias: Weight?, upBias: Weight?, downBias: Weight?
  let activation: Activation
  let hyperparameter: Hyperparameter

  /// - Parameter hyperparameter: what counts its channels (a shared expert has one of its own).
  public init(
    _ prefix: String, activation: Activation, bias: Bool = false, hyperparameter: Hyperparameter = .ffnHiddenSize
  ) {
    let ffn = Axis(Dimension(hyperparameter))
    gate = Weight(prefix + ".gate_proj.weight", [ffn, .hidden])
    up = Weight(prefix + ".up_proj.weight", [ffn, .hidden])
    down = Weight(prefix + ".down_proj.weight", [.hidden, ffn])
    gateBias = bias ? Weight(prefix + ".gate_proj.bias", [ffn]) : nil
    upBias = bias ? Weight(prefix + ".up_proj.bias", [ffn]) : nil
    downBias = bias ? Weight(prefix + ".down_proj.bias", [.hidden]) : nil
    self.activation = activation
    self.hyperparameter = hyperparameter
  }

  public var weights: [Weight] { [gate, gateBias, up, upBias, down, downBias].compactMap { $0 } }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let gated = try activation(x.linear(weight: weights[gate], bias: weights[optional: gateBias]))
    try gated.multiply(by: x.linear(weight: weights[up], bias: weights[optional: upBias]))
    try context.observe(.channels(hyperparameter), gated)
    return try gated.linear(weight: weights[down], bias: weights[optional: downBias])
  }
}
