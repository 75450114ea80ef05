import Torch

// Shapes: B rows, S tokens, N heads, K key-value heads, D head_dim.

/// Attention within chunks of so many positions: a token sees those of its own chunk up to itself (Llama 4).
struct AttentionChunks {
  /// Positions of a chunk.
  let size: Int

  /// A stretch of queries, chunk by chunk.
  func split(_ segment: AttentionSegment) -> [AttentionSegment] {
    let total = segment.prefixKeys + segment.keys
    let first = total - segment.queries
    var result: [AttentionSegment] = []
    var start = first
    while start < total {
      let low = start / size * size
      let end = min(low + size, total)
      // What lies before the chunk, of the shared keys and of its own.
      let shared = min(low, segment.prefixKeys)
      let own = max(low - segment.prefixKeys, 0)
      result.append(
        AttentionSegment(
          query: segment.query + start - first, queries: end - start, prefix: segment.prefix + shared,
          prefixKeys: segment.prefixKeys - shared, own: segment.own + own, keys: end - segment.prefixKeys - own))
      start = end
    }
    return result
  }

  /// Rows of one sequence each, chunk by chunk.
  ///
  /// - Parameters:
  ///   - query: `[B, S, N, D]`, of the last positions.
  ///   - key: `[B, S_kv, K, D]`.
  ///   - value: `[B, S_kv, K, D]`.
  ///   - attend: of one chunk.
  func attend(
    query: Tensor, key: Tensor, value: Tensor, _ attend: (Tensor, Tensor, Tensor) throws -> Tensor
  ) throws -> Tensor {
    let whole = AttentionSegment(query: 0, queries: query.shape[1], own: 0, keys: key.shape[1])
    let parts = try split(whole).map { part in
      try attend(
        query.narrow(dim: 1, start: part.query, length: part.queries),
        key.narrow(dim: 1, start: part.own, length: part.keys),
        value.narrow(dim: 1, start: part.own, length: part.keys))
    }
    return try parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 1)
  }
}
