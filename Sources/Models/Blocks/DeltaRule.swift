import Torch

// Shapes: B rows, V heads, S tokens, C chunks of L tokens, D channels of a key, E channels of a value. All float32.

/// The gated delta rule over a sequence, by chunks (Yang et al. 2024, arXiv 2412.06464, section 3.3): linear in its
/// length, and exact up to float32's rounding. Token by token it reads
/// `state ← decay × state; state += key ⊗ rate × (value − keyᵀ state); output = queryᵀ state`.
enum DeltaRule {
  static let chunk = 64

  /// - Parameters:
  ///   - query, key: `[B, V, S, D]`, scaled already.
  ///   - value: `[B, V, S, E]`.
  ///   - decay: its logarithm, `[B, V, S]`, at most zero.
  ///   - rate: `[B, V, S]`, from zero (keep) to one (overwrite).
  ///   - state: `[B, V, D, E]` before the first token; nil for zeros.
  /// - Returns: the output `[B, V, S, E]` and the state after the last token.
  static func apply(
    query: Tensor, key: Tensor, value: Tensor, decay: Tensor, rate: Tensor, state: Tensor?
  ) throws -> (Tensor, state: Tensor) {
    let (rows, heads, tokens) = (key.shape[0], key.shape[1], key.shape[2])
    let length = min(Self.chunk, tokens)
    let chunks = (tokens + length - 1) / length
    /// Tokens of padding have keys and rates of zero and do not decay: the state passes them unchanged.
    func chunked(_ x: Tensor) throws -> Tensor {
      var shape = x.shape
      let missing = chunks * length - tokens
      var whole = x
      if missing > 0 {
        shape[2] = missing
        whole = try Tensor.cat([x, .zeros(shape, dtype: x.dtype, device: x.device)], dim: 2)
      }
      return try whole.reshape([rows, heads, chunks, length] + shape.dropFirst(3))
    }
    let (q, k, v) = (try chunked(query), try chunked(key), try chunked(value))
    let rates = try chunked(rate).unsqueeze(4)
    let total = try chunked(decay).cumsum(dim: 3)  // [B, V, C, L]: from the chunk's start to each token
    let ahead = try Tensor.ones([length, length], dtype: .bool, device: key.device).triu(diagonal: 1)
    // From token j to token i; what lies ahead counts nothing.
    let between = try total.unsqueeze(4).subtracting(total.unsqueeze(3)).maskedFill(ahead, -.infinity).exp()
    let grown = try total.exp().unsqueeze(4)

    let (ratedKey, ratedValue) = (try k.multiplied(by: rates), try v.multiplied(by: rates))
    let keysAcross = try k.transpose(3, 4)
    let system = try ratedKey.matmul(keysAcross).multiplied(by: between).tril(diagonal: -1)
    let solved = try inverse(system)
    let newValues = try solved.matmul(ratedValue)
    let readKeys = try solved.matmul(ratedKey.multiplied(by: grown))
    let within = try q.matmul(keysAcross).multiplied(by: between)
    let reading = try q.multiplied(by: grown)
    let last = try total.narrow(dim: 3, start: length - 1, length: 1)
    let writing = try k.multiplied(by: last.subtracting(total).exp().unsqueeze(4)).transpose(3, 4)
    let fading = try last.exp().unsqueeze(4)  // [B, V, C, 1, 1]

    var state =
      try state ?? Tensor.zeros([rows, heads, key.shape[3], value.shape[3]], dtype: .float32, device: key.device)
    var outputs: [Tensor] = []
    for index in 0..<chunks {
      func part(_ x: Tensor) throws -> Tensor { try x.select(dim: 2, index: index) }
      let fresh = try part(newValues).subtracting(part(readKeys).matmul(state))
      outputs.append(try part(reading).matmul(state).adding(part(within).matmul(fresh)))
      state = try state.multiplied(by: part(fading)).adding(part(writing).matmul(fresh))
    }
    let joined = try Tensor.stack(outputs, dim: 2).reshape([rows, heads, chunks * length, value.shape[3]])
    return (try joined.narrow(dim: 2, start: 0, length: tokens), state: state)
  }

  /// `(1 + lower)⁻¹` for strictly lower triangular matrices `[…, n, n]`: halves first, the corner from both. Only
  /// small blocks are summed as a power series, whose terms could cancel in larger ones.
  private static func inverse(_ lower: Tensor) throws -> Tensor {
    let size = lower.shape[lower.shape.count - 1]
    let (row, column) = (lower.shape.count - 2, lower.shape.count - 1)
    let eye = { (n: Int) throws -> Tensor in
      let ones = try Tensor.ones([n, n], dtype: .float32, device: lower.device)
      return try ones.tril().subtracting(ones.tril(diagonal: -1))
    }
    if size <= 8 {
      // (1 − l)(1 + l²)(1 + l⁴): the eighth power is zero.
      let one = try eye(size)
      let square = try lower.matmul(lower)
      let fourth = try square.matmul(square)
      return try one.subtracting(lower).matmul(one.adding(square)).matmul(one.adding(fourth))
    }
    let half = size / 2
    func block(_ i: Int, _ height: Int, _ j: Int, _ width: Int) throws -> Tensor {
      try lower.narrow(dim: row, start: i, length: height).narrow(dim: column, start: j, length: width)
    }
    let upper = try inverse(block(0, half, 0, half))
    let bottom = try inverse(block(half, size - half, half, size - half))
    let corner = try bottom.matmul(block(half, size - half, 0, half)).matmul(upper).negated()
    var shape = lower.shape
    (shape[row], shape[column]) = (half, size - half)
    let empty = try Tensor.zeros(shape, dtype: .float32, device: lower.device)
    return try Tensor.cat(
      [Tensor.cat([upper, empty], dim: column), Tensor.cat([corner, bottom], dim: column)], dim: row)
  }
}
