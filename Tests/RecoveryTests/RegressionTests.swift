import Recovery
import Testing
import Torch

@Suite struct RegressionTests {
  private func rows(_ count: Int, _ width: Int, _ value: (Int, Int) -> Float) throws -> Tensor {
    try Tensor((0..<count).flatMap { row in (0..<width).map { value(row, $0) } }, shape: [count, width])
  }

  /// Values that look random, the same in every run.
  private func noise(_ row: Int, _ column: Int) -> Float {
    Float((row * 7919 + column * 104_729 + row * column * 31) % 211) / 105 - 1
  }

  private func moments(_ x: Tensor, _ y: Tensor, rows: Int) throws -> DividedMoments {
    let moments = try DividedMoments(inputs: x.shape[1], targets: y.shape[1])
    let division = try RowDivision([Array(repeating: x.shape[0] / rows, count: rows)])
    try moments.add(x, y, division.batches[0])
    return moments
  }

  @Test func whatIsLinearIsFound() throws {
    let x = try rows(160, 5, noise)
    let truth = try rows(3, 5) { Float($0 + 1) * 0.5 - Float($1) * 0.25 }
    let regression = try RidgeRegression(moments: try moments(x, x.linear(weight: truth), rows: 16))
    let found = try #require(try regression.solve(towards: .zeros([3, 5], dtype: .float32)))
    #expect(found.ridge == 1e-5, "nothing is uncertain")
    for (a, b) in zip(try found.weight.floats(), try truth.floats()) { #expect(abs(a - b) < 1e-3) }
  }

  @Test func aBiasIsAnInputThatIsOne() throws {
    let x = try rows(160, 2, noise).withOnes()
    let truth = try rows(1, 3) { [2, -1, 5][$0 + $1] }
    let regression = try RidgeRegression(moments: try moments(x, x.linear(weight: truth), rows: 16))
    let found = try #require(try regression.solve(towards: .zeros([1, 3], dtype: .float32))?.weight.floats())
    #expect(zip(found, [2, -1, 5]).allSatisfy { abs($0 - $1) < 1e-2 }, "\(found)")
  }

  /// Never worse on rows that were not solved with.
  @Test func whatIsNoBetterIsLeftAsItWas() throws {
    let x = try rows(64, 6, noise)
    let truth = try rows(2, 6, noise)
    let y = try x.linear(weight: truth)
    let regression = try RidgeRegression(moments: try moments(x, y, rows: 8))
    #expect(try regression.solve(towards: truth) == nil, "nothing is better than what is right")
    // Of two rows the one that is solved with says nothing of the other.
    let other = try Tensor.cat([x.narrow(dim: 0, start: 0, length: 8), x.narrow(dim: 0, start: 8, length: 8)], dim: 0)
    let signs = try Tensor.cat(
      [y.narrow(dim: 0, start: 0, length: 8).negated(), y.narrow(dim: 0, start: 8, length: 8)], dim: 0)
    #expect(try RidgeRegression(moments: moments(other, signs, rows: 2)).solve(towards: truth) == nil)
  }

  @Test func uselessInputsAreRefused() throws {
    let y = try rows(64, 1, noise)
    let sliced = try Tensor.ones([1, 3], dtype: .float32)
    for value in [Float.nan, .infinity, 0] {
      let x = try rows(64, 3) { _, _ in value }
      #expect(try RidgeRegression(moments: moments(x, y, rows: 8)).solve(towards: sliced) == nil, "\(value)")
    }
    // A channel that never changes and one that is twice another: the ridge makes it solvable.
    let x = try rows(64, 3) { row, column in column == 0 ? 1 : noise(row, 1) * Float(column) }
    let target = try x.linear(weight: rows(1, 3) { _, column in Float(column) })
    let found = try #require(try RidgeRegression(moments: moments(x, target, rows: 8)).solve(towards: sliced))
    #expect(try found.weight.allFinite())
    // One row cannot be judged by another.
    #expect(try RidgeRegression(moments: moments(x, target, rows: 1)).solve(towards: sliced) == nil)
  }

  /// With many inputs ridges are tried in float32, on some outputs; with many outputs maps share what is solved.
  @Test(arguments: [(1100, 40, 7), (24, 600, 24), (24, 600, 2000), (1100, 530, 20)])
  func whatIsFoundIsTheClosedForm(_ inputs: Int, _ outputs: Int, _ middle: Int) throws {
    // More rows than inputs, so that there is something to find.
    let x = try rows(max(2 * inputs, 256), inputs, noise)
    let y = try x.matmul(rows(inputs, middle) { noise($0 + 3, $1 + 5) }).adding(
      rows(x.shape[0], middle) { noise($1 + 11, $0) })
    let (map, sliced) = (try rows(outputs, middle) { noise($0 + 17, $1) }, try rows(outputs, inputs) { noise($1, $0) })
    let moments = try moments(x, y, rows: 8)
    let regression = try RidgeRegression(moments: moments)
    let found = try #require(try regression.solve(towards: sliced, targets: map))
    let gram = try moments.solved.inputs
    let scale =
      try x.narrow(dim: 0, start: 0, length: x.shape[0] / 8 * 7).to(.float64).square().sum().item() / Double(inputs)
    var identity = [Double](repeating: 0, count: inputs * inputs)
    for number in 0..<inputs { identity[number * (inputs + 1)] = found.ridge * scale }
    let ridge = try identity.withUnsafeBytes { try Tensor(bytes: $0, shape: [inputs, inputs], dtype: .float64) }
    // W (G + λ I) is what it should be.
    let right = try map.to(.float64).matmul(moments.solved.targets).adding(sliced.to(.float64).matmul(ridge))
    let wrong = try found.weight.to(.float64).matmul(gram.adding(ridge)).subtracting(right)
    #expect(try wrong.square().sum().item() < 1e-10 * right.square().sum().item())
    // A second time, with what was kept of the first.
    #expect(try regression.solve(towards: sliced, targets: map)?.weight.equals(found.weight) == true)
  }

  @Test func everyEighthRowIsHeldBack() throws {
    let division = try RowDivision([[2, 1, 3], [1, 1, 1, 1], [2, 2]])
    #expect(division.batches[0].heldBack == nil && division.batches[0].solved == nil, "all are solved with")
    #expect(division.batches[1].heldBack == nil)
    #expect(try division.batches[2].heldBack?.int64s() == [0, 1])
    #expect(try division.batches[2].solved?.int64s() == [2, 3])
    let few = try RowDivision([[2, 1], [3]])
    #expect(few.batches[0].heldBack == nil)
    #expect(try few.batches[1].heldBack?.int64s() == [0, 1, 2] && few.batches[1].solved == nil)
    #expect(try RowDivision([[5]]).batches[0].heldBack == nil, "of one row none")
  }
}
