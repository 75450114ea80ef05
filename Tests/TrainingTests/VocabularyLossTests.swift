import Testing
import TestSupport
import Torch
import Training

/// Losses by groups of tokens and slices of the vocabulary against log-softmax over all of it.
@Suite struct VocabularyLossTests {
  /// From the definition, over the whole vocabulary at once.
  private func whole(_ example: LossExample, _ rule: LossRule, states: Tensor) throws -> (kl: Double, ce: Double) {
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
    let example = try LossExample()
    let found = try example.compute(rule, example.allStates, slice: sizes.slice, keptBytes: sizes.kept)
    let expected = try whole(example, rule, states: example.states)
    #expect(abs(found.losses.divergence - expected.kl) < 1e-5)
    #expect(abs(found.losses.crossEntropy - expected.ce) < 1e-5)
  }

  /// The gradient by the states is the slope of the loss along any direction.
  @Test(arguments: rules) func gradientsAreSlopes(_ rule: LossRule) throws {
    let example = try LossExample()
    let slope = try example.compute(rule, example.allStates, slice: 16, keptBytes: 0).slope
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
    let example = try LossExample()
    let rule = LossRule(divergence: 1, crossEntropy: 1)
    let slope = try example.compute(rule, example.allStates, slice: 50, keptBytes: 0).slope
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
