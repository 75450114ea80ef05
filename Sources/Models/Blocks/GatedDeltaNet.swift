public import Torch

// Shapes: B rows, S tokens, H hidden, K key heads, V value heads (R = V / K to each key head), D channels of a head.

/// Linear attention by the gated delta rule (Yang et al. 2024, arXiv 2412.06464), as Qwen3-Next and Qwen3.5 have it.
/// Its heads are kept: pruning touches the residual channels only.
public struct GatedDeltaNet: Block {
  /// How the inputs are projected.
  public enum Layout: Sendable {
    /// `in_proj_qkv`, `in_proj_z`, `in_proj_b`, `in_proj_a` (Qwen3.5).
    case separate
    /// `in_proj_qkvz` and `in_proj_ba`, key head after key head (Qwen3-Next).
    case grouped
  }

  static let keyHeads = Dimension(fixed: "linear_num_key_heads")
  static let valueHeads = Dimension(fixed: "linear_num_value_heads")
  static let keyDim = Dimension(fixed: "linear_key_head_dim")
  static let valueDim = Dimension(fixed: "linear_value_head_dim")
  static let kernel = Dimension(fixed: "linear_conv_kernel_dim")

  private let layout: Layout
  private let inputs: [Linear]
  private let output: Linear
  private let convolution: Weight, stepBias: Weight, logDecay: Weight
  private let norm: Norm
  private let activation: Activation
  private let keyHeads: Int, valueHeads: Int, keyDim: Int, valueDim: Int

  /// - Parameter sizes: of the dimensions above.
  init(_ prefix: String, sizes: Sizes, layout: Layout, activation: Activation, epsilon: Double) {
    let keys = Axis(Self.keyHeads) * Axis(Self.keyDim)
    let values = Axis(Self.valueHeads) * Axis(Self.valueDim)
    func input(_ name: String, _ axis: Axis) -> Linear { Linear(prefix + "." + name, [axis, .hidden]) }
    self.layout = layout
    switch layout {
    case .separate:
      inputs = [
        input("in_proj_qkv", keys + keys + values), input("in_proj_z", values),
        input("in_proj_b", Axis(Self.valueHeads)), input("in_proj_a", Axis(Self.valueHeads)),
      ]
    case .grouped:
      // Nothing here is pruned, so that the order of the rows does not matter to the table.
      inputs = [
        input("in_proj_qkvz", keys + keys + values + values),
        input("in_proj_ba", Axis(Self.valueHeads) + Axis(Self.valueHeads)),
      ]
    }
    output = Linear(prefix + ".out_proj", [.hidden, values])
    convolution = Weight(prefix + ".conv1d.weight", [keys + keys + values, .one, Axis(Self.kernel)])
    stepBias = Weight(prefix + ".dt_bias", [Axis(Self.valueHeads)])
    logDecay = Weight(prefix + ".A_log", [Axis(Self.valueHeads)])
    norm = Norm(prefix + ".norm", over: Axis(Self.valueDim), epsilon: epsilon)
    self.activation = activation
    (keyHeads, valueHeads) = (sizes[Self.keyHeads], sizes[Self.valueHeads])
    (keyDim, valueDim) = (sizes[Self.keyDim], sizes[Self.valueDim])
  }

  /// The sizes of a config, and the check that value heads share key heads evenly.
  static func readSizes(_ config: ConfigReader, into sizes: inout DeclaredSizes) throws {
    let most = 1 << 16
    sizes[keyHeads] = try config.size(keyHeads.name, default: 16, atMost: most)
    sizes[valueHeads] = try config.size(valueHeads.name, default: 32, atMost: most)
    sizes[keyDim] = try config.size(keyDim.name, default: 128, atMost: most)
    sizes[valueDim] = try config.size(valueDim.name, default: 128, atMost: most)
    sizes[kernel] = try config.size(kernel.name, default: 4, atMost: most)
    guard sizes[valueHeads] % sizes[keyHeads] == 0 else {
      throw ModelError(
        "\(config.file): linear_num_value_heads (\(sizes[valueHeads])) should be a multiple of linear_num_key_heads "
          + "(\(sizes[keyHeads]))")
    }
  }

  public var weights: [Weight] {
    inputs.flatMap(\.weights) + [convolution, stepBias, logDecay] + norm.weights + output.weights
  }

  /// The convolution's last inputs and the state, whatever the number of tokens.
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    let channels = convolution.axes[0].size(sizes)
    return rows * (channels * (sizes[Self.kernel] - 1) + valueHeads * keyDim * valueDim)
  }

  /// The state is float32 (`transformers` modeling_qwen3_next.py, `mamba_ssm_dtype` of Qwen3.5's configs).
  public func cacheBytes(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    2 * (cacheElements(rows: rows, tokens: tokens, sizes: sizes) + rows * valueHeads * keyDim * valueDim)
  }

  /// Every token is compared with the state, enters it and leaves it, and the state decays.
  public func operations(rows: [Int], sizes: Sizes) -> Double {
    let state = Double(valueHeads * keyDim * valueDim)
    return productOperations(rows: rows, sizes: sizes) + 8 * state * Double(rows.reduce(0, +))
  }

  public var mixing: TokenMixing { .sequences(sharing: .max) }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    var (mixed, gate, b, a) = try project(x, weights: weights, context: context)
    if let packed = context.packed {
      mixed = try packed.overSequences([mixed, b, a]) { try mix($0[0], $0[1], $0[2], after: $1, weights: weights) }
      if packed.lastTokensOnly { (mixed, gate) = (try packed.trim(mixed), try packed.trim(gate)) }
    } else {
      let state: RecurrentState
      (mixed, state) = try mix(mixed, b, a, after: context.cache?.scans[context.layer], weights: weights)
      context.cache?.scans[context.layer] = state
    }
    let normed = try gate.to(.float32).reshape(mixed.shape)  // [B, S, V, D]
      .gated(.silu, up: norm.forward(mixed.to(x.dtype), weights: weights).to(.float32))
    return try output.forward(
      normed.to(x.dtype).reshape([mixed.shape[0], mixed.shape[1], -1]), weights: weights, context: context)
  }

  /// Convolution and delta rule over sequences, `[B, S, 2KD + VD]`, b and a `[B, S, V]` → `[B, S, V, D]` float32. The
  /// state is `[B, V, D, D]`.
  private func mix(
    _ x: Tensor, _ b: Tensor, _ a: Tensor, after before: RecurrentState?, weights: LayerWeights
  ) throws -> (Tensor, RecurrentState) {
    let (rows, tokens) = (x.shape[0], x.shape[1])
    let (convolved, tail) = try convolve(x, after: before?.convolution, weights: weights)
    let keys = keyHeads * keyDim
    let parts = try convolved.split([keys, keys, valueHeads * valueDim], dim: 2)
    let step = try a.to(.float32).adding(weights[stepBias].to(.float32)).softplus()
    let decay = try weights[logDecay].to(.float32).exp().negated().multiplied(by: step)  // [B, S, V]
    func heads(_ part: Tensor, _ size: Int) throws -> Tensor {
      try part.to(.float32).reshape([rows, tokens, -1, size]).transpose(1, 2)
    }
    func normalised(_ part: Tensor) throws -> Tensor {
      let y = try heads(part, keyDim)
      let whole = try y.multiplied(by: y.square().sum(dims: [3], keepDim: true).adding(1e-6).rsqrt())
      return keyHeads == valueHeads ? whole : try whole.repeatInterleave(valueHeads / keyHeads, dim: 1)
    }
    let (y, state) = try DeltaRule.apply(
      query: normalised(parts[0]).multiplied(by: 1 / Double(keyDim).squareRoot()), key: normalised(parts[1]),
      value: heads(parts[2], valueDim), decay: decay.transpose(1, 2),
      rate: b.sigmoid().to(.float32).transpose(1, 2), state: before?.state)
    return (try y.transpose(1, 2), RecurrentState(convolution: try tail.clone(), state: state))
  }

  /// Queries, keys and values one after the other `[B, S, 2KD + VD]`, gates `[B, S, VD]`, b and a `[B, S, V]`.
  private func project(
    _ x: Tensor, weights: LayerWeights, context: ForwardContext
  ) throws -> (Tensor, Tensor, Tensor, Tensor) {
    let projected = try inputs.map { try $0.forward(x, weights: weights, context: context) }
    if layout == .separate { return (projected[0], projected[1], projected[2], projected[3]) }
    let shape = [x.shape[0], x.shape[1]]
    let shared = valueHeads / keyHeads
    func flat(_ part: Tensor) throws -> Tensor { try part.reshape(shape + [-1]) }
    let parts = try projected[0].reshape(shape + [keyHeads, -1])
      .split([keyDim, keyDim, shared * valueDim, shared * valueDim], dim: 3)
    let rates = try projected[1].reshape(shape + [keyHeads, 2 * shared]).chunk(2, dim: 3)
    return (
      try Tensor.cat(parts.prefix(3).map(flat), dim: 2), try flat(parts[3]), try flat(rates[0]), try flat(rates[1])
    )
  }

  /// The causal convolution, channel by channel, and its activation: `[B, S, C]` → `[B, S, C]`, and a view of the
  /// inputs that the next tokens need.
  private func convolve(_ x: Tensor, after tail: Tensor?, weights: LayerWeights) throws -> (Tensor, tail: Tensor) {
    let kernel = try weights[convolution]
    let reach = kernel.shape[2] - 1
    // What comes before the first token is zero.
    let history = try tail ?? Tensor.zeros([x.shape[0], reach, x.shape[2]], dtype: x.dtype, device: x.device)
    let padded = try Tensor.cat([history, x], dim: 1)
    let convolved = try padded.transpose(1, 2).conv1d(weight: kernel, bias: nil, groups: kernel.shape[0])
    return (
      try activation(convolved).transpose(1, 2), try padded.narrow(dim: 1, start: x.shape[1], length: reach)
    )
  }
}
