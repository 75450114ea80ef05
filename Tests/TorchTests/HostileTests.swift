import Testing
import Torch

/// Numbers that no tensor fits, in every place that takes one. What is checked is that each call comes back, with
/// an error or with a tensor that can be read.
@Suite struct HostileArguments {
  static let numbers = [Int.min, Int.min + 1, -(1 << 40), -3, -2, -1, 0, 1, 2, 1 << 48, 1 << 62, Int.max - 1, Int.max]

  static func inputs() throws -> [Tensor] {
    [
      try floats([1, 2, 3, 4, 5, 6], [2, 3]), try floats([]), try Tensor.full([], 2, dtype: .float32),
      try ints([0, 1, 1]), try Tensor([true, false], shape: [2]), try Tensor.ones([0, 3], dtype: .bfloat16),
      try Tensor.ones([2, 1, 3], dtype: .float16).transpose(0, 2), try ints([.max, .min]),
      try floats([.nan, .infinity]),
    ]
  }

  /// Runs a call; counts what it did.
  struct Tally {
    var results = 0
    var errors = 0

    mutating func run(_ body: () throws -> [Tensor]) throws {
      do {
        for tensor in try body() where tensor.elementCount < 1000 {
          #expect(try tensor.floats().count == tensor.shape.reduce(1, *))
        }
        results += 1
      } catch is TorchError {
        errors += 1
      }
    }
  }

  @Test func oneNumber() throws {
    var tally = Tally()
    for a in try Self.inputs() {
      for n in Self.numbers {
        let calls: [() throws -> [Tensor]] = [
          { [try a.unsqueeze(n)] }, { [try a.squeeze(n)] }, { try a.chunk(n, dim: 0) }, { try a.split([n], dim: 0) },
          { [try a.repeatInterleave(n, dim: 0)] }, { [try a.repeatInterleave(2, dim: n)] }, { [try a.flip([n])] },
          { [try a.tril(diagonal: n)] }, { [try a.triu(diagonal: n)] }, { [try a.softmax(dim: n)] },
          { [try a.logSoftmax(dim: n)] }, { [try a.argmax(dim: n)] }, { [try a.cumsum(dim: n)] },
          { [try a.sort(dim: n).values] }, { [try a.sum(dims: [n])] }, { [try a.amax(dims: [n, n])] },
          { [try a.norm(p: Double(n), dims: [0])] }, { [try a.norm(p: 2, dims: [n])] },
          { [try a.logSumExp(dims: [n])] },
          { [try a.mean(dims: [n], dtype: .float32)] }, { [try a.multinomial(n)] },
          { [try a.bincount(minimumLength: n)] }, { [try Tensor.cat([a, a], dim: n)] },
          { [try Tensor.stack([a, a], dim: n)] }, { [try Tensor.full([n], 1, dtype: .uint8)] },
          { [try Tensor.arange(n)] }, { [try a.reshape([n])] }, { [try a.reshape([n, -1])] }, { [try a.view([n, n])] },
          { [try a.expand([n] + a.shape)] }, { [try a.permute([n])] }, { [try a.flatten(from: n)] },
          { [try a.flatten(to: n)] }, { [try a.floorDivided(by: Double(n))] }, { [try a.remainder(Double(n))] },
          { [try a.pow(Double(n))] }, { [try a.adding(Double(n))] },
          { [try Tensor.full([1], Double(n), dtype: .int32)] },
          { [try a.cosineSimilarity(a, dim: n)] }, { [try a.clamp(min: Double(n), max: Double(n))] },
          { [try Tensor.zeros([1], dtype: .float32, device: .cuda(n))] },
        ]
        for call in calls { try tally.run(call) }
      }
    }
    #expect(tally.results > 500)
    #expect(tally.errors > 500)
  }

  @Test func twoNumbers() throws {
    var tally = Tally()
    for a in try Self.inputs() {
      for n in Self.numbers {
        for m in Self.numbers {
          let calls: [() throws -> [Tensor]] = [
            { [try a.transpose(n, m)] }, { [try a.select(dim: n, index: m)] },
            { [try a.narrow(dim: 0, start: n, length: m)] }, { try a.split([n, m], dim: 0) },
            { [try a.topK(n, dim: m).values] }, { [try a.reshape([n, m])] }, { [try a.expand([n, m, 3])] },
            { [try a.flatten(from: n, to: m)] }, { try a.chunk(n, dim: m) },
            {
              _ = try Tensor.empty([n, m], dtype: .bool); return []
            },
            { [try a.unsqueeze(0).conv1d(weight: a.unsqueeze(0), bias: nil, stride: n, padding: m)] },
            { [try a.unsqueeze(0).conv1d(weight: a.unsqueeze(0), bias: nil, groups: m)] },
          ]
          for call in calls { try tally.run(call) }
        }
      }
    }
    #expect(tally.results > 500)
    #expect(tally.errors > 500)
  }

  /// Every pair of tensors, whatever their shapes and types, through whatever takes two or three.
  @Test func tensorsThatDoNotFitEachOther() throws {
    var tally = Tally()
    let inputs = try Self.inputs()
    for a in inputs {
      for b in inputs {
        let calls: [() throws -> [Tensor]] = [
          { [try a.adding(b)] }, { [try a.divided(by: b)] }, { [try a.pow(b)] }, { [try a.maximum(b)] },
          { [try a.matmul(b)] }, { [try a.linear(weight: b, bias: a)] },
          { [try Tensor.embedding(weight: a, indices: b)] },
          { [try a.rmsNorm(weight: b, eps: 0)] }, { [try a.layerNorm(weight: b, bias: b, eps: 0)] },
          { [try a.cosineSimilarity(b, dim: 0)] }, { [try a.crossEntropy(targets: b)] },
          { [try a.indexSelect(dim: 0, b)] }, { [try a.gather(dim: 0, index: b)] },
          { [try a.scatter(dim: 0, index: b, source: a)] }, { [try a.scatterAdd(dim: -1, index: b, source: a)] },
          { [try a.maskedFill(b, 1)] }, { [try Tensor.where(b, a, a)] }, { [try Tensor.where(a, b, a)] },
          { [try Tensor.cat([a, b], dim: 0)] }, { [try Tensor.stack([a, b], dim: 0)] },
          {
            let c = try a.clone(); try c.add(b); return [c]
          },
          {
            let c = try a.clone(); try c.copy(from: b); return [c]
          },
          {
            let c = try a.clone(); try c.addProduct(b, a); return [c]
          },
          {
            let c = try a.clone(); try c.indexAdd(dim: 0, index: b, source: a); return [c]
          },
          {
            let c = try a.clone(); try c.indexCopy(dim: 0, index: b, source: a); return [c]
          },
          { [try Tensor.scaledDotProductAttention(query: a, key: b, value: a)] },
          {
            _ = try a.equals(b); return []
          },
          {
            _ = try a.all(); return []
          },
        ]
        for call in calls { try tally.run(call) }
      }
    }
    #expect(tally.results > 100)
    #expect(tally.errors > 100)
  }

  /// Attention, convolution and normalisation take the largest share of libtorch's hand-written checks.
  @Test func smallShapesAtRandom() throws {
    var tally = Tally()
    var state: UInt64 = 42
    func draw(_ count: UInt64) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % count)
    }
    func tensor(_ dims: Int) throws -> Tensor {
      let shape = (0..<dims).map { _ in [0, 1, 1, 2, 2, 4][draw(6)] }
      return try Tensor.ones(shape, dtype: [.float32, .float32, .float32, .bfloat16, .bool, .int64][draw(6)])
    }
    for _ in 0..<3000 {
      let (q, k, v) = (try tensor(4), try tensor(4), try tensor(4))
      let mask = draw(3) == 0 ? nil : try tensor(draw(6))
      let (causal, grouped) = (draw(2) == 0, draw(2) == 0)
      // Mostly the query's own shape, so that the call gets past the first check.
      let (key, value) = draw(3) == 0 ? (k, v) : (q, q)
      try tally.run {
        [
          try Tensor.scaledDotProductAttention(
            query: q, key: key, value: value, mask: mask, isCausal: causal, enableGQA: grouped)
        ]
      }
      let (x, weight, bias) = (try tensor(3), try tensor(3), try tensor(1))
      let (stride, padding, groups) = (draw(4), draw(4) - 1, draw(5))
      try tally.run { [try x.conv1d(weight: weight, bias: bias, stride: stride, padding: padding, groups: groups)] }
      try tally.run { [try q.layerNorm(weight: bias, bias: nil, eps: 1e-5)] }
      try tally.run { [try q.rmsNorm(weight: bias, eps: 1e-5)] }
      try tally.run { [try q.matmul(k)] }
      try tally.run { [try x.linear(weight: try tensor(2), bias: bias)] }
    }
    #expect(tally.results > 1000)
    #expect(tally.errors > 1000)
  }
}
