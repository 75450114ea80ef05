public import Torch

// Shapes: B rows, S tokens, H hidden, I channels, R channels that steps come of, K state size, Q tokens of a chunk.

/// The first Mamba's mixer (Gu & Dao 2023, arXiv 2312.00752) with norms of Δ, B and C (Jamba, Lieber et al. 2024, arXiv 2403.19887;
/// `transformers` modeling_jamba.py): one projection to x and the gate, a causal convolution over x, of which Δ, B and C come, the
/// selective scan, the gate and the projection back. Tap: the input of the projection back.
///
/// Configs give its channels no size of their own: there are `mamba_expand` times as many as the hidden size has. Which ones go is
/// ranked in each layer by what is measured at the tap.
public struct Mamba1: Block {
  private static let tap = Tap(Axis(.mambaChannels), "input of the Mamba mixer's output projection")
  private let input: Linear, selection: Linear, step: Linear, output: Linear
  private let convolution: CausalConvolution
  private let logDecay: Weight, skip: Weight
  /// Of Δ, B and C.
  private let norms: [Norm]
  private let activation: Activation

  /// - Parameters:
  ///   - prefix: what its weights' names begin with.
  ///   - epsilon: of the norms.
  ///   - activation: after the convolution.
  ///   - bias: whether the projections into the mixer and back have biases.
  ///   - convolutionBias: whether the convolution has one.
  public init(_ prefix: String, epsilon: Double, activation: Activation, bias: Bool, convolutionBias: Bool) {
    let (channels, rank, state) = (Axis(.mambaChannels), Axis(.mambaStepRank), Axis.mambaState)
    input = Linear(prefix + ".in_proj", [channels + channels, .hidden], bias: bias)
    convolution = CausalConvolution(prefix + ".conv1d", channels: channels, bias: convolutionBias)
    selection = Linear(prefix + ".x_proj", [rank + state + state, channels])
    step = Linear(prefix + ".dt_proj", [channels, rank], bias: true)
    logDecay = Weight(prefix + ".A_log", [channels, state])
    skip = Weight(prefix + ".D", [channels])
    output = Linear(prefix + ".out_proj", [.hidden, channels], bias: bias)
    norms = [("dt", rank), ("b", state), ("c", state)].map {
      Norm("\(prefix).\($0)_layernorm", over: $1, epsilon: epsilon)
    }
    self.activation = activation
  }

  public var taps: [Tap] { [Self.tap] }
  public var weights: [Weight] {
    input.weights + convolution.weights + selection.weights + step.weights + [logDecay, skip] + output.weights
      + norms.flatMap(\.weights)
  }

  /// The convolution's last inputs and the scan's state, whatever the number of tokens.
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    rows * sizes[.mambaChannels] * (sizes[.convKernel] - 1 + sizes[.mambaState])
  }

  /// Every token enters and leaves the state: two products of it, and its decay.
  public func operations(rows: [Int], sizes: Sizes) -> Double {
    let state = Double(sizes[.mambaChannels] * sizes[.mambaState])
    return productOperations(rows: rows, sizes: sizes) + 6 * state * Double(rows.reduce(0, +))
  }

  public var mixing: TokenMixing { .sequences(sharing: .max) }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let parts = try input.forward(x, weights: weights, context: context).chunk(2, dim: 2)
    var (y, gate) = (parts[0], parts[1])
    if let packed = context.packed {
      y = try packed.overSequences([y]) { try mix($0[0], after: $1, weights: weights, context: context) }
      if packed.lastTokensOnly { (y, gate) = (try packed.trim(y), try packed.trim(gate)) }
    } else {
      let state: RecurrentState
      (y, state) = try mix(y, after: context.cache?.scans[context.layer], weights: weights, context: context)
      context.cache?.scans[context.layer] = state
    }
    let gated = try gate.to(.float32).gated(.silu, up: y, into: y).to(x.dtype)
    try context.observe(Self.tap, gated)
    return try output.forward(gated, weights: weights, context: context)
  }

  /// Convolution and scan over sequences, `[B, S, I]` → `[B, S, I]` float32. The scan's state is `[B, I, K]`.
  private func mix(
    _ x: Tensor, after before: RecurrentState?, weights: LayerWeights, context: ForwardContext
  ) throws -> (Tensor, RecurrentState) {
    let (summed, tail) = try convolution.forward(x, after: before?.convolution, weights: weights)
    let convolved = try activation(summed).to(x.dtype)
    let selected = try project(convolved, by: selection, weights, context)
    let size = try weights[logDecay].shape[1]
    let parts = try selected.split([selected.shape[2] - 2 * size, size, size], dim: 2)
    let normed = try zip(norms, parts).map { try $0.forward($1.contiguous(), weights: weights) }
    let scan = SelectiveScan(
      decay: try weights[logDecay].to(.float32).exp().negated(), skip: try weights[skip].to(.float32))
    let state =
      try before?.state.clone()
      ?? Tensor.zeros([x.shape[0], x.shape[2], size], dtype: .float32, device: x.device)
    let y = try scan(
      x: convolved.to(.float32),
      step: project(normed[0], by: step, weights, context).to(.float32).softplus(),
      input: normed[1].to(.float32), output: normed[2].to(.float32), state: state)
    return (y, RecurrentState(convolution: try tail.clone(), state: state))
  }
}

extension Mamba1 {
  /// A linear map of `[B, S, C]`. Steps of several sequences go through it sixteen at a time, padded: products of other numbers of rows
  /// may be rounded otherwise, and what a sequence gives must not depend on the others.
  private func project(
    _ x: Tensor, by map: Linear, _ weights: LayerWeights, _ context: ForwardContext
  ) throws -> Tensor {
    guard context.packed?.isStepwise == true, x.shape[1] == 1 else {
      return try map.forward(x, weights: weights, context: context)
    }
    let (rows, most) = (x.shape[0], ExpertGrouping.steppedRows)
    let parts = try stride(from: 0, to: rows, by: most).map { first in
      let count = min(most, rows - first)
      var part = try x.narrow(dim: 0, start: first, length: count)
      if count < most {
        part = try Tensor.cat([part, .zeros([most - count, 1, x.shape[2]], dtype: x.dtype, device: x.device)], dim: 0)
      }
      return try map.forward(part, weights: weights, context: context).narrow(dim: 0, start: 0, length: count)
    }
    return try parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 0)
  }
}

/// The selective scan of Mamba (Gu & Dao 2023, arXiv 2312.00752, section 3.2): for every channel a state `h` of K numbers with
/// `h_t = exp(Δ_t A) h_(t−1) + Δ_t B_t x_t` and `y_t = C_t · h_t + D x_t`. Everything is float32.
///
/// A chunk of tokens at a time: what each token multiplies the state by and adds to it is computed for all of them, then token after
/// token takes the state before it in, and what they give is one batched product.
struct SelectiveScan {
  /// `[I, K]`, negative: how fast each number of the state is forgotten.
  let decay: Tensor
  /// `[I]`: what of its own x each token sees.
  let skip: Tensor
  /// Numbers of states that are held at once.
  private static let held = 1 << 22

  /// - Parameters:
  ///   - x: `[B, S, I]`.
  ///   - step: Δ, `[B, S, I]`, not below zero.
  ///   - input: B, `[B, S, K]`.
  ///   - output: C, `[B, S, K]`.
  ///   - state: what came before, `[B, I, K]`; updated in place unless gradients are recorded.
  /// - Returns: y, `[B, S, I]`.
  func callAsFunction(x: Tensor, step: Tensor, input: Tensor, output: Tensor, state: Tensor) throws -> Tensor {
    let (rows, tokens, channels) = (x.shape[0], x.shape[1], x.shape[2])
    let length = min(max(Self.held / max(rows * channels * state.shape[2], 1), 1), 64)
    var carried = state
    let chunks = try stride(from: 0, to: tokens, by: length).map { start in
      let count = min(length, tokens - start)
      func chunk(_ whole: Tensor) throws -> Tensor {
        try whole.narrow(dim: 1, start: start, length: count).transpose(0, 1).contiguous()  // [Q, B, …]
      }
      let (xs, steps) = (try chunk(x), try chunk(step))
      let remains = try steps.unsqueeze(3).multiplied(by: decay).exp()  // [Q, B, I, K]
      // What each token adds, and then the state after it.
      var states = try steps.multiplied(by: xs).unsqueeze(3).multiplied(by: chunk(input).unsqueeze(2))
      if LibTorch.isRecording {
        let all = try (0..<count).map { token in
          let kept = try remains.select(dim: 0, index: token).multiplied(by: carried)
          carried = try kept.adding(states.select(dim: 0, index: token))
          return carried
        }
        states = try Tensor.stack(all, dim: 0)
      } else {
        var last = state
        for token in 0..<count {
          let next = try states.select(dim: 0, index: token)
          try next.addProduct(remains.select(dim: 0, index: token), last)
          last = next
        }
        try state.copy(from: last)
      }
      // A batched product rounds otherwise for other numbers of rows: a step's must not depend on what else is stepped.
      let seen =
        try count == 1
        ? states.multiplied(by: chunk(output).unsqueeze(2)).sum(dims: [3])
        : states.matmul(chunk(output).unsqueeze(3)).view([count, rows, channels])
      try seen.addProduct(xs, skip)
      return try seen.transpose(0, 1)
    }
    return try (chunks.count == 1 ? chunks[0] : Tensor.cat(chunks, dim: 1)).contiguous()
  }
}
