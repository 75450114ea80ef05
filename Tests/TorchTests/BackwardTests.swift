import Testing
import Torch

extension KernelTests {
  /// Gradients against differences: how much a loss Σ c · f(x) changes when x moves a little along v.
  @Suite struct Backward {
    private func inner(_ a: Tensor, _ b: Tensor) throws -> Double {
      try a.to(.float64).multiplied(by: b.to(.float64)).sum().item()
    }

    /// The loss's slope along `v` by differences of float32 results.
    private func slope(at x: Tensor, along v: Tensor, _ loss: (Tensor) throws -> Double) throws -> Double {
      let step = 1.0 / 64
      let ahead = try loss(x.adding(v.multiplied(by: step)))
      return (ahead - (try loss(x.subtracting(v.multiplied(by: step))))) / (2 * step)
    }

    private func expectSlope(
      _ found: Double, _ expected: Double, _ comment: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
      // Thousands of terms that cancel: what is small beside them is no measure.
      let scale = max(abs(expected), 4)
      #expect(
        abs(found - expected) <= 0.01 * scale, "\(comment): \(found), \(expected)", sourceLocation: sourceLocation)
    }

    static let shapes = [[1, 1, 32], [2, 7, 80], [2, 70, 33], [1, 5, 640]]

    @Test(arguments: shapes, [nil, 0.0, 1.0]) func ofNorms(_ shape: [Int], _ offset: Double?) throws {
      let (x, c, v) = (
        try sample(shape, .float32), try sample(shape, .float32, seed: 2), try sample(shape, .float32, seed: 3)
      )
      let weight = try sample([shape[2]], .float32, seed: 4)
      let w = try sample([shape[2]], .float32, seed: 5)
      try withEachKernel { name in
        let rstd = try Tensor.zeros([shape[0], shape[1]], dtype: .float32)
        _ = try x.fusedRMSNorm(weight: weight, eps: 1e-5, offset: offset, rstd: rstd)
        let found = try c.fusedRMSNormBackward(input: x, weight: weight, rstd: rstd, offset: offset ?? 0)
        let expected = try slope(at: x, along: v) {
          try inner(c, $0.fusedRMSNorm(weight: weight, eps: 1e-5, offset: offset))
        }
        expectSlope(try inner(found.input, v), expected, name)
        let byWeight = try slope(at: weight, along: w) {
          try inner(c, x.fusedRMSNorm(weight: $0, eps: 1e-5, offset: offset))
        }
        expectSlope(try inner(#require(found.weight), w), byWeight, "\(name), weight")
        let plain = try c.fusedRMSNormBackward(input: x, weight: nil, rstd: rstd)
        #expect(plain.weight == nil)
        let byPlain = try slope(at: x, along: v) { try inner(c, $0.fusedRMSNorm(weight: nil, eps: 1e-5)) }
        expectSlope(try inner(plain.input, v), byPlain, "\(name), no weight")
        // In bfloat16 the same within its roundings.
        let narrow = try c.to(.bfloat16).fusedRMSNormBackward(
          input: x.to(.bfloat16), weight: weight.to(.bfloat16), rstd: rstd, offset: offset ?? 0)
        let wide = try c.to(.bfloat16).to(.float32).fusedRMSNormBackward(
          input: x.to(.bfloat16).to(.float32), weight: weight.to(.bfloat16).to(.float32), rstd: rstd,
          offset: offset ?? 0)
        try expectClose(narrow.input, wide.input.to(.bfloat16), ulps: 1, absolute: 1e-4, name)
        try expectClose(#require(narrow.weight), #require(wide.weight), ulps: 64, absolute: 1e-4, name)
      }
    }

    @Test(arguments: GateActivation.allCases) func ofGates(_ activation: GateActivation) throws {
      let shape = [2, 9, 75]
      // Away from zero, where some of them have a kink that differences would step over.
      let gate = try Tensor(sample(shape, .float32).floats().map { $0 + ($0 < 0 ? -0.5 : 0.5) }, shape: shape)
      let (up, c) = (try sample(shape, .float32, seed: 2), try sample(shape, .float32, seed: 3))
      let v = try sample(shape, .float32, seed: 4)
      try withEachKernel { name in
        let found = try c.gatedBackward(activation, gate: gate, up: up)
        expectSlope(
          try inner(found.gate, v), try slope(at: gate, along: v) { try inner(c, $0.gated(activation, up: up)) }, name)
        expectSlope(
          try inner(#require(found.up), v),
          try slope(at: up, along: v) { try inner(c, gate.gated(activation, up: $0)) },
          "\(name), up")
        let alone = try c.gatedBackward(activation, gate: gate, up: nil)
        #expect(alone.up == nil)
        expectSlope(
          try inner(alone.gate, v), try slope(at: gate, along: v) { try inner(c, $0.gated(activation, up: nil)) },
          "\(name), alone")
        let narrow = try c.to(.bfloat16).gatedBackward(activation, gate: gate.to(.bfloat16), up: up.to(.bfloat16))
        let wide = try c.to(.bfloat16).to(.float32).gatedBackward(
          activation, gate: gate.to(.bfloat16).to(.float32), up: up.to(.bfloat16).to(.float32))
        try expectClose(narrow.gate, wide.gate.to(.bfloat16), ulps: 1, absolute: 1e-4, name)
        try expectClose(#require(narrow.up), #require(wide.up).to(.bfloat16), ulps: 1, absolute: 1e-4, name)
      }
    }

    @Test func ofRotations() throws {
      let angles = try sample([11, 16], .float32, seed: 8)
      let (cosine, sine) = (try angles.cos(), try angles.sin())
      let (x, c, v) = (
        try sample([2, 11, 3, 40], .float32), try sample([2, 11, 3, 40], .float32, seed: 2),
        try sample([2, 11, 3, 40], .float32, seed: 3)
      )
      try withEachKernel { name in
        let found = try c.rotatedBackward(cosine: cosine, sine: sine, width: 32)
        let expected = try slope(at: x, along: v) {
          try inner(c, $0.rotated(cosine: cosine, sine: sine, width: 32))
        }
        expectSlope(try inner(found, v), expected, name)
      }
    }

    @Test(arguments: [true, false]) func ofAttention(_ isCausal: Bool) throws {
      let (q, c) = (try sample([2, 37, 6, 32], .float32), try sample([2, 37, 6, 32], .float32, seed: 2))
      let (k, v) = (try sample([2, 37, 2, 32], .float32, seed: 3), try sample([2, 37, 2, 32], .float32, seed: 4))
      let along = (try sample([2, 37, 6, 32], .float32, seed: 5), try sample([2, 37, 2, 32], .float32, seed: 6))
      func attend(_ q: Tensor, _ k: Tensor, _ v: Tensor, _ lse: Tensor? = nil) throws -> Tensor {
        try .fusedAttention(query: q, key: k, value: v, isCausal: isCausal, scale: 0.2, logSumExp: lse)
      }
      try withEachKernel { name in
        let lse = try Tensor.zeros([2, 37, 6], dtype: .float32)
        let result = try attend(q, k, v, lse)
        let found = try c.fusedAttentionBackward(
          query: q, key: k, value: v, result: result, logSumExp: lse, isCausal: isCausal, scale: 0.2)
        #expect(found.query.shape == q.shape && found.key.shape == k.shape && found.value.shape == v.shape)
        expectSlope(
          try inner(found.query, along.0), try slope(at: q, along: along.0) { try inner(c, attend($0, k, v)) }, name)
        expectSlope(
          try inner(found.key, along.1), try slope(at: k, along: along.1) { try inner(c, attend(q, $0, v)) },
          "\(name), key")
        expectSlope(
          try inner(found.value, along.1), try slope(at: v, along: along.1) { try inner(c, attend(q, k, $0)) },
          "\(name), value")
      }
    }

    @Test func ofAttentionWithSinks() throws {
      let (x, c) = (try sample([1, 20, 4, 32], .float32), try sample([1, 20, 4, 32], .float32, seed: 2))
      let (sinks, along) = (try sample([4], .float32, seed: 3), try sample([4], .float32, seed: 4))
      func attend(_ q: Tensor, _ sinks: Tensor, _ lse: Tensor? = nil) throws -> Tensor {
        try .fusedAttention(query: q, key: x, value: x, sinks: sinks, scale: 0.2, logSumExp: lse)
      }
      try withEachKernel { name in
        let lse = try Tensor.zeros([1, 20, 4], dtype: .float32)
        let result = try attend(x, sinks, lse)
        let found = try c.fusedAttentionBackward(
          query: x, key: x, value: x, result: result, logSumExp: lse, scale: 0.2)
        expectSlope(try inner(found.query, c), try slope(at: x, along: c) { try inner(c, attend($0, sinks)) }, name)
        let bySinks = try c.fusedAttentionSinkBackward(sinks: sinks, result: result, logSumExp: lse)
        expectSlope(
          try inner(bySinks, along), try slope(at: sinks, along: along) { try inner(c, attend(x, $0)) },
          "\(name), sinks")
      }
    }

    @Test func whatDoesNotFitIsRefused() throws {
      let x = try sample([2, 3, 8], .float32)
      let rstd = try Tensor.ones([2, 3], dtype: .float32)
      expectError("gradient") {
        try sample([2, 3, 7], .float32).fusedRMSNormBackward(input: x, weight: nil, rstd: rstd)
      }
      expectError("reciprocal roots") {
        try x.fusedRMSNormBackward(input: x, weight: nil, rstd: Tensor.ones([5], dtype: .float32))
      }
      expectError("weight") {
        try x.fusedRMSNormBackward(input: x, weight: Tensor.ones([7], dtype: .float32), rstd: rstd)
      }
      expectError("other factor") { try x.gatedBackward(.silu, gate: x, up: x.to(.bfloat16)) }
      let q = try sample([1, 4, 2, 8], .float32)
      let short = try sample([1, 3, 2, 8], .float32)
      expectError("backward pass") {
        try q.fusedAttentionBackward(
          query: q, key: short, value: short, result: q, logSumExp: Tensor.ones([1, 4, 2], dtype: .float32))
      }
    }
  }
}
