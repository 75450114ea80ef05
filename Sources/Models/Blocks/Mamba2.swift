public import Torch

// Shapes: B rows, S tokens, H hidden, N heads, P head_dim, I = N × P, G groups, K state size.

/// The Mamba-2 mixer (Dao & Gu 2024, arXiv 2405.21060; `transformers` modeling_mamba2.py): one projection to the gate z,
/// x, B, C and Δ, a causal convolution over x, B and C, the state-space scan, a gated norm and the projection back.
/// Tap: the x part of the input projection's output.
///
/// Heads are ranked within their groups, whose B and C they share; head_dim has one ranking for all heads of the layer.
public struct Mamba2: Block {
  let input: Linear, output: Linear
  let convolution: CausalConvolution
  let stepBias: Weight, logDecay: Weight, skip: Weight
  /// nil where the gate alone follows the scan.
  let norm: Weight?
  private let settings: Settings
  private static let tap = Tap(.mambaHeads * .mambaHeadDim, "output of the Mamba input projection")

  /// What a family says besides sizes.
  public struct Settings: Sendable {
    /// Groups of heads that share B and C (G).
    public var groups: Int
    /// Groups of channels that the gated norm runs over.
    public var normGroups: Int
    /// What stands between the scan and the projection back.
    public var gating: Gating
    public var epsilon: Double
    /// After the convolution.
    public var activation: Activation
    /// Bounds of Δ.
    public var stepLimit: ClosedRange<Double>
    /// Whether the projection into the mixer has a bias, and the one back.
    public var bias: Bool
    public var outputBias: Bool
    public var convolutionBias: Bool
    /// Of an element of the scan's state where the model is served: 2, or 4 where the config asks for float32.
    public var stateBytes = 2
    /// Factors on z, x, B, C and Δ as they are projected (Falcon-H1).
    public var multipliers: [Double]?

    public enum Gating: Sendable {
      /// The norm of the gated output (Mamba-2).
      case beforeNorm
      /// The norm, then the gate.
      case afterNorm
      /// The gate without a norm.
      case alone
    }

    /// - Parameters:
    ///   - groups: of heads that share B and C.
    ///   - normGroups: of channels that the gated norm runs over; nil: as many.
    ///   - gating: what stands between the scan and the projection back.
    ///   - epsilon: of the gated norm.
    ///   - activation: after the convolution.
    ///   - stepLimit: bounds of Δ.
    ///   - bias: whether the projection into the mixer has a bias.
    ///   - outputBias: whether the projection back has one; nil: as the other.
    ///   - convolutionBias: whether the convolution has one.
    ///   - multipliers: five factors, on z, x, B, C and Δ as they are projected; nil for none.
    public init(
      groups: Int, normGroups: Int? = nil, gating: Gating = .beforeNorm, epsilon: Double,
      activation: Activation = .silu, stepLimit: ClosedRange<Double> = 0 ... .infinity, bias: Bool = false,
      outputBias: Bool? = nil, convolutionBias: Bool = true, multipliers: [Double]? = nil
    ) {
      self.groups = groups
      self.normGroups = normGroups ?? groups
      self.gating = gating
      self.outputBias = outputBias ?? bias
      self.multipliers = multipliers
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
    convolution = CausalConvolution(prefix + ".conv1d", channels: convolved, bias: settings.convolutionBias)
    stepBias = Weight(prefix + ".dt_bias", [.mambaHeads])
    logDecay = Weight(prefix + ".A_log", [.mambaHeads])
    skip = Weight(prefix + ".D", [.mambaHeads])
    norm = settings.gating == .alone ? nil : Weight(prefix + ".norm.weight", [inner])
    output = Linear(prefix + ".out_proj", [.hidden, inner], bias: settings.outputBias)
    self.settings = settings
  }

  public var taps: [Tap] { [Self.tap] }
  public var weights: [Weight] {
    input.weights + convolution.weights + [stepBias, logDecay, skip, norm].compactMap { $0 } + output.weights
  }

  /// The convolution's last inputs and the scan's state, whatever the number of tokens.
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    let channels = convolution.kernel.axes[0].size(sizes)
    let inner = output.weight.axes[1].size(sizes)
    return rows * (channels * (sizes[.convKernel] - 1) + inner * sizes[.mambaState])
  }

  public func cacheBytes(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    let state = rows * output.weight.axes[1].size(sizes) * sizes[.mambaState]
    return 2 * (cacheElements(rows: rows, tokens: tokens, sizes: sizes) - state) + settings.stateBytes * state
  }

  /// Every token enters and leaves the state: two products of it, and its decay.
  public func operations(rows: [Int], sizes: Sizes) -> Double {
    let state = Double(output.weight.axes[1].size(sizes) * sizes[.mambaState])
    return productOperations(rows: rows, sizes: sizes) + 6 * state * Double(rows.reduce(0, +))
  }

  public var mixing: TokenMixing { .sequences(sharing: .max) }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    // Sizes come from the weights, which may be sliced.
    let heads = try weights[logDecay].shape[0]
    let channels = try weights[convolution.kernel].shape[0]
    let projected = try input.forward(x, weights: weights, context: context)
    let inner = projected.shape[2] - channels - heads
    var parts = try projected.split([inner, channels, heads], dim: 2)
    try context.observe(Self.tap, parts[1].narrow(dim: 2, start: 0, length: inner))
    if let multipliers = settings.multipliers { parts = try scaled(parts, inner: inner, multipliers) }
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

  /// z, x with B and C, and Δ, each by its factor.
  private func scaled(_ parts: [Tensor], inner: Int, _ multipliers: [Double]) throws -> [Tensor] {
    let shared = (parts[1].shape[2] - inner) / 2
    let mixed = try zip(parts[1].split([inner, shared, shared], dim: 2), multipliers.dropFirst()).map {
      try $0.multiplied(by: $1)
    }
    return [
      try parts[0].multiplied(by: multipliers[0]), try Tensor.cat(mixed, dim: 2),
      try parts[2].multiplied(by: multipliers[4]),
    ]
  }

  /// Convolution and scan over sequences, `[B, S, I + 2 G × K]` and Δ `[B, S, N]` → `[B, S, I]` float32. The scan's state
  /// is `[B, G, K, R × P]`.
  private func mix(_ x: Tensor, step: Tensor, after before: RecurrentState?, weights: LayerWeights) throws -> (
    Tensor, RecurrentState
  ) {
    let (rows, tokens) = (x.shape[0], x.shape[1])
    let heads = step.shape[2]
    let inner = try weights[output.weight].shape[1]
    let groups = settings.groups
    let shared = (x.shape[2] - inner) / 2
    let (headDim, size) = (inner / max(heads, 1), shared / max(groups, 1))
    let (summed, tail) = try convolution.forward(x, after: before?.convolution, weights: weights)
    let convolved = try settings.activation(summed)
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
      return try scan(
        x: part(mixed[0], [heads, headDim]), step: part(step, [heads]), input: part(mixed[1], [groups, size]),
        output: part(mixed[2], [groups, size]), state: carried)
    }
    /// One row's needs no copy.
    func joined(_ list: [Tensor]) throws -> Tensor {
      try list.count == 1 ? list[0].unsqueeze(0) : Tensor.stack(list, dim: 0)
    }
    let y = try joined(scanned).view([rows, tokens, inner])
    return (y, RecurrentState(convolution: try tail.clone(), state: try joined(states)))
  }

  /// The RMS norm over each group of channels of `y × silu(gate)`, or the gate after it or alone, in float32.
  private func gatedNorm(_ y: Tensor, gate: Tensor, weights: LayerWeights) throws -> Tensor {
    let shape = y.shape
    let gate = try gate.to(.float32)
    let gated = settings.gating == .afterNorm ? y : try gate.gated(.silu, up: y, into: y)
    guard let norm else { return gated }
    let normed = try gated.view([shape[0], shape[1], settings.normGroups, -1])
      .rmsNorm(weight: nil, eps: settings.epsilon).view(shape).multiplied(by: weights[norm].to(.float32))
    return try settings.gating == .afterNorm ? gate.gated(.silu, up: normed, into: normed) : normed
  }
}
