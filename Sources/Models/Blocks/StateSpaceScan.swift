public import Torch

// Shapes: S tokens, N heads, P head_dim, G groups, R heads of a group (N / G), K state size, Q tokens of a chunk.

/// The state-space scan of Mamba-2 (Dao & Gu 2024, arXiv 2405.21060, section 6): for every head a state `h` of K × P with
/// `h_t = exp(Δ_t A) h_(t−1) + Δ_t B_t x_tᵀ` and `y_t = C_tᵀ h_t + D x_t`.
///
/// Computed a chunk of tokens at a time. Inside a chunk every token reaches the later ones by a masked Q × Q matrix, as in
/// attention; what came before the chunk is in the state, which is handed from chunk to chunk. So the time is linear
/// in the sequence, nothing is held that grows with it but input and output, and all the work is batched matrix
/// products: the result is that of the recurrence, in another order of summation. Everything is float32; decays
/// are differences of logarithms, at most 1, and never quotients of exponentials, so none overflows.
public struct StateSpaceScan {
  /// Tokens of a chunk. Fewer mean smaller matrix products, more mean more work within chunks: what elementwise work
  /// costs beside the products is smallest around here for head_dim and states of 64 to 128.
  public static let chunkLength = 64

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
  ///   - x: `[S, N, P]`.
  ///   - step: Δ, `[S, N]`, not below zero.
  ///   - input: B, `[S, G, K]`.
  ///   - output: C, `[S, G, K]`.
  ///   - state: what came before, `[G, K, R × P]`; updated in place.
  /// - Returns: y, `[S, N, P]`.
  public func callAsFunction(x: Tensor, step: Tensor, input: Tensor, output: Tensor, state: Tensor) throws -> Tensor {
    let (tokens, heads, width) = (x.shape[0], x.shape[1], x.shape[2])
    let groups = input.shape[1]
    let perGroup = heads / max(groups, 1)
    let y = try Tensor.empty([tokens, heads, width], dtype: .float32, device: x.device)
    let decay = try decay.unsqueeze(1)
    let skip = try skip.unsqueeze(1)
    for start in stride(from: 0, to: tokens, by: Self.chunkLength) {
      let length = min(Self.chunkLength, tokens - start)
      func chunk(_ whole: Tensor) throws -> Tensor { try whole.narrow(dim: 0, start: start, length: length) }
      let xs = try chunk(x)
      let steps = try chunk(step).transpose(0, 1)  // [N, Q]
      let b = try chunk(input).transpose(0, 1)  // [G, Q, K]
      let c = try chunk(output).transpose(0, 1)
      // Logarithms of the decay from the chunk's start up to each token, and of that decay over what a token puts in.
      let reached = try steps.multiplied(by: decay).cumsum(dim: 1)  // [N, Q]
      let source = try reached.subtracting(steps.log())
      let end = try reached.narrow(dim: 1, start: length - 1, length: 1)  // [N, 1]

      // Within the chunk. Above the diagonal stand growth factors, held finite so that the mask's zeros win.
      let mixing = try reached.unsqueeze(2).subtracting(source.unsqueeze(1)).clamp(max: 80).exp()  // [N, Q, Q]
      let mask = try causal.narrow(dim: 0, start: 0, length: length).narrow(dim: 1, start: 0, length: length)
      let scores = try c.matmul(b.transpose(1, 2)).multiplied(by: mask)  // [G, Q, Q]
      try mixing.view([groups, perGroup, length, length]).multiply(by: scores.unsqueeze(1))
      let within = try mixing.matmul(xs.transpose(0, 1))  // [N, Q, P]

      // From the chunks before: one product for all heads of a group.
      let before = try c.matmul(state).view([groups, length, perGroup, width])
      try before.multiply(by: reached.exp().view([groups, perGroup, length]).transpose(1, 2).unsqueeze(3))

      let target = try chunk(y)
      try target.copy(from: within.transpose(0, 1))
      try target.view([length, groups, perGroup, width]).add(before.transpose(0, 1))
      try target.addProduct(xs, skip)

      // The state after the chunk.
      let weights = try end.subtracting(source).exp().transpose(0, 1).unsqueeze(2)  // [Q, N, 1]
      let weighted = try xs.multiplied(by: weights).view([length, groups, perGroup * width]).transpose(0, 1)
      try state.view([groups, -1, perGroup, width]).multiply(by: end.exp().view([groups, 1, perGroup, 1]))
      try state.add(b.transpose(1, 2).matmul(weighted))
    }
    return y
  }

  /// The state before the first token.
  public static func emptyState(groups: Int, size: Int, heads: Int, headDim: Int, device: Device) throws -> Tensor {
    try Tensor.zeros([groups, size, heads / max(groups, 1) * headDim], dtype: .float32, device: device)
  }
}
