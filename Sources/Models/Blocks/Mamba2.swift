public import Torch

// Shapes: B rows, S tokens, H hidden, N heads, P head_dim, I = N × P, G groups, K state size.

/// The Mamba-2 mixer (Dao & Gu 2024, arXiv 2405.21060; `transformers` modeling_mamba2.py): one projection to the gate z,
/// x, B, C and Δ, a causal convolution over x, B and C, the state-space scan, a gated norm and the projection back.
/// Tap: the x part of the input projection's output.
///
/// Heads are ranked within their groups, whose B and C they share; head_dim has one ranking for all heads of the layer.
public struct Mamba2: Block {
  let input: Linear, output: Linear
  let convolution: Weight, convolutionBias: Weight?
  let stepBias: Weight, logDecay: Weight, skip: Weight
  let norm: Weight
  private let settings: Settings
  private static let tap = Tap(.mambaHeads * .mambaHeadDim, "output of the Mamba input projection")

  /// What a family says besides sizes.
  public struct Settings: Sendable {
    /// Groups of heads that share B and C (G).
    public var groups: Int
    /// Groups of channels that the gated norm runs over.
    public var normGroups: Int
    public var epsilon: Double
    /// After the convolution.
    public var activation: Activation
    /// Bounds of Δ.
    public var stepLimit: ClosedRange<Double>
    /// Whether the two projections have biases.
    public var bias: Bool
    public var convolutionBias: Bool
    /// Of an element of the scan's state where the model is served: 2, or 4 where the config asks for float32.
    public var stateBytes = 2

    public init(
      groups: Int, normGroups: Int? = nil, epsilon: Double, activation: Activation = .silu,
      stepLimit: ClosedRange<Double> = 0 ... .infinity, bias: Bool = false, convolutionBias: Bool = true
    ) {
      self.groups = groups
      self.normGroups = normGroups ?? groups
      self.epsilon = epsilon
      self.activation = activation
      self.stepLimit = stepLimit
      self.bias = bias
      self.convolutionBias = convolutionBias
    }
  }

  public init(_ prefix: String, settings: Settings) {
    let inner = Axis.mambaHeads * .mambaHeadDim
    let shared = Axis.mambaGroups * .mambaState
    let convolved = inner + shared + shared
    input = Linear(prefix + ".in_proj", [inner + convolved + .mambaHeads, .hidden], bias: settings.bias)
    convolution = Weight(prefix + ".conv1d.weight", [convolved, .one, .convKernel])
    convolutionBias = settings.convolutionBias ? Weight(prefix + ".conv1d.bias", [convolved]) : nil
    stepBias = Weight(prefix + ".dt_bias", [.mambaHeads])
    logDecay = Weight(prefix + ".A_log", [.mambaHeads])
    skip = Weight(prefix + ".D", [.mambaHeads])
    norm = Weight(prefix + ".norm.weight", [inner])
    output = Linear(prefix + ".out_proj", [.hidden, inner], bias: settings.bias)
    self.settings = settings
  }

  public var taps: [Tap] { [Self.tap] }
  public var weights: [Weight] {
    input.weights + [convolution, convolutionBias, stepBias, logDecay, skip, norm].compactMap { $0 } + output.weights
  }

  /// The convolution's last inputs and the scan's state, whatever the number of tokens.
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    let channels = convolution.axes[0].size(sizes)
    let inner = norm.axes[0].size(sizes)
    return rows * (channels * (sizes[.convKernel] - 1) + inner * sizes[.mambaState])
  }

  public func cacheBytes(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    let state = rows * norm.axes[0].size(sizes) * sizes[.mambaState]
    return 2 * (cacheElements(rows: rows, tokens: tokens, sizes: sizes) - state) + settings.stateBytes * state
  }

  /// Every token enters and leaves the state: two products of it, and its decay.
  public func operations(rows: [Int], sizes: Sizes) -> Double {
    let state = Double(norm.axes[0].size(sizes) * sizes[.mambaState])
    return productOperations(rows: rows, sizes: sizes) + 6 * state * Double(rows.reduce(0, +))
  }

  public var mixing: TokenMixing { .sequences(sharing: .max) }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    // Sizes come from the weights, which may be sliced.
    let heads = try weights[logDecay].shape[0]
    let inner = try weights[norm].shape[0]
    let channels = try weights[convolution].shape[0]
    let parts = try input.forward(x, weights: weights, context: context).split([inner, channels, heads], dim: 2)
    try context.observe(Self.tap, parts[1].narrow(dim: 2, start: 0, length: inner))
    let step = try parts[2].to(.float32).adding(weights[stepBias].to(.float32)).softplus()
      .clamp(min: settings.stepLimit.lowerBound, max: settings.stepLimit.upperBound)

    var (y, gate) = (parts[1], parts[0])
    if let packed = context.packed {
      y = try packed.overSequences([y, step]) { try mix($0[0], step: $0[1], after: $1, weights: weights) }
      if packed.lastTokensOnly { (y, gate) = (try packed.trim(y), try packed.trim(gate)) }
    } else {
      let state: RecurrentState
      (y, state) = try mix(y, step: step, after: context.cache?.scans[context.layer], weights: weights)
      context.cache?.scans[context.layer] = state
    }
    return try output.forward(
      gatedNorm(y, gate: gate, weights: weights).to(x.dtype), weights: weights, context: context)
  }

  /// Convolution and scan over sequences, `[B, S, I + 2 G × K]` and Δ `[B, S, N]` → `[B, S, I]` float32. The scan's state
  /// is `[B, G, K, R × P]`.
  private func mix(_ x: Tensor, step: Tensor, after before: RecurrentState?, weights: LayerWeights) throws -> (
    Tensor, RecurrentState
  ) {
    let (rows, tokens) = (x.shape[0], x.shape[1])
    let heads = step.shape[2]
    let inner = try weights[norm].shape[0]
    let groups = settings.groups
    let shared = (x.shape[2] - inner) / 2
    let (headDim, size) = (inner / max(heads, 1), shared / max(groups, 1))
    let (convolved, tail) = try convolve(x, after: before?.convolution, weights: weights)
    let mixed = try convolved.split([inner, shared, shared], dim: 2)
    let scan = try StateSpaceScan(
      decay: weights[logDecay].to(.float32).exp().negated(), skip: weights[skip].to(.float32))
    var states: [Tensor] = []
    // A row at a time: the views of one row are those that batched products take without a copy.
    let scanned = try (0..<rows).map { row in
      func part(_ whole: Tensor, _ shape: [Int]) throws -> Tensor {
        try whole.select(dim: 0, index: row).contiguous().view([tokens] + shape)
      }
      let carried =
        try before?.state.select(dim: 0, index: row).clone()
        ?? StateSpaceScan.emptyState(groups: groups, size: size, heads: heads, headDim: headDim, device: x.device)
      states.append(carried)
      let y = try part(mixed[0], [heads, headDim])
      try scan(
        x: y, step: part(step, [heads]), input: part(mixed[1], [groups, size]),
        output: part(mixed[2], [groups, size]), state: carried)
      return y
    }
    /// One row's needs no copy.
    func joined(_ list: [Tensor]) throws -> Tensor {
      try list.count == 1 ? list[0].unsqueeze(0) : Tensor.stack(list, dim: 0)
    }
    let y = try joined(scanned).view([rows, tokens, inner])
    return (y, RecurrentState(convolution: try tail.clone(), state: try joined(states)))
  }

  /// The causal convolution, channel by channel, and its activation: `[B, S, C]` → `[B, S, C]` float32, and a view of
  /// the inputs that the next tokens need.
  ///
  /// A kernel of a few tokens is as many scaled sums of shifted inputs: where they lie, without the transposed copies
  /// that convolution operators want, in a tenth of their time.
  private func convolve(_ x: Tensor, after tail: Tensor?, weights: LayerWeights) throws -> (Tensor, tail: Tensor) {
    let kernel = try weights[convolution].to(.float32).squeeze(1).transpose(0, 1).contiguous()  // [conv_kernel, C]
    let reach = kernel.shape[0] - 1
    let tokens = x.shape[1]
    // What comes before the first token is zero.
    let history = try tail ?? Tensor.zeros([x.shape[0], reach, x.shape[2]], dtype: x.dtype, device: x.device)
    let padded = try Tensor.cat([history, x], dim: 1)
    let wide = try padded.to(.float32)
    func shifted(_ by: Int) throws -> Tensor { try wide.narrow(dim: 1, start: by, length: tokens) }
    let y = try shifted(0).multiplied(by: kernel.select(dim: 0, index: 0))
    for offset in 0..<reach { try y.addProduct(shifted(offset + 1), kernel.select(dim: 0, index: offset + 1)) }
    if let bias = try weights[optional: convolutionBias] { try y.add(bias.to(.float32)) }
    return (try settings.activation(y), try padded.narrow(dim: 1, start: tokens, length: reach))
  }

  /// The RMS norm over each group of channels of `y × silu(gate)`, in float32.
  private func gatedNorm(_ y: Tensor, gate: Tensor, weights: LayerWeights) throws -> Tensor {
    let shape = y.shape
    return try gate.to(.float32).gated(.silu, up: y, into: y).view([shape[0], shape[1], settings.normGroups, -1])
      .rmsNorm(weight: nil, eps: settings.epsilon)
      .view(shape).multiplied(by: weights[norm].to(.float32))
  }
}
