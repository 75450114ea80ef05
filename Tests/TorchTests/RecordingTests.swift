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
  }
}
