import Testing
import Torch

@Suite struct Networks {
  @Test func productsOfMatrices() throws {
    let a = try floats([1, 2, 3, 4, 5, 6], [2, 3])
    let b = try floats([1, 0, 0, 1, 1, 1], [3, 2])
    try expect(a.matmul(b), [2, 2], [4, 5, 10, 11])
    try expect(a.matmul(floats([1, 1, 1])), [2], [6, 15])
    #expect(try a.expand([5, 2, 3]).matmul(b).shape == [5, 2, 2])
    try expect(a.linear(weight: floats([1, 0, 1], [1, 3]), bias: floats([0.5])), [2, 1], [4.5, 10.5])
    try expect(a.linear(weight: floats([1, 0, 1], [1, 3])), [2, 1], [4, 10])
    expectError("matmul: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)") { try a.matmul(a) }
    expectError("linear") { try a.linear(weight: b) }
    expectError("same dtype") { try a.to(.bfloat16).matmul(b) }
  }

  @Test func bfloat16ProductsAreRoundedOnce() throws {
    let a = try Tensor.full([1, 256], 1, dtype: .bfloat16)
    let b = try Tensor.full([256, 1], 1.0078125, dtype: .bfloat16)
    #expect(try a.matmul(b).item() == 258)
  }

  @Test(arguments: [[1, 8, 8], [100, 192, 512], [33, 70, 17], [1000, 64, 256]])
  func packedWeightsGiveTheSameProducts(_ size: [Int]) throws {
    let x = try Tensor.randn([2, size[0], size[1]]).to(.bfloat16)
    let weight = try Tensor.randn([size[2], size[1]]).to(.bfloat16)
    let bias = try Tensor.randn([size[2]]).to(.bfloat16)
    // Packed for other numbers of rows than it meets, too.
    for rows in [1, size[0], 4096] {
      let packed = try weight.packedForLinear(rows: rows)
      #expect(packed.shape == weight.shape)
      for bias in [nil, bias] {
        let found = try x.linear(weight: packed, bias: bias)
        let expected = try x.linear(weight: weight, bias: bias)
        #expect(found.shape == expected.shape)
        let difference = try found.to(.float32).subtracting(expected.to(.float32)).abs()
        #expect(try difference.amax().item() <= 0.01 * expected.to(.float32).abs().amax().item())
      }
    }
  }

  /// `a` · `weight`ᵀ + `bias` by libtorch's own operators, in float32.
  private func product(_ a: Tensor, _ weight: Tensor, _ bias: Tensor?) throws -> Tensor {
    let plain = try a.to(.float32).matmul(weight.to(.float32).transpose(0, 1))
    return try bias.map { try plain.adding($0.to(.float32)) } ?? plain
  }

  @Test(arguments: [[1, 8, 8], [100, 192, 512], [33, 70, 17], [20, 1024, 4500]])
  func narrowWeightsMeetFloat32AsIfTheyWereWidened(_ size: [Int]) throws {
    let x = try Tensor.randn([2, size[0], size[1]])
    for type in [DType.bfloat16, .float16] {
      let weight = try Tensor.randn([size[2], size[1]]).to(type)
      let bias = try Tensor.randn([size[2]])
      for bias in [nil, bias] {
        let expected = try product(x, weight, bias)
        let scale = try expected.abs().amax().item()
        for weight in [weight, try weight.packedForLinear(rows: 2 * size[0], inputs: .float32)] {
          let found = try x.linear(weight: weight, bias: bias)
          #expect(found.shape == expected.shape && found.dtype == .float32)
          #expect(try found.subtracting(expected).abs().amax().item() <= 2e-6 * scale)
        }
      }
      let found = try x.matmul(weight.transpose(0, 1))
      let expected = try product(x, weight, nil)
      #expect(try found.subtracting(expected).abs().amax().item() <= 2e-6 * expected.abs().amax().item())
    }
  }

  @Test(arguments: [[1, 8, 8], [100, 192, 512], [3, 1024, 4500]])
  func bfloat16ProductsAreThoseOfFloat32Rounded(_ size: [Int]) throws {
    let x = try Tensor.randn([2, size[0], size[1]]).to(.bfloat16)
    let weight = try Tensor.randn([size[2], size[1]]).to(.bfloat16)
    let bias = try Tensor.randn([size[2]]).to(.bfloat16)
    for bias in [nil, bias] {
      let found = try x.linear(weight: weight, bias: bias)
      #expect(found.dtype == .bfloat16)
      let expected = try product(x, weight, bias)
      // Half a unit of bfloat16's last place, and what sums in another order make of it.
      let allowed = try expected.abs().multiplied(by: 1 / 256).adding(1e-3)
      #expect(try found.to(.float32).subtracting(expected).abs().subtracting(allowed).amax().item() <= 0)
    }
  }

  @Test func packedWeightsAreForProductsAlone() throws {
    let weight = try Tensor.randn([16, 32]).to(.bfloat16)
    let packed = try weight.packedForLinear(rows: 64)
    // Where the machine has nothing to gain, it is the weight itself.
    guard packed.isPacked else { return #expect(packed === weight) }
    expectError("does not fit") { try Tensor.zeros([3, 31], dtype: .bfloat16).linear(weight: packed) }
    expectError("packed weight takes") { try Tensor.zeros([3, 32], dtype: .float64).linear(weight: packed) }
    #expect(try Tensor.zeros([0, 32], dtype: .bfloat16).linear(weight: packed).shape == [0, 16])
    let wide = try weight.packedForLinear(rows: 64, inputs: .float32)
    expectError("does not fit") { try Tensor.zeros([3, 31], dtype: .float32).linear(weight: wide) }
    #expect(try Tensor.zeros([0, 32], dtype: .float32).linear(weight: wide).shape == [0, 16])
    // Other types stay as they are.
    let double = try Tensor.randn([16, 32]).to(.float64)
    #expect(try double.packedForLinear(rows: 64) === double)
  }

  @Test func rowsOfAnEmbedding() throws {
    let weight = try floats([0, 1, 10, 11, 20, 21], [3, 2])
    try expect(
      Tensor.embedding(weight: weight, indices: ints([2, 0, 1, 1], [2, 2])), [2, 2, 2], [20, 21, 0, 1, 10, 11, 10, 11])
    expectError("embedding") { try Tensor.embedding(weight: weight, indices: try floats([1])) }
  }

  @Test func rmsNormScalesByTheRootOfTheMeanSquare() throws {
    let a = try floats([3, 4, 0, 0, 1, 1, 1, 1], [2, 4])
    let weight = try floats([1, 2, 3, 4])
    try expect(a.rmsNorm(weight: weight, eps: 0), [2, 4], [1.2, 3.2, 0, 0, 1, 2, 3, 4])
    try expect(a.rmsNorm(weight: nil, eps: 3), [2, 4], [0.986393924, 1.315191898, 0, 0, 0.5, 0.5, 0.5, 0.5])
    expectError("rmsNorm") { try a.rmsNorm(weight: try floats([1, 2]), eps: 0) }
  }

  @Test func rmsNormInBfloat16RoundsBeforeTheWeight() throws {
    // √2 is 1.4140625 in bfloat16; times 1.046875 that rounds to 1.4765625, while √2 itself times 1.046875
    // would round to 1.484375.
    let a = try floats([1, 0]).to(.bfloat16)
    let weight = try floats([1.046875, 1]).to(.bfloat16)
    let normed = try a.rmsNorm(weight: weight, eps: 0)
    #expect(normed.dtype == .bfloat16)
    #expect(try normed.floats() == [1.4765625, 0])
  }

  @Test func layerNormCentresAndScales() throws {
    let a = try floats([1, 3, 2, 2], [2, 2])
    try expect(
      a.layerNorm(weight: floats([2, 2]), bias: floats([1, 0]), eps: 1e-9), [2, 2], [-1, 2, 1, 0], within: 1e-5)
    try expect(a.layerNorm(weight: nil, bias: nil, eps: 1e-9), [2, 2], [-1, 1, 0, 0], within: 1e-5)
    expectError("layerNorm") { try a.layerNorm(weight: try floats([1]), bias: nil, eps: 0) }
    expectError("layer norm") { try Tensor.ones([], dtype: .float32).layerNorm(weight: nil, bias: nil, eps: 0) }
  }

  @Test func cosines() throws {
    let a = try floats([1, 0, 3, 4], [2, 2])
    let b = try floats([0, 2, 6, 8], [2, 2])
    try expect(a.cosineSimilarity(b, dim: -1), [2], [0, 1])
  }

  @Test func convolutionPerChannel() throws {
    let x = try floats([1, 2, 3, 10, 20, 30], [1, 2, 3])
    let weight = try floats([1, 1, 0, 2], [2, 1, 2])
    try expect(
      x.conv1d(weight: weight, bias: floats([0, 1]), padding: 1, groups: 2), [1, 2, 4], [1, 3, 5, 3, 21, 41, 61, 1])
    expectError("conv1d") { try x.conv1d(weight: weight, bias: nil, groups: 1) }
    expectError("conv1d") { try x.conv1d(weight: weight, bias: nil, groups: 0) }
    expectError("conv1d") { try x.conv1d(weight: weight, bias: nil, stride: 0, groups: 2) }
  }

  @Test func lossPerToken() throws {
    let logits = try floats([0, 0, 0, 0.693147181, 0, 0], [3, 2])
    try expect(
      logits.crossEntropy(targets: ints([0, 1, -100])), [3], [0.693147181, 0.405465108, 0])
  }

  @Test func samplingFollowsTheProbabilities() throws {
    try LibTorch.seed(1)
    let p = try floats([0, 3, 1])
    let counts = try p.multinomial(4000, replacement: true).bincount(minimumLength: 3).int64s()
    #expect(counts[0] == 0)
    #expect((2850...3150).contains(counts[1]))
    expectError("multinomial") { try floats([-1, 2]).multinomial(1) }
    expectError("multinomial") { try floats([.nan, 2]).multinomial(1) }
  }
}

@Suite struct Attention {
  /// Equal scores: each position sees the mean of what it may attend to.
  @Test func causalAndGrouped() throws {
    let q = try Tensor.zeros([1, 2, 2, 4], dtype: .float32)
    let k = try Tensor.zeros([1, 1, 2, 4], dtype: .float32)
    let v = try floats([0, 0, 0, 0, 2, 4, 6, 8], [1, 1, 2, 4])
    let y = try Tensor.scaledDotProductAttention(query: q, key: k, value: v, isCausal: true, enableGQA: true)
    try expect(y, [1, 2, 2, 4], [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 1, 2, 3, 4])
  }

  @Test func equalsItsDefinition() throws {
    try LibTorch.seed(7)
    for (heads, kv, tokens, width) in [(4, 4, 5, 8), (6, 2, 33, 16), (3, 1, 1, 5)] {
      let q = try Tensor.randn([2, heads, tokens, width])
      let k = try Tensor.randn([2, kv, tokens, width])
      let v = try Tensor.randn([2, kv, tokens, width])
      let mask = try Tensor.ones([tokens, tokens], dtype: .bool).tril()
      let scale = 0.3
      let scores = try q.matmul(k.repeatInterleave(heads / kv, dim: 1).transpose(-1, -2)).multiplied(by: scale)
      let weights = try scores.maskedFill(mask.logicalNot(), -.infinity).softmax(dim: -1)
      let expected = try weights.matmul(v.repeatInterleave(heads / kv, dim: 1))
      let masked = try Tensor.scaledDotProductAttention(
        query: q, key: k, value: v, mask: mask, scale: scale, enableGQA: true)
      let causal = try Tensor.scaledDotProductAttention(
        query: q, key: k, value: v, isCausal: true, scale: scale, enableGQA: true)
      try expect(masked, [2, heads, tokens, width], expected.floats(), within: 1e-5)
      try expect(causal, [2, heads, tokens, width], expected.floats(), within: 1e-5)
    }
  }

  @Test func shapesThatDoNotFitThrow() throws {
    func zeros(_ shape: [Int]) throws -> Tensor { try Tensor.zeros(shape, dtype: .float32) }
    let q = try zeros([1, 4, 3, 8])
    for (k, v) in [
      ([1, 3, 3, 8], [1, 3, 3, 8]), ([1, 4, 3, 7], [1, 4, 3, 7]), ([1, 4, 5, 8], [1, 4, 4, 8]),
      ([3, 4, 3, 8], [3, 4, 3, 8]), ([1, 2, 3, 8], [1, 4, 3, 8]), ([1, 0, 3, 8], [1, 0, 3, 8]), ([8], [8]),
    ] {
      for gqa in [false, true] {
        expectError("scaledDotProductAttention") {
          try Tensor.scaledDotProductAttention(query: q, key: try zeros(k), value: try zeros(v), enableGQA: gqa)
        }
      }
    }
    expectError("were not asked for") {
      let k = try zeros([1, 2, 3, 8])
      return try Tensor.scaledDotProductAttention(query: q, key: k, value: k)
    }
    expectError("scaledDotProductAttention") {
      try Tensor.scaledDotProductAttention(
        query: q, key: q, value: q, mask: try Tensor.ones([2, 2], dtype: .bool))
    }
  }
}
