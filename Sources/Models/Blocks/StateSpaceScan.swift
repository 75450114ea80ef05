public import Torch

// Shapes: S tokens, N heads, P head_dim, G groups, R heads of a group (N / G), K state size, Q tokens of a chunk.

/// The state-space scan of Mamba-2 (Dao & Gu 2024, arXiv 2405.21060, section 6): for every head a state `h` of K × P with
/// `h_t = exp(Δ_t A) h_(t−1) + Δ_t B_t x_tᵀ` and `y_t = C_tᵀ h_t + D x_t`.
///
/// Computed a chunk of tokens at a time. Inside a chunk every token reaches the later ones by a masked Q × Q matrix, as in
/// attention; what came before the chunk is in the state, which is handed from chunk to chunk. So the time is linear
/// in the sequence, nothing grows with it but the input, which the output replaces, and all the work is batched matrix
/// products: the result is that of the recurrence, in another order of summation. Everything is float32; decays
/// are exponentials of differences of logarithms, at most 1, and never quotients of exponentials: none overflows.
public struct StateSpaceScan {
  /// Tokens of a chunk. Fewer mean smaller matrix products, more mean more work within chunks: what elementwise work
  /// costs beside the products is smallest around here for head_dim and states of 64 to 128.
  public static let chunkLength = 64
  /// Heads whose chunk is worked on together: of 64 × 64 numbers each.
  static let headsAtOnce = 32

  /// `[N]`, negative: how fast each head forgets.
  public let decay: Tensor
  /// `[N]`: what of its own x each token sees.
  public let skip: Tensor
  /// Zeros above the diagonal, `[Q, Q]`.
  private let causal: Tensor

  /// - Parameters:
  ///   - decay: A, `[N]` float32, below zero.
  ///   - skip: D, `[N]` float32.
  public init(decay: Tensor, skip: Tensor) throws {
    self.decay = decay
    self.skip = skip
    causal = try Tensor.ones([Self.chunkLength, Self.chunkLength], dtype: .float32, device: decay.device).tril()
  }

  /// One row. Everything is float32.
  ///
  /// - Parameters:
  ///   - x: `[S, N, P]`; y takes its place unless gradients are recorded.
  ///   - step: Δ, `[S, N]`, not below zero.
  ///   - input: B, `[S, G, K]`.
  ///   - output: C, `[S, G, K]`.
  ///   - state: what came before, `[G, K, R × P]`; updated in place unless gradients are recorded.
  /// - Returns: y, `[S, N, P]`.
  public func callAsFunction(x: Tensor, step: Tensor, input: Tensor, output: Tensor, state: Tensor) throws -> Tensor {
    let (groups, perGroup) = (input.shape[1], x.shape[1] / max(input.shape[1], 1))
    // A few groups of heads at a time: what one chunk of them takes fits the processor's cache.
    let band = max(Self.headsAtOnce / max(perGroup, 1), 1)
    let bands = TaskResults(count: (groups + band - 1) / band)
    try LibTorch.parallel(bands.count) { index in
      let first = index * band
      let count = min(band, groups - first)
      func heads(_ whole: Tensor, dim: Int) throws -> Tensor {
        try whole.narrow(dim: dim, start: first * perGroup, length: count * perGroup)
      }
      func shared(_ whole: Tensor, dim: Int) throws -> Tensor {
        try whole.narrow(dim: dim, start: first, length: count)
      }
      bands[index] = try scan(
        x: heads(x, dim: 1), step: heads(step, dim: 1), input: shared(input, dim: 1), output: shared(output, dim: 1),
        state: shared(state, dim: 0), decay: heads(decay, dim: 0).unsqueeze(1), skip: heads(skip, dim: 0).unsqueeze(1))
    }
    return LibTorch.isRecording ? try bands.joined(dim: 1) : x
  }

  /// The same for some of the groups; `decay` and `skip` are `[N, 1]`.
  private func scan(
    x: Tensor, step: Tensor, input: Tensor, output: Tensor, state: Tensor, decay: Tensor, skip: Tensor
  ) throws -> Tensor {
    let isRecording = LibTorch.isRecording
    /// Of numbers that the way back may need there is another copy then.
    func scale(_ values: Tensor, _ factors: Tensor) throws -> Tensor {
      if isRecording { return try values.multiplied(by: factors) }
      try values.multiply(by: factors)
      return values
    }
    var state = state
    var results: [Tensor] = []
    let (tokens, heads, width) = (x.shape[0], x.shape[1], x.shape[2])
    let groups = input.shape[1]
    let perGroup = heads / max(groups, 1)
    for start in stride(from: 0, to: tokens, by: Self.chunkLength) {
      let length = min(Self.chunkLength, tokens - start)
      func chunk(_ whole: Tensor) throws -> Tensor { try whole.narrow(dim: 0, start: start, length: length) }
      let xs = try chunk(x)
      let steps = try chunk(step).transpose(0, 1)  // [N, Q]
      let b = try chunk(input).transpose(0, 1)  // [G, Q, K]
      let c = try chunk(output).transpose(0, 1)
      // Logarithms of the decay from the chunk's start up to each token, rounded and what rounding lost: their
      // differences are wanted to the last digit, also where the numbers have grown large.
      let logarithms = try steps.multiplied(by: decay).cumsum(dim: 1, dtype: .float64)  // [N, Q]
      let reached = try logarithms.to(.float32)
      let lost = try logarithms.subtracting(reached.to(.float64)).to(.float32)
      let end = try logarithms.narrow(dim: 1, start: length - 1, length: 1)  // [N, 1]
      func perToken(_ values: Tensor) throws -> Tensor { try values.transpose(0, 1).unsqueeze(2) }  // [Q, N, 1]

      // Within the chunk. Above the diagonal, where the mask has zeros, growth is held at 1 so that it is finite.
      let mixing = try Self.decays(reached.unsqueeze(2).subtracting(reached.unsqueeze(1)))  // [N, Q, Q]
      let mask = try causal.narrow(dim: 0, start: 0, length: length).narrow(dim: 1, start: 0, length: length)
      let scores = try c.matmul(b.transpose(1, 2)).multiplied(by: mask)  // [G, Q, Q]
      let reaching = try scale(mixing.view([groups, perGroup, length, length]), scores.unsqueeze(1))
        .view([heads, length, length])
      let put = try xs.multiplied(by: perToken(steps.multiplied(by: lost.negated().exp())))  // [Q, N, P]
      let within = try reaching.matmul(put.transpose(0, 1))  // [N, Q, P]

      // From the chunks before: one product for all heads of a group.
      let sum = try scale(
        c.matmul(state).view([groups, length, perGroup, width]),
        Self.decays(reached).view([groups, perGroup, length]).transpose(1, 2).unsqueeze(3))
      try sum.addProduct(
        within.view([groups, perGroup, length, width]).transpose(1, 2),
        lost.exp().view([groups, perGroup, length]).transpose(1, 2).unsqueeze(3))

      // The state after the chunk.
      let remains = try Self.decays(end.subtracting(logarithms).to(.float32)).multiplied(by: steps)
      let weighted = try xs.multiplied(by: perToken(remains)).view([length, groups, perGroup * width]).transpose(0, 1)
      let faded = try Self.decays(end.to(.float32)).view([groups, 1, perGroup, 1])
      let entering = try b.transpose(1, 2).matmul(weighted)
      if isRecording {
        state = try state.view([groups, -1, perGroup, width]).multiplied(by: faded).view(state.shape).adding(entering)
        let grouped = try xs.multiplied(by: skip).view([length, groups, perGroup, width])
        results.append(try grouped.adding(sum.transpose(0, 1)).view(xs.shape))
      } else {
        try state.view([groups, -1, perGroup, width]).multiply(by: faded)
        try state.add(entering)
        try xs.multiply(by: skip)
        try xs.view([length, groups, perGroup, width]).add(sum.transpose(0, 1))
      }
    }
    return isRecording ? try Tensor.cat(results, dim: 0) : x
  }

  /// Decays by their logarithms. What is as good as nothing is not let fall below 1e-35: arithmetic on numbers too small
  /// for float32's full precision is many times slower.
  private static func decays(_ logarithms: Tensor) throws -> Tensor { try logarithms.clamp(min: -80, max: 0).exp() }

  /// The state before the first token.
  public static func emptyState(groups: Int, size: Int, heads: Int, headDim: Int, device: Device) throws -> Tensor {
    try Tensor.zeros([groups, size, heads / max(groups, 1) * headDim], dtype: .float32, device: device)
  }
}
