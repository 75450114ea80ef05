import TestSupport
import Torch
import Training

/// A student's and a teacher's states of a few tokens, with heads of a small vocabulary.
struct LossExample {
  struct Head: SlicedHead {
    let matrix: Tensor
    var vocabulary: Int { matrix.shape[0] }
    func products(_ states: Tensor, _ rows: Range<Int>) throws -> Tensor {
      try states.linear(weight: matrix.narrow(dim: 0, start: rows.lowerBound, length: rows.count))
    }
    func logits(of products: Tensor, _ rows: Range<Int>) throws -> Tensor { products }
  }

  let states: Tensor, theirs: Tensor, head: Head, teacher: Head, targets: Tensor, weights: Tensor

  /// - Parameter spread: what logits are multiplied by.
  init(vocabulary: Int = 50, tokens: Int = 7, spread: Float = 1) throws {
    var random = SplitMix64(state: 5)
    func tensor(_ shape: [Int], _ largest: Float = 1) throws -> Tensor {
      try Tensor(
        (0..<shape.reduce(1, *)).map { _ in Float.random(in: -largest...largest, using: &random) }, shape: shape)
    }
    states = try tensor([tokens, 6])
    theirs = try tensor([tokens, 4])
    head = Head(matrix: try tensor([vocabulary, 6], spread))
    teacher = Head(matrix: try tensor([vocabulary, 4], spread))
    targets = try Tensor((0..<tokens).map { Int64($0 * 13 % vocabulary) }, shape: [tokens])
    weights = try Tensor((0..<tokens).map { $0 == 2 ? 0 : 0.25 }, shape: [tokens])
  }

  /// All that is to be known of the teacher.
  var allStates: Teaching { .states(theirs, head: teacher) }

  /// The losses and the gradient by the states.
  func compute(
    _ rule: LossRule, _ teaching: Teaching, slice: Int, keptBytes: Int
  ) throws -> (losses: LossSums, slope: [Float]) {
    let slices = VocabularySlices(slice: slice, keptBytes: keptBytes, leastTokens: 2)
    let slope = try Tensor.zeros(states.shape, dtype: .float32)
    let losses = try VocabularyLoss(rule: rule, slices: slices)(
      states, head: head, teacher: teaching, targets: targets, weights: weights
    ) { block, gradient in
      try slope.narrow(dim: 0, start: block.tokens.lowerBound, length: block.tokens.count).addMatmul(
        gradient, head.matrix.narrow(dim: 0, start: block.rows.lowerBound, length: block.rows.count))
    }
    return (losses, try slope.floats())
  }
}
