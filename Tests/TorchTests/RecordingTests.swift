import Testing
import Torch

extension KernelTests {
  /// What gradients are recorded of is never written over, and every result leads back to its inputs.
  @Suite struct Recording {
    @Test func inPlaceCallsKeepWhatIsRecorded() throws {
      try LibTorch.recording {
        let x = try Tensor([Float(1), 2, 3], shape: [3]).leaf(wantsGradient: true)
        let y = try x.exp()
        let kept = try y.clone().floats()
        let z = try y.multiplied(by: 1)
        // exp's gradient needs its result.
        try z.multiply(by: 2)
        try z.add(x)
        try z.add(x, scaledBy: 3)
        try z.addProduct(x, x)
        let slopes = try Tensor.gradients(of: [z], given: [.ones([3], dtype: .float32)], by: [x])
        let expected = zip(kept, [1, 2, 3]).map { 2 * $0 + 4 + 2 * Float($1) }
        #expect(zip(try #require(slopes[0]).floats(), expected).allSatisfy { abs($0 - $1) < 1e-4 })
        #expect(try y.floats() == kept)
      }
    }

    @Test func resultsNeverLieInInputs() throws {
      try LibTorch.recording {
        let gate = try sample([2, 5, 16], .float32).leaf(wantsGradient: true)
        let up = try sample([2, 5, 16], .float32, seed: 2).leaf(wantsGradient: true)
        let inner = try gate.multiplied(by: 1)
        let before = try inner.floats()
        let memory = try inner.reshape([-1])
        _ = try inner.gated(.silu, up: up, into: inner)
        #expect(try memory.floats() == before)
        let (a, b) = (try gate.multiplied(by: 1), try up.multiplied(by: 1))
        let (first, second) = (try a.reshape([-1]), try b.reshape([-1]))
        let values = (try first.floats(), try second.floats())
        let normed = try a.fusedRMSNorm(adding: b, weight: nil, eps: 1e-5, into: b)
        #expect(try first.floats() == values.0 && second.floats() == values.1)
        // The sum takes the place of the tensor that it was to be added to.
        #expect(zip(try a.floats(), zip(values.0, values.1)).allSatisfy { abs($0 - $1.0 - $1.1) < 1e-6 })
        let slopes = try Tensor.gradients(of: [normed], given: [normed.leaf(wantsGradient: false)], by: [gate, up])
        #expect(slopes.allSatisfy { $0 != nil })
      }
    }

    /// Experts and scans are shared out over threads that have a switch of their own.
    @Test func sharedOutWorkIsRecorded() throws {
      try LibTorch.recording {
        let x = try Tensor((0..<64).map { Float($0) / 64 }, shape: [64]).leaf(wantsGradient: true)
        let results = Results(8)
        try LibTorch.parallel(8) { results.list[$0] = try x.multiplied(by: Double($0)).square() }
        let sum = try Tensor.stack(results.list.map { try #require($0) }, dim: 0).sum(dims: [0])
        let slope = try #require(
          try Tensor.gradients(of: [sum], given: [.ones([64], dtype: .float32)], by: [x])[0]
        ).floats()
        // Σ k² over 0 … 7 is 140.
        for (index, value) in slope.enumerated() { #expect(abs(value - 280 * Float(index) / 64) < 1e-3) }
      }
    }

    private final class Results: @unchecked Sendable {
      // Each task has a place of its own.
      let list: UnsafeMutableBufferPointer<Tensor?>
      init(_ count: Int) {
        list = .allocate(capacity: count)
        list.initialize(repeating: nil)
      }
      deinit {
        list.deinitialize()
        list.deallocate()
      }
    }

    @Test func outsideNothingIsRecorded() throws {
      let x = try Tensor([Float(1)], shape: [1])
      #expect(!LibTorch.isRecording)
      #expect(throws: TorchError.self) { try x.leaf(wantsGradient: true) }
      try LibTorch.recording {
        #expect(LibTorch.isRecording)
        let y = try x.leaf(wantsGradient: false).exp()
        #expect(throws: TorchError.self) {
          try Tensor.gradients(of: [y], given: [.ones([1], dtype: .float32)], by: [y])
        }
      }
      #expect(!LibTorch.isRecording)
    }

    static let attentions: [(window: Int?, softcap: Double?, sinks: Bool, groups: Int, width: Int)] = [
      (nil, nil, false, 4, 32), (5, nil, false, 2, 32), (nil, 20, false, 4, 32), (6, 15, true, 2, 32),
      (nil, nil, true, 1, 16), (nil, nil, false, 2, 16),
    ]

    /// Attention from its definition, by operators that libtorch records: `[1, S, N, D]`.
    private func defined(
      _ q: Tensor, _ k: Tensor, _ v: Tensor, sinks: Tensor?, hidden: Tensor, softcap: Double?
    ) throws -> Tensor {
      func heads(_ x: Tensor) throws -> Tensor {
        try x.transpose(1, 2).repeatInterleave(q.shape[2] / x.shape[2], dim: 1)
      }
      var scores = try heads(q).matmul(heads(k).transpose(2, 3)).multiplied(by: 1 / Double(q.shape[3]).squareRoot())
      if let softcap { scores = try scores.divided(by: softcap).tanh().multiplied(by: softcap) }
      scores = try scores.maskedFill(hidden, -.infinity)
      if let sinks {
        let column = try sinks.reshape([1, -1, 1, 1]).expand([1, q.shape[2], q.shape[1], 1])
        scores = try Tensor.cat([scores, column], dim: 3)
      }
      let shares = try scores.softmax(dim: 3).narrow(dim: 3, start: 0, length: k.shape[1])
      return try shares.matmul(heads(v)).transpose(1, 2)
    }

    /// The kernels' way back against that of the definition, for each kind of attention, with rows packed and alone.
    @Test(arguments: attentions, [false, true])
    func attentionLeadsBack(
      _ kind: (window: Int?, softcap: Double?, sinks: Bool, groups: Int, width: Int), _ isPacked: Bool
    ) throws {
      let tokens = 21
      let parts = isPacked ? [(0, 9), (9, 12)] : [(0, tokens)]
      let segments = parts.map { AttentionSegment(query: $0, queries: $1, own: $0, keys: $1) }
      let hidden = try Tensor(
        (0..<tokens).flatMap { query in
          (0..<tokens).map { key in
            let isApart = parts.contains { ($0..<$0 + $1).contains(query) != ($0..<$0 + $1).contains(key) }
            return key > query || isApart || kind.window.map { query - key >= $0 } ?? false
          }
        }, shape: [tokens, tokens])
      func gradients(_ compute: ([Tensor]) throws -> Tensor) throws -> [[Float]] {
        let shapes = [[1, tokens, 4, 32], [1, tokens, kind.groups, 32], [1, tokens, kind.groups, kind.width], [4]]
        let inputs = try shapes.enumerated().map {
          try sample($1, .float32, seed: UInt64($0 + 1), scale: 2).leaf(wantsGradient: true)
        }
        let given = try sample([1, tokens, 4, kind.width], .float32, seed: 9).leaf(wantsGradient: false)
        return try Tensor.gradients(of: [compute(inputs)], given: [given], by: inputs).map { try $0?.floats() ?? [] }
      }
      try LibTorch.recording {
        let found = try gradients {
          try Tensor.fusedAttention(
            query: $0[0], key: $0[1], value: $0[2], sinks: kind.sinks ? $0[3] : nil,
            segments: isPacked ? segments : nil, window: kind.window, softcap: kind.softcap)
        }
        let mask = try hidden.leaf(wantsGradient: false)
        let expected = try gradients {
          try defined($0[0], $0[1], $0[2], sinks: kind.sinks ? $0[3] : nil, hidden: mask, softcap: kind.softcap)
        }
        for (a, b) in zip(found, expected) {
          #expect(a.count == b.count)
          let largest = b.map(abs).max() ?? 0
          #expect(zip(a, b).allSatisfy { abs($0 - $1) <= 1e-4 * largest })
        }
      }
    }
  }
}
