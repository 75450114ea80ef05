public import Torch

// Shapes: B rows, S tokens, H hidden, F ffn.

/// The nonlinearity of an MLP, by `hidden_act`.
public enum Activation: String, Sendable, CaseIterable {
  case silu, swish, gelu, relu
  case geluNew = "gelu_new"
  case geluTanh = "gelu_pytorch_tanh"
  /// Squared ReLU (So et al. 2021, arXiv 2109.08668).
  case squaredReLU = "relu2"

  /// - Throws: `ModelError` for a name that is not supported.
  public init(_ config: ConfigReader, key: String = "hidden_act", default fallback: String = "silu") throws {
    let name = try config.string(key, default: fallback)
    guard let activation = Activation(rawValue: name) else {
      let known = Activation.allCases.map(\.rawValue).joined(separator: ", ")
      throw ModelError("\(config.file): \"\(key)\" is \"\(name)\"; supported are \(known)")
    }
    self = activation
  }

  private var gate: GateActivation {
    switch self {
    case .silu, .swish: .silu
    case .gelu: .gelu
    case .geluNew, .geluTanh: .geluTanh
    case .relu: .relu
    case .squaredReLU: .reluSquared
    }
  }

  /// act(`x`), or act(`x`) × `up`, in one pass; `x`'s memory receives it where it lies without gaps.
  func callAsFunction(_ x: Tensor, times up: Tensor? = nil, tap: ChannelSums? = nil) throws -> Tensor {
    try x.gated(gate, up: up, into: x.isContiguous ? x : nil, tap: tap)
  }
}

/// `down(act(gate(x)) × up(x))` (Shazeer 2020, arXiv 2002.05202). Tap: the input of `down`.
public struct GatedMLP: Block {
  /// Gate and up: two projections, or one that holds gate's rows and then up's (Phi-3).
  let inputs: [Linear]
  let down: Linear
  let activation: Activation
  /// A factor on what goes into the nonlinearity (Falcon-H1).
  private let gateScale: Double
  private let tap: Tap

  /// - Parameters:
  ///   - ffn: the axis of its channels (a shared expert has one of its own).
  ///   - joined: the name of the projection that gate and up share, after the prefix; nil where each has its own.
  ///   - names: those of the projections, after the prefix; gate's and up's where they do not share one.
  ///   - gateScale: a factor on what goes into the nonlinearity.
  ///   - bias: whether there are biases.
  ///   - prefix: what its weights' names begin with.
  ///   - activation: the nonlinearity.
  public init(
    _ prefix: String, activation: Activation, bias: Bool = false, channels ffn: Axis = .ffn, joined: String? = nil,
    names: (gate: String, up: String, down: String) = ("gate_proj", "up_proj", "down_proj"), gateScale: Double = 1
  ) {
    inputs =
      joined.map { [Linear(prefix + "." + $0, [ffn + ffn, .hidden], bias: bias)] }
      ?? [names.gate, names.up].map { Linear(prefix + "." + $0, [ffn, .hidden], bias: bias) }
    down = Linear(prefix + "." + names.down, [.hidden, ffn], bias: bias)
    self.activation = activation
    self.gateScale = gateScale
    tap = Tap(ffn, "input of the MLP's down projection")
  }

  public var taps: [Tap] { [tap] }
  public var weights: [Weight] { inputs.flatMap(\.weights) + down.weights }
  public var mixing: TokenMixing { .none }
  public var jointProjections: [[Linear]] { inputs.count > 1 ? [inputs] : [] }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    var projected = try weights.project(x, inputs, context: context)
    if projected.count == 1 { projected = try projected[0].chunk(2, dim: -1) }
    let (gate, up) = (try gateScale == 1 ? projected[0] : projected[0].multiplied(by: gateScale), projected[1])
    let gated = try context.observing(tap, channels: gate.shape[2], of: x) {
      try activation(gate, times: up, tap: $0)
    }
    return try down.forward(gated, weights: weights, context: context)
  }
}
