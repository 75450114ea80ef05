import Torch

// Shapes: Q queries, T keys of one sequence, N heads, P channels of a head, V of its values, I heads of the indexer, D their channels.

/// Attention to the tokens that an indexer picks: each query's `picks` best, and of a sequence that has no more all of them
/// (`transformers` modeling_deepseek_v32.py).
struct PickedAttention {
  let picks: Int
  /// On scores before softmax.
  let scale: Double

  /// Queries, keys and values of rows, and the indexer's queries and keys.
  struct Inputs {
    /// `[B, Q, N, P]`, `[B, T, N, P]`, `[B, T, N, V]`.
    var query: Tensor, key: Tensor, value: Tensor
    var indexQueries: TokenIndexer.Queries
    /// `[B, T, D]`.
    var indexKey: Tensor
  }

  /// Bytes of a block's scores, about.
  private static let blockBytes = 32 << 20
  /// Queries that share one copy of the keys up to the last of them.
  private static let stretch = 1024

  /// - Parameter segments: which keys each stretch of queries sees, in rows that hold several sequences; nil for rows of one.
  /// - Returns: `[B, Q, N, V]`.
  func attend(_ inputs: Inputs, segments: [AttentionSegment]?) throws -> Tensor {
    let (queries, keys) = (inputs.query.shape[1], inputs.key.shape[1])
    let segments = segments ?? [AttentionSegment(query: 0, queries: queries, own: 0, keys: keys)]
    let rows = try (0..<inputs.query.shape[0]).map { row in
      var parts: [(place: Int, tensor: Tensor)] = []
      for segment in segments {
        parts.append((segment.query, try attend(sequence(of: inputs, row: row, segment))))
      }
      // Stretches follow one another.
      return try Tensor.cat(parts.sorted { $0.place < $1.place }.map(\.tensor), dim: 1)
    }
    return try Tensor.cat(rows, dim: 0)
  }

  private func sequence(of inputs: Inputs, row: Int, _ segment: AttentionSegment) throws -> Inputs {
    func queries(_ x: Tensor) throws -> Tensor {
      try x.narrow(dim: 0, start: row, length: 1).narrow(dim: 1, start: segment.query, length: segment.queries)
    }
    func keys(_ x: Tensor) throws -> Tensor {
      let own = try x.narrow(dim: 0, start: row, length: 1)
      let last = try own.narrow(dim: 1, start: segment.own, length: segment.keys)
      guard segment.prefixKeys > 0 else { return last }
      return try Tensor.cat([own.narrow(dim: 1, start: segment.prefix, length: segment.prefixKeys), last], dim: 1)
    }
    return Inputs(
      query: try queries(inputs.query), key: try keys(inputs.key), value: try keys(inputs.value),
      indexQueries: .init(
        heads: try queries(inputs.indexQueries.heads), shares: try queries(inputs.indexQueries.shares)),
      indexKey: try keys(inputs.indexKey))
  }

  /// One sequence, whose queries are its last tokens: `[1, Q, N, V]`.
  private func attend(_ inputs: Inputs) throws -> Tensor {
    let (queries, keys) = (inputs.query.shape[1], inputs.key.shape[1])
    let before = keys - queries
    var parts: [Tensor] = []
    // Queries with at most `picks` tokens up to them see all of these.
    let early = min(max(picks - before, 0), queries)
    if early > 0 {
      func first(_ x: Tensor, _ count: Int) throws -> Tensor { try x.narrow(dim: 1, start: 0, length: count) }
      parts.append(
        try .fusedAttention(
          query: first(inputs.query, early), key: first(inputs.key, before + early),
          value: first(inputs.value, before + early), scale: scale))
    }
    let step = max(Self.blockBytes / (4 * inputs.query.shape[2] * keys), 1)
    for start in stride(from: early, to: queries, by: Self.stretch) {
      let end = min(start + Self.stretch, queries)
      func seen(_ x: Tensor) throws -> Tensor { try x.narrow(dim: 1, start: 0, length: before + end) }
      let (key, value) = (try headed(seen(inputs.key)), try headed(seen(inputs.value)))
      let indexKey = try seen(inputs.indexKey).reshape([before + end, -1]).to(.float32).transpose(0, 1)
      for first in stride(from: start, to: end, by: step) {
        func some(_ x: Tensor) throws -> Tensor { try x.narrow(dim: 1, start: first, length: min(step, end - first)) }
        let bias = try closed(
          heads: some(inputs.indexQueries.heads), shares: some(inputs.indexQueries.shares), indexKey: indexKey,
          before: before + first
        )
        // `[N, Q, P]` × `[N, P, T]`.
        let scores = try headed(some(inputs.query)).matmul(key.transpose(1, 2)).multiplied(by: scale)
        let weights = try scores.to(.float32).adding(bias).softmax(dim: 2).to(value.dtype)
        parts.append(try weights.matmul(value).transpose(0, 1).unsqueeze(0))
      }
    }
    return try Tensor.cat(parts, dim: 1)
  }

  /// `[1, S, N, C]` → `[N, S, C]`, as products take it.
  private func headed(_ x: Tensor) throws -> Tensor {
    try x.reshape(Array(x.shape.dropFirst())).transpose(0, 1).contiguous()
  }

  /// 0 for tokens that are picked and −∞ for others, `[Q, T]` float32.
  ///
  /// - Parameters:
  ///   - heads: the indexer's queries, `[1, Q, I, D]`.
  ///   - shares: of its heads, `[1, Q, I]`, without the scale of scores.
  ///   - indexKey: `[D, T]` float32.
  ///   - before: tokens before the first query.
  private func closed(heads: Tensor, shares: Tensor, indexKey: Tensor, before: Int) throws -> Tensor {
    let (count, all) = (heads.shape[1], indexKey.shape[1])
    let (indexHeads, width) = (heads.shape[2], heads.shape[3])
    let found = try heads.to(.float32).reshape([count * indexHeads, width])
      .matmul(indexKey).relu().reshape([count, indexHeads, all])
    let none = try Tensor.full([count, all], -.infinity, dtype: .float32, device: heads.device)
    let scale = 1 / Double(indexHeads * width).squareRoot()
    let scaled = try shares.to(.float32).multiplied(by: scale).reshape([count, 1, indexHeads])
    let scores = try scaled.matmul(found).reshape([count, all]).adding(none.triu(diagonal: before + 1))
    // Among equal scores the earlier token is picked, whatever else is in the row.
    let indices = try scores.sort(dim: 1, descending: true).indices.narrow(dim: 1, start: 0, length: picks)
    return try none.scatter(
      dim: 1, index: indices, source: Tensor.zeros(indices.shape, dtype: .float32, device: heads.device))
  }
}
