import Testing
import Torch

extension KernelTests {
  /// Norms, gates and statistics against libtorch's operators, with every instruction set.
  @Suite struct RowKernels {
    static let sizes = [[1, 1, 32], [2, 7, 80], [3, 33, 128], [2, 131, 70], [1, 5, 1], [2, 3, 15], [2, 65, 640]]

    private func lengths(_ shape: [Int]) -> [Int] {
      (0..<shape[0]).map { [shape[1], shape[1] / 2, 0][$0 % 3] }
    }

    /// Σ |x| over the valid tokens, operator by operator.
    private func reference(_ x: Tensor, _ lengths: [Int]) throws -> Tensor {
      try Tensor.stack(
        lengths.enumerated().map { row, length in
          try x.select(dim: 0, index: row).narrow(dim: 0, start: 0, length: length).to(.float32).abs()
            .sum(dims: [0])
        }, dim: 0)
    }

    @Test(arguments: sizes, [DType.float32, .bfloat16]) func norm(_ shape: [Int], _ dtype: DType) throws {
      let x = try sample(shape, dtype)
      let weight = try sample([shape[2]], dtype, seed: 2)
      try withEachKernel { name in
        let sums = try ChannelSums(lengths: lengths(shape), channels: shape[2])
        let expected = try x.rmsNorm(weight: weight, eps: 1e-6)
        let found = try x.fusedRMSNorm(weight: weight, eps: 1e-6, tap: sums)
        try expectClose(found, expected, name)
        try expectClose(sums.sums, reference(found, sums.lengths), ulps: 8, absolute: 1e-4, name)
        try expectClose(x.fusedRMSNorm(weight: nil, eps: 1e-6), x.rmsNorm(weight: nil, eps: 1e-6), name)
        let place = try x.clone()
        let same = try place.fusedRMSNorm(weight: weight, eps: 1e-6, into: place)
        #expect(try same.equals(found) && place.equals(found))
      }
    }

    /// Gemma's and OLMo 2's norms: by weight + offset in float32, rounded once.
    @Test(arguments: sizes, [DType.float32, .bfloat16]) func wideNorm(_ shape: [Int], _ dtype: DType) throws {
      let x = try sample(shape, dtype)
      let weight = try sample([shape[2]], dtype, seed: 2)
      try withEachKernel { name in
        for offset in [0.0, 1] {
          let sums = try ChannelSums(lengths: lengths(shape), channels: shape[2])
          let expected = try x.to(.float32).rmsNorm(weight: weight.to(.float32).adding(offset), eps: 1e-6).to(dtype)
          let found = try x.fusedRMSNorm(weight: weight, eps: 1e-6, offset: offset, tap: sums)
          try expectClose(found, expected, "\(name) \(offset)")
          try expectClose(sums.sums, reference(found, sums.lengths), ulps: 8, absolute: 1e-4, name)
        }
      }
    }

    @Test func meanSquaresAreWhatImportanceIsMadeOf() throws {
      let x = try sample([3, 20, 33], .float32)
      let sums = try ChannelSums(lengths: [20, 7, 0], channels: 33)
      try sums.add(x)
      let total = try Tensor.ones([33], dtype: .float32)
      try sums.addMeanSquares(to: total)
      let wide = try Tensor.ones([33], dtype: .float64)
      try sums.addMeanSquares(to: wide)
      try expectClose(wide.to(.float32), total, ulps: 2)
      let means = try (0..<2).map { row in
        try x.select(dim: 0, index: row).narrow(dim: 0, start: 0, length: sums.lengths[row]).abs().mean(dims: [0])
      }
      try expectClose(total, means[0].square().adding(means[1].square()).adding(1), ulps: 8)
      expectError("addMeanSquares") { try sums.addMeanSquares(to: Tensor.ones([32], dtype: .float32)) }
      expectError("addMeanSquares") { try sums.addMeanSquares(to: Tensor.ones([33], dtype: .bfloat16)) }
    }

    /// The result may take the residual's place: a layer needs no memory of its own for it.
    @Test func normIntoTheResidual() throws {
      let (x, y) = (try sample([2, 9, 70], .bfloat16), try sample([2, 9, 70], .bfloat16, seed: 3))
      let weight = try sample([70], .bfloat16, seed: 2)
      try withEachKernel { name in
        let sum = try Tensor.zeros([2, 9, 70], dtype: .bfloat16)
        let expected = try x.fusedRMSNorm(adding: y, sum: sum, weight: weight, eps: 1e-5)
        let place = try y.clone()
        let found = try x.fusedRMSNorm(adding: place, sum: sum, weight: weight, eps: 1e-5, into: place)
        #expect(try found.equals(expected) && place.equals(expected) && sum.equals(x.adding(y)), "\(name)")
      }
    }

    @Test(arguments: sizes, [DType.float32, .bfloat16]) func normOfResidualSum(_ shape: [Int], _ dtype: DType) throws {
      let x = try sample(shape, dtype)
      let y = try sample(shape, dtype, seed: 3)
      let weight = try sample([shape[2]], dtype, seed: 2)
      let sum = try x.adding(y)
      try withEachKernel { name in
        let h = try x.clone()
        let found = try h.fusedRMSNorm(adding: y, weight: weight, eps: 1e-5)
        #expect(try h.equals(sum), "\(name)")
        try expectClose(found, sum.rmsNorm(weight: weight, eps: 1e-5), name)
        let apart = try Tensor.zeros(shape, dtype: dtype)
        let tapped = try ChannelSums(lengths: lengths(shape), channels: shape[2])
        let again = try x.fusedRMSNorm(adding: y, sum: apart, weight: weight, eps: 1e-5, tap: tapped)
        #expect(try apart.equals(sum) && again.equals(found), "\(name)")
        try expectClose(tapped.sums, reference(found, tapped.lengths), ulps: 8, absolute: 1e-4, name)
      }
    }

    @Test(arguments: sizes, [DType.float32, .bfloat16]) func gates(_ shape: [Int], _ dtype: DType) throws {
      let gate = try sample(shape, dtype, scale: 3)
      let up = try sample(shape, dtype, seed: 4)
      for kind in GateActivation.allCases {
        let activated = try act(kind, gate)
        let expected = try activated.multiplied(by: up)
        try withEachKernel { name in
          let sums = try ChannelSums(lengths: lengths(shape), channels: shape[2])
          let found = try gate.gated(kind, up: up, tap: sums)
          try expectClose(found, expected, ulps: 4, absolute: 1e-5, "\(name) \(kind)")
          try expectClose(sums.sums, reference(found, sums.lengths), ulps: 8, absolute: 1e-4, "\(name) \(kind)")
          try expectClose(gate.gated(kind, up: nil), activated, ulps: 4, absolute: 1e-5, "\(name) \(kind)")
          let place = try gate.clone()
          #expect(try place.gated(kind, up: up, into: place).equals(found) && place.equals(found))
        }
      }
    }

    private func act(_ kind: GateActivation, _ x: Tensor) throws -> Tensor {
      switch kind {
      case .silu: try x.silu()
      // libtorch's own kernel in float32 is off by 1e-6.
      case .gelu: try x.to(.float64).gelu().to(x.dtype)
      case .geluTanh: try x.gelu(approximate: .tanh)
      case .reluSquared: try x.relu().square()
      case .relu: try x.relu()
      }
    }

    @Test func halvesOfAFusedProjection() throws {
      let fused = try sample([2, 9, 2 * 48], .bfloat16)
      let gate = try fused.narrow(dim: 2, start: 0, length: 48)
      let up = try fused.narrow(dim: 2, start: 48, length: 48)
      let expected = try gate.silu().multiplied(by: up)
      try withEachKernel { name in
        try expectClose(gate.gated(.silu, up: up), expected, name)
        let copy = try fused.clone()
        let half = try copy.narrow(dim: 2, start: 0, length: 48)
        _ = try half.gated(.silu, up: copy.narrow(dim: 2, start: 48, length: 48), into: half)
        try expectClose(copy.narrow(dim: 2, start: 0, length: 48), expected, name)
        #expect(try copy.narrow(dim: 2, start: 48, length: 48).equals(up))
      }
    }

    @Test(arguments: sizes, [DType.float32, .bfloat16]) func columnsAndCosines(_ shape: [Int], _ dtype: DType) throws {
      let a = try sample(shape, dtype)
      let b = try sample(shape, dtype, seed: 5)
      let cosines = try a.to(.float32).cosineSimilarity(b.to(.float32), dim: 2)
      try withEachKernel { name in
        let sums = try ChannelSums(lengths: lengths(shape), channels: shape[2])
        try sums.add(a)
        try sums.add(b)
        let expected = try reference(a, sums.lengths).adding(reference(b, sums.lengths))
        try expectClose(sums.sums, expected, ulps: 8, absolute: 1e-4, name)
        try expectClose(a.tokenCosines(b), cosines, ulps: 4, absolute: 1e-6, name)
        try expectClose(a.tokenCosines(a), Tensor.ones([shape[0], shape[1]], dtype: .float32), ulps: 4, name)
      }
    }

    @Test func everyLayoutAndTypeIsTaken() throws {
      let base = try sample([4, 20, 3, 48], .float32)
      try withEachKernel { name in
        for dtype in [DType.float32, .bfloat16, .float16, .float64] {
          let weight = try sample([48], dtype, seed: 2)
          let x = try base.to(dtype)
          for view in [
            try x.transpose(1, 2), try x.select(dim: 2, index: 1), try x.transpose(0, 1),
            try x.narrow(dim: 1, start: 3, length: 5),
            try x.select(dim: 0, index: 0).select(dim: 0, index: 0).select(dim: 0, index: 0),
            try x.transpose(2, 3).contiguous().transpose(2, 3),
            try x.select(dim: 2, index: 0).narrow(dim: 2, start: 0, length: 1).expand([4, 20, 48]),
          ] {
            let what = "\(name) \(dtype) \(view.shape)"
            try expectClose(
              view.fusedRMSNorm(weight: weight, eps: 1e-6), view.rmsNorm(weight: weight, eps: 1e-6), ulps: 2, what)
            try expectClose(view.gated(.silu, up: view), view.silu().multiplied(by: view), ulps: 4, what)
            try expectClose(
              view.tokenCosines(view), view.to(.float32).cosineSimilarity(view.to(.float32), dim: -1), ulps: 4, what)
          }
        }
        // A weight of another type promotes, as the operators do.
        let mixed = try base.to(.bfloat16).fusedRMSNorm(weight: sample([48], .float32), eps: 1e-6)
        try expectClose(mixed, base.to(.bfloat16).rmsNorm(weight: sample([48], .float32), eps: 1e-6), name)
      }
    }

    @Test func resultsDoNotDependOnThreads() throws {
      let x = try sample([2, 300, 512], .bfloat16)
      let threads = try LibTorch.threads
      defer { try? LibTorch.setThreads(threads) }
      var results: [[Float]] = []
      for count in [1, 2, 3] {
        try LibTorch.setThreads(count)
        let sums = try ChannelSums(lengths: [300, 211], channels: 512)
        let y = try x.gated(.silu, up: x.fusedRMSNorm(weight: nil, eps: 1e-6, tap: sums))
        try sums.add(y)
        results.append(try sums.sums.floats() + y.floats() + y.tokenCosines(x).floats())
      }
      #expect(results[0] == results[1] && results[0] == results[2])
    }

    @Test func whatIsNotFiniteStaysSo() throws {
      for dtype in [DType.float32, .bfloat16] {
        var values = [Float](repeating: 0.5, count: 3 * 40)
        values[3] = .nan
        values[40 + 20] = .infinity
        values[80 + 39] = -.infinity
        let x = try floats(values, [1, 3, 40]).to(dtype)
        let ones = try Tensor.ones([1, 3, 40], dtype: dtype)
        try withEachKernel { name in
          try expectClose(x.fusedRMSNorm(weight: nil, eps: 1e-6), x.rmsNorm(weight: nil, eps: 1e-6), name)
          // libtorch's gelu makes NaN of infinity.
          for kind in GateActivation.allCases where kind != .gelu {
            try expectClose(x.gated(kind, up: ones), act(kind, x), ulps: 4, "\(name) \(kind)")
          }
          #expect(try x.gated(.gelu, up: ones).floats()[3].isNaN)
          let sums = try ChannelSums(lengths: [3], channels: 40)
          try sums.add(x)
          let found = try sums.sums.floats()
          #expect(found[3].isNaN && found[20] == .infinity && found[39] == .infinity && found[0] == 1.5)
          #expect(try x.tokenCosines(ones).floats().allSatisfy(\.isNaN))
          // Beyond float32's exponents: nothing, or all of it.
          let far = try floats([-1000, -88, -87, -50, 88, 89, 1000, 0], [1, 1, 8]).to(dtype)
          try expectClose(far.gated(.silu, up: nil), far.silu(), ulps: 4, absolute: 1e-30, name)
        }
      }
      try expectClose(
        Tensor.zeros([1, 2, 8], dtype: .float32).tokenCosines(Tensor.ones([1, 2, 8], dtype: .float32)),
        Tensor.zeros([1, 2], dtype: .float32))
    }

    @Test func emptyTensors() throws {
      try withEachKernel { _ in
        let none = try Tensor.zeros([2, 0, 8], dtype: .bfloat16)
        #expect(try none.fusedRMSNorm(weight: nil, eps: 1e-6).shape == [2, 0, 8])
        #expect(try none.gated(.silu, up: none).shape == [2, 0, 8])
        #expect(try none.tokenCosines(none).shape == [2, 0])
        let sums = try ChannelSums(lengths: [0, 0], channels: 8)
        try sums.add(none)
        #expect(try sums.sums.floats() == [Float](repeating: 0, count: 16))
      }
    }

    @Test func mistakesAreErrors() throws {
      try withEachKernel { _ in
        let x = try sample([2, 3, 8], .float32)
        let other = try sample([2, 3, 9], .float32)
        expectError("weight has shape [9]") { try x.fusedRMSNorm(weight: sample([9], .float32), eps: 1e-6) }
        expectError("residual has shape") { try x.fusedRMSNorm(adding: other, weight: nil, eps: 1e-6) }
        expectError("result has shape") { try x.fusedRMSNorm(weight: nil, eps: 1e-6, into: other) }
        expectError("gate has shape") { try x.gated(.silu, up: other) }
        expectError("tensors differ") { try x.tokenCosines(other) }
        expectError("3 lengths for 2 rows") { try ChannelSums(lengths: [1, 1, 1], channels: 8).add(x) }
        expectError("cannot have 4 valid") { try ChannelSums(lengths: [4, 1], channels: 8).add(x) }
        expectError("cannot have -1 valid") { try ChannelSums(lengths: [3, -1], channels: 8).add(x) }
        expectError("takes float32 sums") { try ChannelSums(lengths: [1, 1], channels: 7).add(x) }
        expectError("only a tensor [B, S, C]") { try ChannelSums(lengths: [1], channels: 8).add(x.view([6, 8])) }
        expectError("no dimensions") { try Tensor.ones([], dtype: .float32).gated(.silu, up: nil) }
        let shared = try Tensor.zeros([1, 3, 8], dtype: .float32).expand([2, 3, 8])
        expectError("memory") { try x.fusedRMSNorm(weight: nil, eps: 1e-6, into: shared) }
      }
      expectError("no kernels named") { try Kernels.use("mmx") }
    }
  }
}
