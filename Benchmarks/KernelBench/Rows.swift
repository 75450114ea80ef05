import Torch

/// Norms, gated activations and statistics over 8 rows of 1,024 tokens in bfloat16.
func rowCases() throws -> [Case] {
  let (rows, tokens, hidden, ffn) = (8, 1024, 2048, 5632)
  let lengths = [Int](repeating: tokens, count: rows)
  func random(_ channels: Int) throws -> Tensor {
    try Tensor.randn([rows, tokens, channels]).to(.bfloat16)
  }
  let x = try random(hidden)
  let y = try random(hidden)
  let sum = try random(hidden)
  let out = try random(hidden)
  let weight = try Tensor.randn([hidden]).to(.bfloat16)
  let gate = try random(ffn)
  let up = try random(ffn)
  let wide = try random(ffn)
  // Twice silu leaves small numbers about as they are, so that they stay numbers run after run.
  let same = try gate.multiplied(by: 0.01)
  let twos = try Tensor.full([rows, tokens, ffn], 2, dtype: .bfloat16)
  let bytes = Double(rows * tokens * 2)
  let hiddenBytes = bytes * Double(hidden)
  let ffnBytes = bytes * Double(ffn)
  return [
    Case(
      name: "norm 8192 × 2048, new result", bytes: 2 * hiddenBytes,
      ours: { _ = try x.fusedRMSNorm(weight: weight, eps: 1e-6) },
      libtorch: { _ = try x.rmsNorm(weight: weight, eps: 1e-6) }),
    Case(
      name: "norm 8192 × 2048, into", bytes: 2 * hiddenBytes,
      ours: { _ = try x.fusedRMSNorm(weight: weight, eps: 1e-6, into: out) },
      libtorch: { _ = try x.rmsNorm(weight: weight, eps: 1e-6) }),
    Case(
      name: "residual + norm + tap, into", bytes: 4 * hiddenBytes,
      ours: {
        _ = try x.fusedRMSNorm(
          adding: y, sum: sum, weight: weight, eps: 1e-6, into: out,
          tap: ChannelSums(lengths: lengths, channels: hidden))
      },
      libtorch: {
        _ = try x.adding(y).rmsNorm(weight: weight, eps: 1e-6).norm(p: 1, dims: [1], dtype: .float32)
      }),
    Case(
      name: "silu × up 8192 × 5632, new result", bytes: 3 * ffnBytes,
      ours: { _ = try gate.gated(.silu, up: up) },
      libtorch: { _ = try gate.silu().multiply(by: up) }),
    Case(
      name: "silu × up 8192 × 5632, into", bytes: 3 * ffnBytes,
      ours: { _ = try gate.gated(.silu, up: up, into: wide) },
      libtorch: { _ = try gate.silu().multiply(by: up) }),
    Case(
      name: "silu × up 8192 × 5632, in place", bytes: 3 * ffnBytes,
      ours: { _ = try same.gated(.silu, up: twos, into: same) },
      libtorch: { _ = try gate.silu().multiply(by: up) }),
    Case(
      name: "silu × up + tap, into", bytes: 3 * ffnBytes,
      ours: {
        _ = try gate.gated(.silu, up: up, into: wide, tap: ChannelSums(lengths: lengths, channels: ffn))
      },
      libtorch: {
        let gated = try gate.silu()
        try gated.multiply(by: up)
        _ = try gated.norm(p: 1, dims: [1], dtype: .float32)
      }),
    Case(
      name: "column sums 8192 × 5632", bytes: ffnBytes,
      ours: { try ChannelSums(lengths: lengths, channels: ffn).add(gate) },
      libtorch: { _ = try gate.norm(p: 1, dims: [1], dtype: .float32) }),
    Case(
      name: "cosines 8192 × 2048", bytes: 2 * hiddenBytes,
      ours: { _ = try x.tokenCosines(y) },
      libtorch: { _ = try x.to(.float32).cosineSimilarity(y.to(.float32), dim: 2) }),
  ]
}
