import Testing
import Torch

@Suite struct Shapes {
  let a: Tensor
  init() throws { a = try Tensor.arange(6, dtype: .float32).reshape([2, 3]) }

  @Test func viewsShareMemory() throws {
    let b = try a.clone()
    try b.select(dim: 0, index: 1).fill(9)
    try b.transpose(0, 1).select(dim: 0, index: 0).add(1)
    try expect(b, [2, 3], [1, 1, 2, 10, 9, 9])
  }

  @Test func dimensionsMove() throws {
    #expect(try a.permute([1, 0]).shape == [3, 2])
    #expect(try a.unsqueeze(-1).shape == [2, 3, 1])
    #expect(try a.unsqueeze(0).squeeze(0).shape == [2, 3])
    #expect(try a.squeeze(0).shape == [2, 3])
    #expect(try a.view([3, 2]).floats() == [0, 1, 2, 3, 4, 5])
    #expect(try a.flatten().shape == [6])
    #expect(try a.unsqueeze(0).flatten(from: 0, to: 1).shape == [2, 3])
    #expect(try Tensor.ones([], dtype: .float32).flatten().shape == [1])
    expectError("view") { try a.transpose(0, 1).view([6]) }
  }

  @Test func partsAndWhole() throws {
    let parts = try a.chunk(2, dim: 1)
    #expect(parts.map(\.shape) == [[2, 2], [2, 1]])
    #expect(try Tensor.cat(parts, dim: 1).equals(a))
    #expect(try a.chunk(7, dim: -1).count == 3)
    let split = try a.split([0, 1, 2], dim: 1)
    try expect(split[2], [2, 2], [1, 2, 4, 5])
    expectError("do not fill") { try a.split([1, 1], dim: 1) }
    expectError("do not fit") { try a.split([1, 3], dim: 1) }
    expectError("do not fit") { try a.split([-1, 4], dim: 1) }
    try expect(Tensor.stack([a, a], dim: 1), [2, 2, 3], [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5])
    expectError("no tensors") { try Tensor.cat([], dim: 0) }
    expectError("cat") { try Tensor.cat([a, try a.transpose(0, 1)], dim: 0) }
  }

  @Test func repetitionAndTriangles() throws {
    try expect(floats([1, 2]).repeatInterleave(2, dim: 0), [4], [1, 1, 2, 2])
    try expect(a.flip([1]), [2, 3], [2, 1, 0, 5, 4, 3])
    try expect(Tensor.ones([2, 3], dtype: .float32).tril(), [2, 3], [1, 0, 0, 1, 1, 0])
    try expect(Tensor.ones([2, 3], dtype: .float32).triu(diagonal: 1), [2, 3], [0, 1, 1, 0, 0, 1])
    expectError("repeat") { try a.repeatInterleave(-1, dim: 0) }
  }

  @Test func indexing() throws {
    try expect(a.indexSelect(dim: 1, ints([2, 0])), [2, 2], [2, 0, 5, 3])
    try expect(a.gather(dim: 1, index: ints([2, 0], [2, 1])), [2, 1], [2, 3])
    try expect(
      a.scatter(dim: 1, index: ints([1, 2], [2, 1]), source: floats([8, 9], [2, 1])), [2, 3], [0, 8, 2, 3, 4, 9])
    try expect(
      a.scatterAdd(dim: 1, index: ints([1, 1], [1, 2]), source: floats([8, 9], [1, 2])), [2, 3], [0, 18, 2, 3, 4, 5])
    let b = try Tensor.zeros([3, 1], dtype: .float32)
    try b.indexAdd(dim: 0, index: ints([2, 2]), source: floats([3, 4], [2, 1]))
    try b.indexCopy(dim: 0, index: ints([0]), source: floats([5], [1, 1]))
    try expect(b, [3, 1], [5, 0, 7])
    #expect(try a.gt(3).nonzero().int64s() == [1, 1, 1, 2])
    #expect(try ints([0, 2, 2]).bincount(minimumLength: 4).int64s() == [1, 0, 2, 0])
    try expect(a.maskedFill(a.lt(4), -1), [2, 3], [-1, -1, -1, -1, 4, 5])
    try expect(Tensor.where(a.ge(4), a, floats([7])), [2, 3], [7, 7, 7, 7, 4, 5])
  }

  @Test func indicesOutOfRangeThrow() throws {
    let weight = try Tensor.zeros([3, 2], dtype: .float32)
    let logits = try Tensor.zeros([1, 3], dtype: .float32)
    for index: Int64 in [3, -4, .max, .min] {
      let one = try ints([index])
      let source = try floats([1], [1, 1])
      expectError("index") { try weight.indexSelect(dim: 0, one) }
      expectError("index") { try Tensor.embedding(weight: weight, indices: one) }
      expectError("out of bounds") { try weight.gather(dim: 0, index: try one.reshape([1, 1])) }
      expectError("out of bounds") { try weight.scatter(dim: 0, index: try one.reshape([1, 1]), source: source) }
      expectError("out of bounds") { try weight.scatterAdd(dim: 0, index: try one.reshape([1, 1]), source: source) }
      expectError("index") {
        try weight.indexAdd(dim: 0, index: one, source: try Tensor.ones([1, 2], dtype: .float32))
      }
      expectError("ind") { try weight.indexCopy(dim: 0, index: one, source: try Tensor.ones([1, 2], dtype: .float32)) }
      expectError("out of bounds") { try logits.crossEntropy(targets: one) }
    }
    expectError("bincount") { try ints([-1]).bincount() }
  }
}

@Suite struct Pointwise {
  @Test func arithmetic() throws {
    let a = try floats([1, 2, 4])
    let b = try floats([2, 2, 0.5])
    try expect(a.adding(b), [3], [3, 4, 4.5])
    try expect(a.subtracting(b), [3], [-1, 0, 3.5])
    try expect(a.multiplied(by: b), [3], [2, 4, 2])
    try expect(a.divided(by: b), [3], [0.5, 1, 8])
    try expect(a.adding(1).subtracting(2).multiplied(by: 4).divided(by: 2), [3], [0, 2, 6])
    try expect(a.negated(), [3], [-1, -2, -4])
    try expect(a.pow(2), [3], [1, 4, 16])
    try expect(a.pow(b), [3], [1, 4, 2])
    try expect(a.maximum(b), [3], [2, 2, 4])
    try expect(a.minimum(b), [3], [1, 2, 0.5])
    try expect(a.adding(floats([10, 20], [2, 1])), [2, 3], [11, 12, 14, 21, 22, 24])
    expectError("adding: The size of tensor a (3) must match the size of tensor b (2)") {
      try a.adding(try floats([1, 2]))
    }
  }

  @Test func arithmeticInPlace() throws {
    let a = try floats([1, 2])
    try a.add(floats([1, 1]))
    try a.add(2)
    try a.subtract(floats([0, 1]))
    try a.subtract(1)
    try a.multiply(by: floats([2, 3]))
    try a.multiply(by: 2)
    try a.divide(by: floats([1, 2]))
    try a.divide(by: 3)
    try expect(a, [2], [4, 3])
    try a.add(floats([1, 1]), scaledBy: -2)
    try a.addProduct(floats([2, 3]), floats([4, 5]), scaledBy: 0.5)
    try expect(a, [2], [6, 8.5])
    try a.copy(from: ints([7]))
    try expect(a, [2], [7, 7])
    expectError("add") { try a.add(try Tensor.ones([3, 2], dtype: .float32)) }
  }

  @Test func integersStayIntegers() throws {
    let a = try ints([7, -7])
    #expect(try a.adding(1).int64s() == [8, -6])
    #expect(try a.multiplied(by: a).int64s() == [49, 49])
    #expect(try a.floorDivided(by: 2).int64s() == [3, -4])
    #expect(try a.remainder(4).int64s() == [3, 1])
    #expect(try a.divided(by: 2).floats() == [3.5, -3.5])
    #expect(try a.multiplied(by: 0.5).dtype == .float32)
    #expect(try a.adding(.nan).dtype == .float32)
    expectError("ZeroDivisionError") { try a.floorDivided(by: 0) }
    expectError("ZeroDivisionError") { try a.remainder(0) }
    expectError("can't be cast") { try a.multiply(by: 0.5) }
  }

  @Test func functions() throws {
    let a = try floats([-1, 0, 1])
    try expect(a.abs(), [3], [1, 0, 1])
    try expect(a.square(), [3], [1, 0, 1])
    try expect(a.exp(), [3], [0.367879441, 1, 2.718281828])
    try expect(a.tanh(), [3], [-0.761594156, 0, 0.761594156])
    try expect(a.sigmoid(), [3], [0.268941421, 0.5, 0.731058579])
    try expect(a.silu(), [3], [-0.268941421, 0, 0.731058579])
    try expect(a.relu(), [3], [0, 0, 1])
    try expect(a.gelu(), [3], [-0.158655254, 0, 0.841344746])
    try expect(a.gelu(approximate: .tanh), [3], [-0.158808009, 0, 0.841191991])
    try expect(a.softplus(), [3], [0.313261688, 0.693147181, 1.313261688])
    try expect(a.cos(), [3], [0.540302306, 1, 0.540302306])
    try expect(a.sin(), [3], [-0.841470985, 0, 0.841470985])
    try expect(a.clamp(min: -0.5), [3], [-0.5, 0, 1])
    try expect(a.clamp(min: -0.5, max: 0.25), [3], [-0.5, 0, 0.25])
    let b = try floats([0.25, 4])
    try expect(b.sqrt(), [2], [0.5, 2])
    try expect(b.rsqrt(), [2], [2, 0.5])
    try expect(b.reciprocal(), [2], [4, 0.25])
    try expect(b.log(), [2], [-1.386294361, 1.386294361])
    try expect(b.log1p(), [2], [0.223143551, 1.609437912])
    let c = try a.clone()
    try c.applySiLU()
    try expect(c, [3], [-0.268941421, 0, 0.731058579])
    expectError("clamp") { try a.clamp() }
  }

  /// A vector's last elements are computed as the others, so that a sequence's numbers do not depend on what lies beside it.
  @Test(arguments: [DType.float32, .bfloat16]) func functionsDoNotDependOnThePlace(_ dtype: DType) throws {
    let values = (0..<4003).map { Float(($0 * 7919) % 4003) / 400 - 5 }
    let all = try floats(values).to(dtype)
    for function: (Tensor) throws -> Tensor in [{ try $0.sigmoid() }, { try $0.silu() }, { try $0.softplus() }] {
      let together = try function(all).floats()
      for (index, expected) in together.enumerated() {
        #expect(try function(all.narrow(dim: 0, start: index, length: 1)).floats() == [expected])
      }
    }
  }

  @Test func comparisons() throws {
    let a = try floats([1, 2, 3])
    let b = try floats([3, 2, 1])
    #expect(try a.eq(b).bools() == [false, true, false])
    #expect(try a.ne(2).bools() == [true, false, true])
    #expect(try a.gt(b).bools() == [false, false, true])
    #expect(try a.ge(b).bools() == [false, true, true])
    #expect(try a.lt(b).bools() == [true, false, false])
    #expect(try a.le(2).bools() == [true, true, false])
    #expect(try a.gt(1).logicalAnd(a.lt(3)).bools() == [false, true, false])
    #expect(try a.lt(2).logicalOr(a.gt(2)).logicalNot().bools() == [false, true, false])
    #expect(try floats([1, .nan, .infinity]).isFinite().bools() == [true, false, false])
  }
}

@Suite struct Reductions {
  let a: Tensor
  init() throws { a = try floats([1, 2, 3, 4, 5, 9], [2, 3]) }

  @Test func overSomeAndAllDimensions() throws {
    try expect(a.sum(), [], [24])
    try expect(a.sum(dims: [0]), [3], [5, 7, 12])
    try expect(a.sum(dims: [-1], keepDim: true), [2, 1], [6, 18])
    try expect(a.mean(dims: [1]), [2], [2, 6])
    try expect(a.amax(dims: [0]), [3], [4, 5, 9])
    try expect(a.amin(), [], [1])
    try expect(a.norm(p: 1, dims: [1]), [2], [6, 18])
    try expect(a.norm(p: 2, dims: [0]), [3], [4.123105626, 5.385164807, 9.486832981])
    try expect(a.norm(p: .infinity), [], [9])
    try expect(a.logSumExp(dims: [1]), [2], [3.407605964, 9.024744890])
    try expect(a.cumsum(dim: 1), [2, 3], [1, 3, 6, 4, 9, 18])
    expectError("mean") { try ints([1, 2]).mean() }
    expectError("amax") { try floats([]).amax() }
  }

  @Test func sumsInAWiderType() throws {
    let ones = try Tensor.ones([4096], dtype: .bfloat16)
    try ones.multiply(by: 1.0078125)
    #expect(try ones.sum(dtype: .float32).item() == 4128)
    #expect(try ones.mean(dtype: .float32).dtype == .float32)
    #expect(try ones.norm(p: 2, dtype: .float64).dtype == .float64)
    #expect(try Tensor.ones([300], dtype: .bool).sum().item() == 300)
  }

  @Test func orders() throws {
    #expect(try floats([1, 3, 3]).argmax(dim: 0).int64s() == [1])
    let top = try a.topK(2, dim: 1)
    try expect(top.values, [2, 2], [3, 2, 9, 5])
    #expect(try top.indices.int64s() == [2, 1, 2, 1])
    #expect(try a.topK(1, dim: 1, largest: false).indices.int64s() == [0, 0])
    let sorted = try floats([2, 1, 2, 1]).sort(dim: 0, descending: true)
    #expect(try sorted.values.floats() == [2, 2, 1, 1])
    #expect(try sorted.indices.int64s() == [0, 2, 1, 3])
    expectError("topK") { try a.topK(4, dim: 1) }
    expectError("topK") { try a.topK(-1, dim: 1) }
  }

  @Test func softmaxes() throws {
    let b = try floats([0, Float(2.0.squareRoot()), 1000], [1, 3])
    try expect(b.softmax(dim: -1), [1, 3], [0, 0, 1])
    try expect(floats([0, 0.693147181]).softmax(dim: 0), [2], [0.333333333, 0.666666667])
    try expect(floats([0, 0.693147181]).logSoftmax(dim: 0), [2], [-1.098612289, -0.405465108])
    #expect(try b.to(.bfloat16).softmax(dim: -1, dtype: .float32).dtype == .float32)
  }

  @Test func tests() throws {
    #expect(try a.allFinite())
    #expect(try !floats([1, .nan]).allFinite())
    #expect(try !floats([1, -.infinity]).to(.bfloat16).allFinite())
    #expect(try ints([1, 2]).allFinite())
    #expect(try a.all())
    #expect(try !floats([0, 1]).all())
    #expect(try floats([0, 1]).any())
    #expect(try a.equals(a.clone()))
    #expect(try !a.equals(a.transpose(0, 1)))
  }
}
