import Torch

// Shapes: R routed rows of one expert, H hidden, F expert ffn, E experts.

/// The routed experts of a layer: gated or plain MLPs of one size.
public struct Experts: Sendable {
  /// How a checkpoint stores them.
  public enum Layout: Sendable {
    /// A tensor for each expert and projection; the names follow `<prefix>.{expert}.`. No gate: a plain MLP.
    case separate(gate: String?, up: String, down: String)
    /// `both` `[E, 2F, H]`, gate's rows before up's, and `down` `[E, H, F]`; the names follow the prefix.
    case stacked(both: String = "gate_up_proj", down: String = "down_proj")
    /// Qwen3-VL: `gate_up_proj` `[E, H, 2F]`, gate's columns before up's, and `down_proj` `[E, F, H]`.
    case stackedTransposed
    /// gpt-oss: `gate_up_proj` `[E, H, 2F]`, gate and up taking turns, `down_proj` `[E, F, H]`, and biases.
    case interleaved

    public static let gated = Layout.separate(gate: "gate_proj", up: "up_proj", down: "down_proj")
  }

  /// What happens between the projections.
  public enum Nonlinearity: Sendable {
    /// `act(gate) × up`, or `act(up)` without a gate.
    case activation(Activation)
    /// gpt-oss: `gate × sigmoid(alpha × gate) × (up + 1)`, gate at most `limit`, up within ± `limit`.
    case clamped(alpha: Double, limit: Double)
  }

  private enum Projections: Sendable {
    case gated(gate: Weight, up: Weight)
    case plain(Weight)
    case stacked(Weight)
    case interleaved(Weight, bias: Weight)
  }

  private let inputs: Projections
  let down: Weight
  private let downBias: Weight?
  /// Whether a file has matrices as `[in, out]`.
  private let isTransposed: Bool
  private let nonlinearity: Nonlinearity

  /// - Parameters:
  ///   - width: what experts read and write: the hidden size, or a latent one.
  ///   - nonlinearity: what happens between the projections.
  ///   - prefix: what its weights' names begin with.
  ///   - layout: how its weights are stored.
  public init(
    _ prefix: String, layout: Layout = .gated, nonlinearity: Nonlinearity, width: Axis = .hidden
  ) {
    self.nonlinearity = nonlinearity
    // Experts in a space of their own neither read nor write the residual stream.
    func axis(_ axis: Int) -> Int? { width == .hidden ? axis : nil }
    switch layout {
    case .separate(let gate, let up, let down):
      func weight(_ name: String, _ axes: [Axis], reads: Int? = nil, writes: Int? = nil) -> Weight {
        Weight("\(prefix).{expert}.\(name).weight", [.experts] + axes, reads: reads, writes: writes)
      }
      let second = weight(up, [.moeFFN, width], reads: axis(2))
      inputs = gate.map { .gated(gate: weight($0, [.moeFFN, width], reads: axis(2)), up: second) } ?? .plain(second)
      self.down = weight(down, [width, .moeFFN], writes: axis(1))
      (downBias, isTransposed) = (nil, false)
    case .stacked(let both, let down):
      inputs = .stacked(Weight(prefix + "." + both, [.experts, .moeFFN + .moeFFN, width], reads: axis(2)))
      self.down = Weight(prefix + "." + down, [.experts, width, .moeFFN], writes: axis(1))
      (downBias, isTransposed) = (nil, false)
    case .stackedTransposed:
      inputs = .stacked(Weight(prefix + ".gate_up_proj", [.experts, width, .moeFFN + .moeFFN], reads: axis(1)))
      down = Weight(prefix + ".down_proj", [.experts, .moeFFN, width], writes: axis(2))
      (downBias, isTransposed) = (nil, true)
    case .interleaved:
      // Gate and up of one channel.
      let both = Axis.moeFFN * 2
      inputs = .interleaved(
        Weight(prefix + ".gate_up_proj", [.experts, width, both], reads: axis(1)),
        bias: Weight(prefix + ".gate_up_proj_bias", [.experts, both]))
      down = Weight(prefix + ".down_proj", [.experts, .moeFFN, width], writes: axis(2))
      downBias = Weight(prefix + ".down_proj_bias", [.experts, width], writes: axis(1))
      isTransposed = true
    }
  }

  public var weights: [Weight] {
    let first: [Weight] =
      switch inputs {
      case .gated(let gate, let up): [gate, up]
      case .plain(let up): [up]
      case .stacked(let both): [both]
      case .interleaved(let both, let bias): [both, bias]
      }
    return first + [down] + (downBias.map { [$0] } ?? [])
  }

  /// One expert's part of a weight as a projection `[out, in]`, gate's rows before up's; nil for a bias.
  func projection(_ weight: Weight, of part: Tensor) throws -> Tensor? {
    guard isTransposed else { return part }
    guard case .interleaved(let both, let bias) = inputs else { return try part.transpose(0, 1).contiguous() }
    if weight == bias || weight == downBias { return nil }
    let matrix = try part.transpose(0, 1)
    return try (weight == both ? Self.apart(matrix) : matrix).contiguous()
  }

  /// `[2F, …]` of which gate and up take turns: gate's before up's.
  private static func apart(_ both: Tensor) throws -> Tensor {
    try both.reshape([both.shape[0] / 2, 2] + both.shape.dropFirst()).transpose(0, 1).reshape(both.shape)
  }

  /// F of these weights.
  func width(_ weights: LayerWeights) throws -> Int {
    let matrix = try weights.expert(0, of: down)
    return isTransposed && !matrix.isPacked ? matrix.shape[0] : matrix.shape[1]
  }

  /// What the tokens are multiplied by first.
  var firstWeights: [Weight] {
    switch inputs {
    case .gated(let gate, let up): [gate, up]
    case .plain(let up): [up]
    case .stacked(let both), .interleaved(let both, bias: _): [both]
    }
  }

  var maps: ExpertMaps {
    var biases: [Weight: Weight] = [:]
    if case .interleaved(let both, let bias) = inputs { biases[both] = bias }
    biases[down] = downBias
    return ExpertMaps(first: firstWeights, down: down, biases: biases, isTransposed: isTransposed)
  }

  /// The input of one expert's down projection: `[R, H]` → `[R, F]`.
  func inner(_ rows: Tensor, expert: Int, weights: LayerWeights) throws -> Tensor {
    func part(_ weight: Weight) throws -> Tensor { try weights.expert(expert, of: weight) }
    switch inputs {
    case .gated(let gate, let up):
      return try combine(rows.linear(weight: part(gate)), rows.linear(weight: part(up)))
    case .plain(let up):
      guard case .activation(let activation) = nonlinearity else {
        throw ModelError("experts without a gate need a plain activation")
      }
      return try activation(rows.linear(weight: part(up)))
    case .stacked(let both):
      let matrix = try part(both)
      let map = try isTransposed && !matrix.isPacked ? matrix.transpose(0, 1) : matrix
      let halves = try rows.linear(weight: map).chunk(2, dim: 1)
      return try combine(halves[0], halves[1])
    case .interleaved(let both, let bias):
      let matrix = try part(both)
      if matrix.isPacked {
        let halves = try rows.linear(weight: matrix, bias: Self.apart(part(bias))).chunk(2, dim: 1)
        return try combine(halves[0], halves[1])
      }
      let joined = try rows.linear(weight: matrix.transpose(0, 1), bias: part(bias)).reshape([rows.shape[0], -1, 2])
      return try combine(joined.select(dim: 2, index: 0), joined.select(dim: 2, index: 1))
    }
  }

  private func combine(_ gate: Tensor, _ up: Tensor) throws -> Tensor {
    switch nonlinearity {
    case .activation(let activation): return try activation(gate, times: up)
    case .clamped(let alpha, let limit):
      let gate = try gate.clamp(max: limit)
      let gated = try gate.multiplied(by: alpha).sigmoid()
      try gated.multiply(by: gate)
      try gated.multiply(by: up.clamp(min: -limit, max: limit).adding(1))
      return gated
    }
  }

  /// One expert's output: `[R, F]` → `[R, H]`.
  ///
  /// - Parameters:
  ///   - inner: weighed by the router already.
  ///   - share: `[R, 1]`, the weights, for a bias.
  func output(_ inner: Tensor, share: Tensor, expert: Int, weights: LayerWeights) throws -> Tensor {
    let matrix = try weights.expert(expert, of: down)
    let product = try isTransposed && !matrix.isPacked ? inner.matmul(matrix) : inner.linear(weight: matrix)
    guard let downBias else { return product }
    return try product.adding(share.multiplied(by: weights.expert(expert, of: downBias)))
  }
}
