import Torch

/// Rotary positions and causal attention in bfloat16, heads where projections put them.
func headCases() throws -> [Case] {
  try headCases(rows: 1, tokens: 1024, heads: 16, groups: 8, width: 128)
    + headCases(rows: 8, tokens: 1024, heads: 16, groups: 8, width: 128)
    + headCases(rows: 1, tokens: 512, heads: 12, groups: 4, width: 64)
    + headCases(rows: 8, tokens: 512, heads: 12, groups: 4, width: 64)
}

private func headCases(rows: Int, tokens: Int, heads: Int, groups: Int, width: Int) throws -> [Case] {
  func random(_ heads: Int) throws -> Tensor {
    try Tensor.randn([rows, tokens, heads, width]).to(.bfloat16)
  }
  let q = try random(heads)
  let k = try random(groups)
  let v = try random(groups)
  let out = try random(heads)
  let angles = try Tensor.randn([tokens, width])
  let cosine = try angles.cos().to(.bfloat16)
  let sine = try angles.sin().to(.bfloat16)
  let weight = try Tensor.randn([width]).to(.bfloat16)
  let place = "\(rows) × \(tokens), \(heads) on \(groups) × \(width)"
  let bytes = Double(rows * tokens * heads * width * 2)

  func rotate(_ x: Tensor) throws -> Tensor {
    let turned = try Tensor.cat(
      [
        x.narrow(dim: 3, start: width / 2, length: width / 2).negated(),
        x.narrow(dim: 3, start: 0, length: width / 2),
      ], dim: 3)
    return try x.multiplied(by: cosine).adding(turned.multiplied(by: sine))
  }
  let attend = {
    let heads = try Tensor.scaledDotProductAttention(
      query: q.transpose(1, 2), key: k.transpose(1, 2), value: v.transpose(1, 2), isCausal: true, enableGQA: true)
    _ = try heads.transpose(1, 2).reshape([rows, tokens, -1])
  }
  // As transformers computes it for gpt-oss: scores, the sinks beside them, softmax.
  let sinks = try Tensor.randn([heads]).to(.bfloat16)
  let hidden = try Tensor((0..<tokens * tokens).map { $0 % tokens > $0 / tokens }, shape: [tokens, tokens])
  let attendWithSinks = {
    func spread(_ x: Tensor) throws -> Tensor { try x.transpose(1, 2).repeatInterleave(heads / groups, dim: 1) }
    let scores = try q.transpose(1, 2).matmul(spread(k).transpose(2, 3))
      .multiplied(by: 1 / Double(width).squareRoot()).maskedFill(hidden, -.infinity)
    let column = try sinks.reshape([1, heads, 1, 1]).expand([rows, heads, tokens, 1])
    let weights = try Tensor.cat([scores, column], dim: 3).softmax(dim: 3).narrow(dim: 3, start: 0, length: tokens)
    _ = try weights.matmul(spread(v)).transpose(1, 2).contiguous()
  }
  let last = try q.narrow(dim: 1, start: tokens - 1, length: 1)
  return [
    Case(
      name: "one query \(place)", bytes: 2 * bytes * Double(groups) / Double(heads),
      ours: { _ = try Tensor.fusedAttention(query: last, key: k, value: v) },
      libtorch: {
        _ = try Tensor.scaledDotProductAttention(
          query: last.transpose(1, 2), key: k.transpose(1, 2), value: v.transpose(1, 2), enableGQA: true)
      }),
    Case(
      name: "rotary \(place)", bytes: 2 * bytes,
      ours: { _ = try q.rotated(cosine: cosine, sine: sine, into: out) },
      libtorch: { _ = try rotate(q.transpose(1, 2)) }),
    Case(
      name: "norm + rotary \(place)", bytes: 2 * bytes,
      ours: { _ = try q.rotated(cosine: cosine, sine: sine, norm: (weight, 1e-6), into: out) },
      libtorch: { _ = try rotate(q.rmsNorm(weight: weight, eps: 1e-6).transpose(1, 2)) }),
    Case(
      name: "attention \(place)",
      operations: 2 * Double(rows * heads * width) * Double(tokens) * Double(tokens),
      ours: { _ = try Tensor.fusedAttention(query: q, key: k, value: v, into: out) },
      libtorch: attend),
    Case(
      name: "attention, sinks \(place)",
      operations: 2 * Double(rows * heads * width) * Double(tokens) * Double(tokens),
      ours: { _ = try Tensor.fusedAttention(query: q, key: k, value: v, sinks: sinks, into: out) },
      libtorch: attendWithSinks),
  ]
}
