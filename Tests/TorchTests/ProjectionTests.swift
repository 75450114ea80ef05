import TestSupport
import Testing
import Torch

/// Float32 products large enough for oneDNN, and small ones, against float64: however factors lie in memory.
@Suite struct ProjectionTests {
  static let sizes = [[3, 8, 8], [300, 192, 512], [65, 1024, 640], [2, 1500, 4500]]

  private func wide(_ x: Tensor) throws -> Tensor { try x.to(.float64) }

  private func expectClose(
    _ found: Tensor?, _ expected: Tensor, _ comment: String = "", sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let found = try #require(found, sourceLocation: sourceLocation)
    #expect(found.shape == expected.shape && found.dtype == .float32, sourceLocation: sourceLocation)
    let error = try wide(found).subtracting(expected).abs().amax().item()
    let largest = try expected.abs().amax().item()
    #expect(error <= 2e-6 * largest, "\(comment): off by \(error) of \(largest)", sourceLocation: sourceLocation)
  }

  @Test(arguments: sizes) func factorsMayLieInAnyOrder(_ size: [Int]) throws {
    let (rows, inputs, outputs) = (size[0], size[1], size[2])
    let x = try Tensor.randn([rows, inputs])
    let weight = try Tensor.randn([outputs, inputs])
    let bias = try Tensor.randn([outputs])
    let expected = try wide(x).matmul(wide(weight).transpose(0, 1))
    let across = try Tensor.randn([outputs, inputs + 3]).narrow(dim: 1, start: 2, length: inputs)
    let other = try wide(x).matmul(wide(across).transpose(0, 1))
    func turned(_ tensor: Tensor) throws -> Tensor { try tensor.transpose(0, 1).contiguous().transpose(0, 1) }
    for (input, name) in [(x, "plain"), (try turned(x), "turned")] {
      try expectClose(input.linear(weight: weight), expected, name)
      try expectClose(input.linear(weight: weight, bias: bias), expected.adding(wide(bias)), name)
      try expectClose(input.linear(weight: turned(weight)), expected, name)
      try expectClose(input.linear(weight: across), other, name)
      try expectClose(input.matmul(weight.transpose(0, 1)), expected, name)
      try expectClose(input.matmul(turned(weight).transpose(0, 1)), expected, name)
    }
    let three = try x.reshape([rows, 1, inputs]).expand([rows, 2, inputs])
    let twice = try expected.reshape([rows, 1, outputs]).expand([rows, 2, outputs])
    try expectClose(three.linear(weight: weight), twice)
    #expect(try Tensor.zeros([0, inputs], dtype: .float32).linear(weight: weight).shape == [0, outputs])
    expectError("linear") { try Tensor.zeros([4000, inputs + 1], dtype: .float32).linear(weight: weight) }
  }

  @Test(arguments: sizes, [DType.float32, .bfloat16]) func productsAreAddedInPlace(_ size: [Int], _ dtype: DType) throws
  {
    let a = try Tensor.randn([size[0], size[1]]).to(dtype)
    let b = try Tensor.randn([size[1], size[2]]).to(dtype)
    let start = try Tensor.randn([size[0], size[2] + 5])
    let total = try start.clone()
    let part = try total.narrow(dim: 1, start: 2, length: size[2])
    try part.addMatmul(a, b)
    let product = dtype == .float32 ? try wide(a).matmul(wide(b)) : try wide(a.matmul(b))
    try expectClose(part.clone(), wide(start.narrow(dim: 1, start: 2, length: size[2])).adding(product))
    #expect(try total.narrow(dim: 1, start: 0, length: 2).equals(start.narrow(dim: 1, start: 0, length: 2)))
    expectError("addMatmul") { try total.addMatmul(a, b) }
  }

  @Test(arguments: sizes) func gradientsAreProducts(_ size: [Int]) throws {
    let slope = try Tensor.randn([2, size[0], size[2]])
    try LibTorch.recording {
      let x = try Tensor.randn([2, size[0], size[1]]).leaf(wantsGradient: true)
      let weight = try Tensor.randn([size[2], size[1]]).leaf(wantsGradient: true)
      let bias = try Tensor.randn([size[2]]).leaf(wantsGradient: true)
      let flat = (
        slope: try wide(slope).reshape([-1, size[2]]), x: try wide(x.leaf(wantsGradient: false)).reshape([-1, size[1]])
      )
      let byX = try flat.slope.matmul(wide(weight.leaf(wantsGradient: false))).reshape(x.shape)
      let byWeight = try flat.slope.transpose(0, 1).matmul(flat.x)
      let found = try Tensor.gradients(
        of: [x.linear(weight: weight, bias: bias)], given: [slope], by: [x, weight, bias])
      try expectClose(found[0], byX)
      try expectClose(found[1], byWeight)
      try expectClose(found[2], flat.slope.sum(dims: [0]))
      // What learns nothing costs nothing.
      let fixed = try weight.leaf(wantsGradient: false)
      try expectClose(Tensor.gradients(of: [x.linear(weight: fixed)], given: [slope], by: [x])[0], byX)
      let given = try x.leaf(wantsGradient: false)
      try expectClose(Tensor.gradients(of: [given.linear(weight: weight)], given: [slope], by: [weight])[0], byWeight)
      // The other factor is needed on the way back, and may not be changed under it.
      let made = try x.linear(weight: weight)
      try weight.add(1)
      try expectClose(Tensor.gradients(of: [made], given: [slope], by: [x])[0], byX)
    }
  }
}
