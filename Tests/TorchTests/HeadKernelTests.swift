import Testing
import Torch

extension KernelTests {
  /// Rotary positions and attention against libtorch's operators, with every instruction set.
  @Suite struct HeadKernels {
    struct Size: CustomTestStringConvertible {
      var rows = 1, queries = 1, keys = 1, heads = 1, groups = 1, width = 32, valueWidth = 32
      var window: Int?
      var softcap: Double?
      var causal = true
      var sinks = false
      var testDescription: String {
        "\(rows)×\(queries)/\(keys) \(heads)/\(groups) \(width)/\(valueWidth) \(window ?? 0)\(sinks ? " sinks" : "")"
      }
    }

    static let sizes = [
      Size(),
      Size(rows: 2, queries: 7, keys: 7, heads: 4, groups: 2, width: 64, valueWidth: 64),
      Size(queries: 33, keys: 33, heads: 3, groups: 1, width: 80, valueWidth: 80),
      Size(queries: 130, keys: 130, heads: 4, groups: 4, width: 128, valueWidth: 128),
      Size(rows: 2, queries: 200, keys: 200, heads: 6, groups: 2, width: 32, valueWidth: 32, window: 9),
      Size(queries: 301, keys: 301, heads: 2, groups: 1, width: 64, valueWidth: 64, window: 128),
      Size(queries: 1, keys: 97, heads: 8, groups: 2, width: 64, valueWidth: 64),
      Size(queries: 5, keys: 195, heads: 4, groups: 1, width: 40, valueWidth: 72, window: 100),
      Size(queries: 40, keys: 40, heads: 2, groups: 2, width: 17, valueWidth: 13),
      Size(queries: 50, keys: 50, heads: 2, groups: 1, width: 64, valueWidth: 64, softcap: 2),
      Size(queries: 21, keys: 130, heads: 2, groups: 1, width: 32, valueWidth: 32, causal: false),
      Size(rows: 2, queries: 70, keys: 70, heads: 6, groups: 2, width: 64, valueWidth: 64, sinks: true),
      Size(queries: 150, keys: 150, heads: 3, groups: 3, width: 48, valueWidth: 32, window: 20, sinks: true),
      Size(queries: 1, keys: 33, heads: 4, groups: 1, width: 32, valueWidth: 32, softcap: 3, sinks: true),
      Size(queries: 9, keys: 20, heads: 2, groups: 1, width: 40, valueWidth: 40, causal: false, sinks: true),
    ]

    /// One far above all scores, one far below, the others among them.
    func sinks(_ size: Size) throws -> Tensor? {
      guard size.sinks else { return nil }
      return try Tensor((0..<size.heads).map { [200, -200, 0.5, 2, -1, 4][$0] as Float }, shape: [size.heads])
    }

    func inputs(_ size: Size, _ dtype: DType) throws -> (q: Tensor, k: Tensor, v: Tensor) {
      (
        try sample([size.rows, size.queries, size.heads, size.width], dtype),
        try sample([size.rows, size.keys, size.groups, size.width], dtype, seed: 2),
        try sample([size.rows, size.keys, size.groups, size.valueWidth], dtype, seed: 3)
      )
    }

    /// Results `[B, S, N, D]` in float64, operator by operator.
    func reference(_ size: Size, _ q: Tensor, _ k: Tensor, _ v: Tensor, sinks: Tensor?) throws -> Tensor {
      func heads(_ x: Tensor) throws -> Tensor {
        try x.to(.float64).transpose(1, 2).repeatInterleave(size.heads / x.shape[2], dim: 1)
      }
      var scores = try heads(q).matmul(heads(k).transpose(2, 3)).multiplied(by: 1 / Double(size.width).squareRoot())
      if let cap = size.softcap { scores = try scores.multiplied(by: 1 / cap).tanh().multiplied(by: cap) }
      var hidden: [Bool] = []
      for query in 0..<size.queries {
        let at = query + size.keys - size.queries
        for key in 0..<size.keys {
          hidden.append((size.causal && key > at) || size.window.map { key <= at - $0 } ?? false)
        }
      }
      scores = try scores.maskedFill(Tensor(hidden, shape: [size.queries, size.keys]), -.infinity)
      if let sinks {
        let column = try sinks.to(.float64).reshape([1, size.heads, 1, 1]).expand([
          size.rows, size.heads, size.queries, 1,
        ])
        scores = try .cat([scores, column], dim: 3)
      }
      return try scores.softmax(dim: 3).narrow(dim: 3, start: 0, length: size.keys).matmul(heads(v)).transpose(1, 2)
    }

    @Test(arguments: sizes, [DType.float32, .bfloat16]) func attention(_ size: Size, _ dtype: DType) throws {
      let (q, k, v) = try inputs(size, dtype)
      let expected = try reference(size, q, k, v, sinks: sinks(size))
      let tolerance: Float = dtype == .bfloat16 ? 0.02 : 2e-5
      try withEachKernel { name in
        func attend(_ q: Tensor, _ k: Tensor, _ v: Tensor, into: Tensor? = nil) throws -> Tensor {
          try Tensor.fusedAttention(
            query: q, key: k, value: v, sinks: sinks(size), isCausal: size.causal, window: size.window,
            softcap: size.softcap, into: into)
        }
        let found = try attend(q, k, v)
        #expect(found.dtype == dtype)
        try expectClose(found.to(.float32), expected.to(.float32), ulps: 0, absolute: tolerance, name)

        // Views of tensors in other layouts, and a result inside a larger one.
        func elsewhere(_ x: Tensor) throws -> Tensor { try x.transpose(1, 2).contiguous().transpose(1, 2) }
        let wide = try Tensor.zeros([size.rows, size.queries, size.heads, size.valueWidth + 3], dtype: dtype)
        let place = try wide.narrow(dim: 3, start: 2, length: size.valueWidth)
        _ = try attend(elsewhere(q), elsewhere(k), v.transpose(1, 3).contiguous().transpose(1, 3), into: place)
        try expectClose(place, attend(q, k, v), ulps: name == "off" ? 2 : 0, absolute: name == "off" ? 0.01 : 0, name)
        #expect(try wide.narrow(dim: 3, start: 0, length: 2).abs().amax().item() == 0)
        #expect(try wide.narrow(dim: 3, start: size.valueWidth + 2, length: 1).abs().amax().item() == 0)
      }
    }

    @Test func attentionDoesNotDependOnThreadsNorOnRowsBeside() throws {
      let size = Size(queries: 700, keys: 700, heads: 4, groups: 2, width: 64, valueWidth: 64)
      let (q, k, v) = try inputs(size, .bfloat16)
      let threads = try LibTorch.threads
      defer { try? LibTorch.setThreads(threads) }
      for window in [nil, 250] {
        var results: [Tensor] = []
        for count in [1, 3] {
          try LibTorch.setThreads(count)
          results.append(try Tensor.fusedAttention(query: q, key: k, value: v, window: window))
        }
        #expect(try results[0].equals(results[1]))
        // The last 100 queries alone, over all keys.
        let tail = try Tensor.fusedAttention(
          query: q.narrow(dim: 1, start: 600, length: 100), key: k, value: v, window: window)
        #expect(try tail.equals(results[0].narrow(dim: 1, start: 600, length: 100)))
      }
    }

    @Test func largeScoresDoNotOverflowAndNaNShows() throws {
      for dtype in [DType.float32, .bfloat16] {
        let q = try Tensor.full([1, 40, 1, 32], 60, dtype: dtype)
        let v = try sample([1, 40, 1, 32], dtype)
        try withEachKernel { name in
          let found = try Tensor.fusedAttention(query: q, key: q, value: v)
          #expect(try found.allFinite(), "\(name)")
          // Equal scores: the result is the mean of what is seen.
          let mean = try v.to(.float32).mean(dims: [1]).select(dim: 1, index: 0)
          try expectClose(
            found.select(dim: 1, index: 39).select(dim: 1, index: 0).to(.float32), mean, ulps: 0, absolute: 0.01, name)
          let k = try q.clone()
          try k.narrow(dim: 1, start: 10, length: 1).fill(.nan)
          let damaged = try Tensor.fusedAttention(query: q, key: k, value: v)
          #expect(try damaged.narrow(dim: 1, start: 0, length: 10).allFinite() || name == "off", "\(name)")
          #expect(try damaged.select(dim: 1, index: 10).floats().allSatisfy(\.isNaN), "\(name)")
          #expect(try damaged.select(dim: 1, index: 39).floats().allSatisfy(\.isNaN), "\(name)")
        }
      }
    }

    @Test(
      arguments: [[1, 1, 1, 32], [2, 7, 3, 64], [1, 33, 2, 80], [2, 5, 4, 128], [1, 3, 2, 18]],
      [DType.float32, .bfloat16])
    func rotary(_ shape: [Int], _ dtype: DType) throws {
      let x = try sample(shape, dtype)
      let weight = try sample([shape[3]], dtype, seed: 4)
      for width in [shape[3], shape[3] / 4 * 2] {
        let angles = try sample([shape[1], width / 2], .float32, seed: 5, scale: 3)
        let (cosine, sine) = (try angles.cos().to(dtype), try angles.sin().to(dtype))
        let (cosines, sines) = (try Tensor.cat([cosine, cosine], dim: 1), try Tensor.cat([sine, sine], dim: 1))
        func reference(_ x: Tensor) throws -> Tensor {
          let turning = try x.narrow(dim: 3, start: 0, length: width)
          let turned = try Tensor.cat(
            [
              turning.narrow(dim: 3, start: width / 2, length: width / 2).negated(),
              turning.narrow(dim: 3, start: 0, length: width / 2),
            ], dim: 3)
          let rotated = try turning.multiplied(by: cosines.unsqueeze(1))
            .adding(turned.multiplied(by: sines.unsqueeze(1)))
          return try Tensor.cat([rotated, x.narrow(dim: 3, start: width, length: shape[3] - width)], dim: 3)
        }
        let expected = try reference(x)
        let normed = try reference(x.rmsNorm(weight: weight, eps: 1e-6))
        try withEachKernel { name in
          #expect(try x.rotated(cosine: cosines, sine: sines, width: width).equals(expected), "\(name)")
          #expect(try x.rotated(cosine: cosine, sine: sine, width: width).equals(expected), "\(name)")
          let place = try x.transpose(1, 2).clone().transpose(1, 2)
          _ = try place.rotated(cosine: cosines, sine: sines, width: width, into: place)
          #expect(try place.equals(expected), "\(name)")
          try expectClose(
            x.rotated(cosine: cosine, sine: sine, width: width, norm: (weight, 1e-6)), normed, ulps: 2,
            absolute: dtype == .bfloat16 ? 0.03 : 1e-5, name)
        }
      }
    }

    @Test func mistakesAreErrors() throws {
      let x = try sample([1, 4, 2, 16], .float32)
      let table = try sample([4, 16], .float32)
      try withEachKernel { _ in
        func attend(_ q: Tensor, _ k: Tensor, window: Int? = nil, causal: Bool = true, scale: Double? = nil) throws
          -> Tensor
        {
          try .fusedAttention(query: q, key: k, value: k, isCausal: causal, window: window, scale: scale)
        }
        expectError("do not fit") { try attend(x, sample([1, 4, 3, 16], .float32)) }
        expectError("do not fit") { try attend(x, sample([2, 4, 2, 16], .float32)) }
        expectError("do not fit") { try attend(x, x.to(.bfloat16)) }
        expectError("4 dimensions") { try attend(x, table) }
        expectError("3 keys for 4 queries") { try attend(x, sample([1, 3, 2, 16], .float32)) }
        expectError("0 keys") { try attend(x, Tensor.zeros([1, 0, 2, 16], dtype: .float32), causal: false) }
        expectError("negative") { try attend(x, x, window: -1) }
        expectError("positive") { try attend(x, x, scale: 0) }
        expectError("positive") { try attend(x, x, scale: .nan) }
        expectError("causal") { try attend(x, x, window: 3, causal: false) }
        expectError("there are 2 heads") {
          try Tensor.fusedAttention(query: x, key: x, value: x, sinks: Tensor.zeros([3], dtype: .float32))
        }
        expectError("overlap") { try Tensor.fusedAttention(query: x, key: x, value: x, into: x) }
        expectError("result has shape [1, 4, 2, 16]") {
          try Tensor.fusedAttention(query: x, key: x, value: x, into: table)
        }
        let none = try attend(Tensor.zeros([1, 0, 2, 16], dtype: .float32), x)
        #expect(none.shape == [1, 0, 2, 16])
        expectError("[B, S, N, D]") { try table.rotated(cosine: table, sine: table) }
        expectError("must have shape") { try x.rotated(cosine: table, sine: sample([4, 8], .float32)) }
        expectError("must have shape") { try x.rotated(cosine: table, sine: table, width: 10) }
        expectError("in pairs") { try x.rotated(cosine: table, sine: table, width: 18) }
        expectError("in pairs") { try x.rotated(cosine: table, sine: table, width: 7) }
      }
    }
  }
}
