import Testing
import Torch

extension KernelTests {
  /// Attention over packed rows against the same sequences one by one.
  @Suite struct Segments {
    /// Three sequences of 9, 40 and 1 tokens that share 5 in front, one alone, and one of two tokens that asks for its
    /// last only.
    static let segments = [
      AttentionSegment(query: 0, queries: 5, own: 3, keys: 5),
      AttentionSegment(query: 5, queries: 9, prefix: 3, prefixKeys: 5, own: 8, keys: 9),
      AttentionSegment(query: 14, queries: 40, prefix: 3, prefixKeys: 5, own: 17, keys: 40),
      AttentionSegment(query: 54, queries: 1, prefix: 3, prefixKeys: 5, own: 57, keys: 1),
      AttentionSegment(query: 55, queries: 130, own: 58, keys: 130),
      AttentionSegment(query: 185, queries: 1, prefix: 0, prefixKeys: 3, own: 188, keys: 2),
    ]

    @Test(arguments: [DType.float32, .bfloat16], [(window: nil, softcap: nil), (window: 7, softcap: 3.0)])
    func equalSequencesOneByOne(_ dtype: DType, _ options: (window: Int?, softcap: Double?)) throws {
      let (window, softcap) = options
      let q = try sample([1, 186, 6, 48], dtype)
      let k = try sample([1, 190, 2, 48], dtype, seed: 2)
      let v = try sample([1, 190, 2, 32], dtype, seed: 3)
      let sinks = try softcap == nil ? nil : sample([6], .float32, seed: 4)
      try withEachKernel { name in
        let found = try Tensor.fusedAttention(
          query: q, key: k, value: v, sinks: sinks, segments: Self.segments, window: window, softcap: softcap)
        for segment in Self.segments {
          func keys(_ x: Tensor) throws -> Tensor {
            try .cat(
              [
                x.narrow(dim: 1, start: segment.prefix, length: segment.prefixKeys),
                x.narrow(dim: 1, start: segment.own, length: segment.keys),
              ], dim: 1)
          }
          let alone = try Tensor.fusedAttention(
            query: q.narrow(dim: 1, start: segment.query, length: segment.queries), key: keys(k), value: keys(v),
            sinks: sinks, window: window, softcap: softcap)
          let part = try found.narrow(dim: 1, start: segment.query, length: segment.queries)
          try expectClose(part, alone, ulps: 2, absolute: 1e-5, "\(name) \(segment)")
        }
      }
    }

    @Test func thatDoNotFitAreRefused() throws {
      let x = try sample([1, 10, 2, 16], .bfloat16)
      let wrong: [[AttentionSegment]] = [
        [AttentionSegment(query: 0, queries: 9, own: 0, keys: 9)],
        [AttentionSegment(query: 1, queries: 9, own: 0, keys: 9)],
        [AttentionSegment(query: 0, queries: 10, own: 1, keys: 10)],
        [AttentionSegment(query: 0, queries: 10, own: 0, keys: 9)],
        [AttentionSegment(query: 0, queries: 10, prefix: 9, prefixKeys: 2, own: 0, keys: 10)],
        [AttentionSegment(query: 0, queries: 10, prefix: -1, prefixKeys: 1, own: 0, keys: 10)],
        [AttentionSegment(query: 0, queries: .max, own: 0, keys: .max)],
        [AttentionSegment(query: 0, queries: 10, prefix: .max, prefixKeys: .max, own: 0, keys: 10)],
      ]
      for segments in wrong {
        expectError("segment") { try Tensor.fusedAttention(query: x, key: x, value: x, segments: segments) }
      }
      let two = try sample([2, 10, 2, 16], .bfloat16)
      expectError("one row") {
        try Tensor.fusedAttention(
          query: two, key: two, value: two, segments: [AttentionSegment(query: 0, queries: 10, own: 0, keys: 10)])
      }
    }
  }
}
