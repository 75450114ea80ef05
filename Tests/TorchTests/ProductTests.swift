import TestSupport
import Testing
import Torch

/// Sums over tokens of products, against float64.
@Suite struct ProductTests {
  private func expected(_ a: Tensor, _ b: Tensor) throws -> [Double] {
    try a.to(.float64).transpose(0, 1).matmul(b.to(.float64)).doubles()
  }

  /// The largest difference, of the largest number.
  private func error(_ found: [Double], _ expected: [Double]) -> Double {
    let largest = expected.map(abs).max() ?? 0
    return zip(found, expected).map { abs($0 - $1) }.reduce(0, max) / max(largest, .leastNormalMagnitude)
  }

  @Test(
    arguments: [
      (DType.bfloat16, DType.bfloat16), (.float32, .float32), (.bfloat16, .float32), (.float32, .bfloat16),
      (.float16, .bfloat16),
    ])
  func sumsAreThoseOfFloat64(_ first: DType, _ second: DType) throws {
    // Around pairs of tokens, what is multiplied at once, and what is put into order at once; around tiles.
    for (tokens, rows, columns) in [(1, 1, 1), (2, 64, 65), (33, 3, 130), (257, 65, 1), (4099, 70, 64)] {
      let (a, b) = (try sample([tokens, rows], first), try sample([tokens, columns], second, seed: 2))
      let total = try sample([rows, columns], .float64, seed: 3)
      let before = try total.doubles()
      try total.addProducts(a, b)
      let added = zip(try total.doubles(), before).map { $0 - $1 }
      #expect(try error(added, expected(a, b)) < 2e-6, "\(tokens) tokens, \(rows) by \(columns)")
    }
  }

  @Test(arguments: [DType.bfloat16, .float32])
  func symmetricSumsHaveTheirUpperTriangle(_ dtype: DType) throws {
    let (tokens, width) = (301, 150)
    let x = try sample([tokens, width], dtype)
    let total = try Tensor.zeros([width, width], dtype: .float64)
    try total.addProducts(x, x, isSymmetric: true)
    #expect(try total.doubles()[(width - 1) * width] == 0, "blocks below the diagonal are not computed")
    try total.mirrorUpper()
    let sums = try total.doubles()
    #expect(try error(sums, expected(x, x)) < 1e-6)
    #expect(
      (0..<width).allSatisfy { row in (0..<width).allSatisfy { sums[row * width + $0] == sums[$0 * width + row] } })
  }

  @Test(arguments: [DType.bfloat16, .float32])
  func columnsOfWiderActivationsAreTaken(_ dtype: DType) throws {
    let wide = try sample([77, 90], dtype)
    let (a, b) = (try wide.narrow(dim: 1, start: 3, length: 20), try wide.transpose(0, 1).contiguous().transpose(0, 1))
    let total = try Tensor.zeros([20, 90], dtype: .float64)
    try total.addProducts(a, b)
    #expect(try error(total.doubles(), expected(a, b)) < 1e-6)
  }

  /// So that float64 sums of them are exact, in any order.
  @Test func sumsAreRounded() throws {
    let grain = 1.0 / 1024
    let (a, b) = (try sample([50, 70], .float32), try sample([50, 66], .float32, seed: 2))
    let total = try Tensor.zeros([70, 66], dtype: .float64)
    try total.addProducts(a, b, rounding: 1.5 * Double(1 << 52) * grain)
    for (found, exact) in zip(try total.doubles(), try expected(a, b)) {
      #expect((found / grain).rounded() == found / grain)
      #expect(abs(found - exact) <= grain * 0.51)
    }
  }

  @Test(arguments: [DType.bfloat16, .float32])
  func theNumbersDoNotDependOnThreads(_ dtype: DType) throws {
    try WholeProcess.alone {
      let threads = try LibTorch.threads
      defer { try? LibTorch.setThreads(threads) }
      let x = try sample([700, 200], dtype)
      let found = try [1, 2, 5].map { threads in
        try LibTorch.setThreads(threads)
        let total = try Tensor.zeros([200, 200], dtype: .float64)
        try total.addProducts(x, x, isSymmetric: true)
        return try total.doubles()
      }
      #expect(found[0] == found[1] && found[0] == found[2])
    }
  }

  @Test func numbersThatAreNotFiniteAreSeen() throws {
    for dtype in [DType.bfloat16, .float32] {
      let x = try Tensor.ones([3, 70], dtype: dtype)
      try x.select(dim: 0, index: 1).narrow(dim: 0, start: 2, length: 1).fill(.nan)
      let total = try Tensor.zeros([70, 70], dtype: .float64)
      try total.addProducts(x, x)
      let sums = try total.doubles()
      #expect(sums[2 * 70].isNaN && sums[2].isNaN && sums[0] == 3 && sums[69 * 70 + 69] == 3)
    }
  }

  @Test func nothingIsAddedOfNoTokens() throws {
    let total = try Tensor.ones([2, 3], dtype: .float64)
    try total.addProducts(.zeros([0, 2], dtype: .float32), .zeros([0, 3], dtype: .float32))
    #expect(try total.doubles() == [1, 1, 1, 1, 1, 1])
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let (a, b) = (try Tensor.ones([4, 2], dtype: .float32), try Tensor.ones([4, 3], dtype: .float32))
    let total = try Tensor.zeros([2, 3], dtype: .float64)
    expectError("same tokens") { try total.addProducts(a, .ones([5, 3], dtype: .float32)) }
    expectError("same tokens") { try total.addProducts(a, .ones([4], dtype: .float32)) }
    expectError("not symmetric") { try total.addProducts(a, b, isSymmetric: true) }
    expectError("does not take") { try total.addProducts(b, a) }
    expectError("does not take") { try Tensor.zeros([2, 3], dtype: .float32).addProducts(a, b) }
    expectError("does not take") { try Tensor.zeros([3, 2], dtype: .float64).transpose(0, 1).addProducts(a, b) }
    expectError("mirrored") { try total.mirrorUpper() }
    expectError("mirrored") { try Tensor.zeros([2, 2], dtype: .float32).mirrorUpper() }
    #expect(try total.doubles() == [0, 0, 0, 0, 0, 0])
  }

  @Test func systemsAreSolvedByTheirFactor() throws {
    let root = try sample([40, 6], .float64)
    let matrix = try root.transpose(0, 1).matmul(root)
    let right = try sample([6, 2], .float64, seed: 2)
    let found = try #require(try matrix.choleskyFactor()).choleskySolve(right)
    #expect(try error(matrix.matmul(found).doubles(), right.doubles()) < 1e-12)
    #expect(try matrix.negated().choleskyFactor() == nil)
    expectError("cholesky") { try Tensor.zeros([2, 3], dtype: .float64).choleskyFactor() }
  }
}
