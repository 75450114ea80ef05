import Testing
import TestSupport
import Torch
import Training

/// Losses by groups of tokens and slices of the vocabulary against log-softmax over all of it.
@Suite struct VocabularyLossTests {
  private struct Head: SlicedHead {
    let matrix: Tensor
    var vocabulary: Int { matrix.shape[0] }
    func products(_ states: Tensor, _ rows: Range<Int>) throws -> Tensor {
      try states.linear(weight: matrix.narrow(dim: 0, start: rows.lowerBound, length: rows.count))
    }
    func logits(of products: Tensor, _ rows: Range<Int>) throws -> Tensor { products }
  }

  private struct Example {
    let states: Tensor, theirs: Tensor, head: Head, teacher: Head, targets: Tensor, weights: Tensor

    init(vocabulary: Int = 50, tokens: Int = 7) throws {
      var random = SplitMix64(state: 5)
      func tensor(_ shape: [Int]) throws -> Tensor {
        try Tensor((0..<shape.reduce(1, *)).map { _ in Float.random(in: -1...1, using: &random) }, shape: shape)
      }
      states = try tensor([tokens, 6])
      theirs = try tensor([tokens, 4])
      head = Head(matrix: try tensor([vocabulary, 6]))
      teacher = Head(matrix: try tensor([vocabulary, 4]))
      targets = try Tensor((0..<tokens).map { Int64($0 * 13 % vocabulary) }, shape: [tokens])
      weights = try Tensor((0..<tokens).map { $0 == 2 ? 0 : 0.25 }, shape: [tokens])
    }
  }

  /// The losses and the gradient by the states.
  private func compute(
    _ example: Example, _ rule: LossRule, slice: Int, keptBytes: Int, states: Tensor? = nil
  ) throws -> (losses: LossSums, slope: [Float]) {
    let loss = VocabularyLoss(rule: rule, slice: slice, keptBytes: keptBytes, leastTokens: 2)
    let slope = try Tensor.zeros(example.states.shape, dtype: .float32)
    let losses = try loss(
      states ?? example.states, head: example.head, teacher: (example.theirs, example.teacher),
      targets: example.targets, weights: example.weights
    ) { block, gradient in
      try slope.narrow(dim: 0, start: block.tokens.lowerBound, length: block.tokens.count).addMatmul(
        gradient, example.head.matrix.narrow(dim: 0, start: block.rows.lowerBound, length: block.rows.count))
    }
    return (losses, try slope.floats())
  }

  /// From the definition, over the whole vocabulary at once.
  private func whole(_ example: Example, _ rule: LossRule, states: Tensor) throws -> (kl: Double, ce: Double) {
    let ours = try states.linear(weight: example.head.matrix)
    let theirs = try example.theirs.linear(weight: example.teacher.matrix)
    func logarithms(_ logits: Tensor) throws -> Tensor {
      var logits = try logits.divided(by: rule.temperature)
      if let topK = rule.topK {
        logits = try logits.gather(dim: 1, index: theirs.topK(topK, dim: 1).indices)
      }
      return try logits.logSoftmax(dim: 1)
    }
    let (a, b) = (try logarithms(ours), try logarithms(theirs))
    let kl = try b.exp().multiplied(by: b.subtracting(a)).sum(dims: [1]).multiplied(by: example.weights)
      .sum(dtype: .float64).item()
    let picked = try ours.logSoftmax(dim: 1).gather(dim: 1, index: example.targets.unsqueeze(1)).squeeze(1)
    return (
      kl * rule.temperature * rule.temperature,
      -(try picked.multiplied(by: example.weights).sum(dtype: .float64).item())
    )
  }

  static let rules = [
    LossRule(), LossRule(divergence: 0, crossEntropy: 1), LossRule(divergence: 0.7, crossEntropy: 0.3),
    LossRule(topK: 1), LossRule(topK: 5), LossRule(crossEntropy: 0.5, temperature: 2, topK: 20),
    LossRule(temperature: 2), LossRule(divergence: 0.5, crossEntropy: 1, temperature: 3),
  ]

  @Test(arguments: rules, [(50, 1 << 20), (16, 1 << 20), (7, 1200), (7, 0), (1, 0)])
  func slicesAreTheWhole(_ rule: LossRule, _ sizes: (slice: Int, kept: Int)) throws {
    let example = try Example()
    let found = try compute(example, rule, slice: sizes.slice, keptBytes: sizes.kept)
    let expected = try whole(example, rule, states: example.states)
    #expect(abs(found.losses.divergence - expected.kl) < 1e-5)
    #expect(abs(found.losses.crossEntropy - expected.ce) < 1e-5)
  }

  /// The gradient by the states is the slope of the loss along any direction.
  @Test(arguments: rules) func gradientsAreSlopes(_ rule: LossRule) throws {
    let example = try Example()
    let slope = try compute(example, rule, slice: 16, keptBytes: 0).slope
    func loss(_ states: Tensor) throws -> Double {
      let (kl, ce) = try whole(example, rule, states: states)
      return rule.divergence * kl + rule.crossEntropy * ce
    }
    for element in [0, 5, 13, 17, 41] {
      var ahead = try example.states.floats()
      var behind = ahead
      ahead[element] += 0.01
      behind[element] -= 0.01
      let difference =
        try loss(Tensor(ahead, shape: example.states.shape)) - loss(Tensor(behind, shape: example.states.shape))
      #expect(abs(Double(slope[element]) - difference / 0.02) < 2e-4, "element \(element)")
    }
  }

  /// A token without a share changes nothing.
  @Test func whatHasNoShareIsNotLearned() throws {
    let slope = try compute(Example(), LossRule(divergence: 1, crossEntropy: 1), slice: 50, keptBytes: 0).slope
    #expect(slope[12..<18].allSatisfy { $0 == 0 })
    #expect(slope[0..<12].contains { $0 != 0 })
  }

  /// Mixed with cross-entropy, the divergence is made as large as that first.
  @Test func mixedLossesAreBalanced() {
    var losses = LossSums()
    (losses.divergence, losses.crossEntropy) = (0.5, 2)
    let rule = LossRule(divergence: 3, crossEntropy: 1, isBalanced: true).balanced(by: losses)
    #expect(rule.divergence == 12 && rule.crossEntropy == 1)
    #expect(Trainer.loss(losses, LossRule(divergence: 3, crossEntropy: 1, isBalanced: true)) == 8)
  }
}
