import Testing
import Torch

extension KernelTests {
  /// What the kernels lead back against what libtorch records of each definition, operator by operator, with every
  /// instruction set.
  @Suite struct Backward {
    /// The gradients of Σ c · `compute`(inputs) by each input; none where the result does not depend on it.
    private func gradients(_ inputs: [Tensor], _ compute: ([Tensor]) throws -> Tensor) throws -> [Tensor?] {
      try LibTorch.recording {
        let leaves = try inputs.map { try $0.leaf(wantsGradient: true) }
        let result = try compute(leaves)
        let given = try sample(result.shape, .float32, seed: 99).to(result.dtype).leaf(wantsGradient: false)
        return try Tensor.gradients(of: [result], given: [given], by: leaves)
      }
    }

    /// Each gradient within `share` of the largest number of its like.
    private func expectSame(
      _ found: [Tensor?], _ expected: [Tensor?], share: Float = 2e-5, _ comment: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      #expect(found.map { $0?.shape } == expected.map { $0?.shape }, "\(comment)", sourceLocation: sourceLocation)
      func largest(_ gradient: Tensor?) throws -> Float { Float(try gradient?.to(.float32).abs().amax().item() ?? 0) }
      // What is zero but for rounding has no size of its own.
      let least = try expected.map(largest).max().map { 1e-3 * $0 } ?? 0
      for (index, (a, b)) in zip(found, expected).enumerated() {
        guard let a, let b else { continue }
        try expectClose(
          a.to(.float32), b.to(.float32), ulps: 0, absolute: max(share * max(largest(b), least), 1e-30),
          "\(comment), input \(index)",
          sourceLocation: sourceLocation)
      }
    }

    /// In float32 against the definition, and in bfloat16 against float32 of the same numbers, within its roundings.
    private func check(
      _ inputs: [Tensor], kernel: ([Tensor]) throws -> Tensor, definition: ([Tensor]) throws -> Tensor,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let expected = try gradients(inputs, definition)
      let rounded = try inputs.map { try $0.to(.bfloat16) }
      let wide = try gradients(rounded.map { try $0.to(.float32) }, definition)
      try withEachKernel { name in
        try expectSame(gradients(inputs, kernel), expected, name, sourceLocation: sourceLocation)
        try expectSame(
          gradients(rounded, kernel), wide, share: 1.0 / 64, "\(name), bfloat16",
          sourceLocation: sourceLocation)
      }
    }

    static let shapes = [[1, 1, 32], [2, 7, 80], [2, 70, 33], [1, 5, 640]]

    @Test(arguments: shapes, [nil, 0.0, 1.0]) func ofNorms(_ shape: [Int], _ offset: Double?) throws {
      let (x, weight) = (try sample(shape, .float32), try sample([shape[2]], .float32, seed: 4))
      try check([x, weight]) {
        try $0[0].fusedRMSNorm(weight: $0[1], eps: 1e-5, offset: offset)
      } definition: {
        try $0[0].rmsNorm(weight: $0[1].adding(offset ?? 0), eps: 1e-5)
      }
      try check([x]) {
        try $0[0].fusedRMSNorm(weight: nil, eps: 1e-5)
      } definition: {
        try $0[0].rmsNorm(weight: nil, eps: 1e-5)
      }
      let residual = try sample(shape, .float32, seed: 5)
      // The sum, too, leads on: into the next layer.
      try check([x, residual, weight]) {
        let sum = try $0[0].multiplied(by: 1)
        return try sum.fusedRMSNorm(adding: $0[1], weight: $0[2], eps: 1e-5, offset: offset).adding(sum)
      } definition: {
        let sum = try $0[0].adding($0[1])
        return try sum.rmsNorm(weight: $0[2].adding(offset ?? 0), eps: 1e-5).adding(sum)
      }
    }

    @Test(arguments: GateActivation.allCases) func ofGates(_ activation: GateActivation) throws {
      let shape = [2, 9, 75]
      let (gate, up) = (try sample(shape, .float32), try sample(shape, .float32, seed: 2))
      func act(_ x: Tensor) throws -> Tensor {
        switch activation {
        case .silu: try x.silu()
        case .gelu: try x.gelu()
        case .geluTanh: try x.gelu(approximate: .tanh)
        case .reluSquared: try x.relu().square()
        case .relu: try x.relu()
        }
      }
      try check([gate, up]) {
        try $0[0].gated(activation, up: $0[1])
      } definition: {
        try act($0[0]).multiplied(by: $0[1])
      }
      try check([gate]) {
        try $0[0].gated(activation, up: nil)
      } definition: {
        try act($0[0])
      }
    }

    /// With angles that both halves share, and with some of their own.
    @Test(arguments: [16, 32]) func ofRotations(_ count: Int) throws {
      let angles = try sample([11, count], .float32, seed: 8)
      let (cosine, sine) = (try angles.cos(), try angles.sin())
      // Channels above the 32 that turn pass as they are.
      let x = try sample([2, 11, 3, 40], .float32)
      func place(_ x: Tensor) throws -> Tensor {
        try Tensor.cat(Array(repeating: x, count: 32 / count), dim: 1).reshape([1, 11, 1, 32])
          .leaf(wantsGradient: false)
      }
      func turned(_ x: Tensor, _ norm: Tensor?) throws -> Tensor {
        func angle(_ angle: Tensor) throws -> Tensor { try angle.to(x.dtype).leaf(wantsGradient: false) }
        return try x.rotated(cosine: angle(cosine), sine: angle(sine), width: 32, norm: norm.map { ($0, 1e-5) })
      }
      func defined(_ x: Tensor) throws -> Tensor {
        let turning = try x.narrow(dim: 3, start: 0, length: 32)
        let halves = (
          try turning.narrow(dim: 3, start: 0, length: 16), try turning.narrow(dim: 3, start: 16, length: 16)
        )
        let across = try Tensor.cat([halves.1.multiplied(by: -1), halves.0], dim: 3)
        let result = try turning.multiplied(by: place(cosine)).adding(across.multiplied(by: place(sine)))
        return try Tensor.cat([result, x.narrow(dim: 3, start: 32, length: 8)], dim: 3)
      }
      try check([x]) {
        try turned($0[0], nil)
      } definition: {
        try defined($0[0])
      }
      try check([x, sample([40], .float32, seed: 4)]) {
        try turned($0[0], $0[1])
      } definition: {
        try defined($0[0].rmsNorm(weight: $0[1], eps: 1e-5))
      }
    }

    @Test(arguments: HeadKernels.sizes) func ofAttention(_ size: HeadKernels.Size) throws {
      let heads = HeadKernels()
      let (q, k, v) = try heads.inputs(size, .float32)
      let inputs = try [q, k, v] + (heads.sinks(size).map { [$0] } ?? [])
      try check(inputs) {
        try Tensor.fusedAttention(
          query: $0[0], key: $0[1], value: $0[2], sinks: $0.dropFirst(3).first, isCausal: size.causal,
          window: size.window, softcap: size.softcap)
      } definition: {
        try heads.reference(size, $0[0], $0[1], $0[2], sinks: $0.dropFirst(3).first)
      }
    }

    /// Rows that were packed into one lead back as each would by itself.
    @Test(arguments: [nil, 5], [(nil, false), (15.0, false), (nil, true), (15, true)])
    func ofPackedAttention(_ window: Int?, _ kind: (softcap: Double?, hasSinks: Bool)) throws {
      let parts = [(start: 0, tokens: 9), (start: 9, tokens: 12)]
      let segments = parts.map {
        AttentionSegment(query: $0.start, queries: $0.tokens, own: $0.start, keys: $0.tokens)
      }
      let shapes = [[1, 21, 4, 32], [1, 21, 2, 32], [1, 21, 2, 16]] + (kind.hasSinks ? [[4]] : [])
      let inputs = try shapes.enumerated().map { try sample($1, .float32, seed: UInt64($0 + 1), scale: 2) }
      try check(inputs) {
        try Tensor.fusedAttention(
          query: $0[0], key: $0[1], value: $0[2], sinks: $0.dropFirst(3).first, segments: segments, window: window,
          softcap: kind.softcap)
      } definition: { inputs in
        let rows = try parts.map { part in
          let own = try inputs.prefix(3).map { try $0.narrow(dim: 1, start: part.start, length: part.tokens) }
          let size = HeadKernels.Size(
            queries: part.tokens, keys: part.tokens, heads: 4, groups: 2, width: 32, valueWidth: 16, window: window,
            softcap: kind.softcap, sinks: kind.hasSinks)
          return try HeadKernels().reference(size, own[0], own[1], own[2], sinks: inputs.dropFirst(3).first)
        }
        return try Tensor.cat(rows, dim: 1)
      }
    }
  }
}
