import TestSupport
import Testing
import Torch
import Training

/// The divergence of a teacher's likeliest tokens and of all others together.
@Suite struct LikeliestLossTests {
  private func likeliest(_ example: LossExample, _ count: Int, _ temperature: Double, slice: Int) throws
    -> LikeliestTokens
  {
    try LikeliestTokens(
      of: example.theirs, head: example.teacher, LikeliestRule(count: count, temperature: temperature),
      slices: VocabularySlices(slice: slice, keptBytes: 0, leastTokens: 3))
  }

  /// From the definition, in float64 over the whole vocabulary at once: the losses, and the gradient by the states as PyTorch finds it.
  private func whole(_ rule: LossRule, count: Int, spread: Float) throws -> (
    kl: Double, ce: Double, slope: Tensor
  ) {
    try LibTorch.recording {
      let example = try LossExample(spread: spread)
      let states = try example.states.to(.float64).leaf(wantsGradient: true)
      let ours = try states.linear(weight: example.head.matrix.to(.float64))
      let theirs = try example.theirs.to(.float64).linear(weight: example.teacher.matrix.to(.float64))
      let ids = try theirs.topK(count, dim: 1).indices
      let others = try Tensor.ones(theirs.shape, dtype: .float64).scatter(
        dim: 1, index: ids, source: .zeros(ids.shape, dtype: .float64))
      func logarithms(_ logits: Tensor) throws -> Tensor {
        let logs = try logits.divided(by: rule.temperature).logSoftmax(dim: 1)
        let likeliest = try logs.gather(dim: 1, index: ids)
        guard count < example.head.vocabulary else { return likeliest }
        let rest = try logs.exp().multiplied(by: others).sum(dims: [1], keepDim: true).log()
        return try Tensor.cat([likeliest, rest], dim: 1)
      }
      let (a, b) = (try logarithms(ours), try logarithms(theirs))
      let weights = try example.weights.to(.float64)
      let kl = try b.exp().multiplied(by: b.subtracting(a)).sum(dims: [1]).multiplied(by: weights).sum()
        .multiplied(by: rule.temperature * rule.temperature)
      let picked = try ours.logSoftmax(dim: 1).gather(dim: 1, index: example.targets.unsqueeze(1)).squeeze(1)
      let ce = try picked.multiplied(by: weights).sum().negated()
      let loss = try kl.multiplied(by: rule.divergence).adding(ce.multiplied(by: rule.crossEntropy))
      let slope = try #require(
        Tensor.gradients(of: [loss], given: [.ones(loss.shape, dtype: .float64)], by: [states]).first ?? nil)
      return (try kl.item(), try ce.item(), slope)
    }
  }

  static let rules = [
    LossRule(), LossRule(temperature: 2), LossRule(crossEntropy: 0.5), LossRule(divergence: 0, crossEntropy: 1),
    LossRule(divergence: 0.7, crossEntropy: 0.5, temperature: 2), LossRule(temperature: 0.5),
  ]

  /// With logits near one another and far apart, all tokens in one slice and in many.
  @Test(arguments: rules, [1, 2, 5, 20, 49, 50]) func slicesAreTheWhole(_ rule: LossRule, _ count: Int) throws {
    for spread in [Float(1), 8] {
      let example = try LossExample(spread: spread)
      let expected = try whole(rule, count: count, spread: spread)
      let slope = try expected.slope.to(.float32).floats()
      for (slice, kept) in [(50, 1 << 20), (16, 1 << 20), (7, 0), (1, 0)] {
        let teaching = Teaching.likeliest(try likeliest(example, count, rule.temperature, slice: slice))
        let found = try example.compute(rule, teaching, slice: slice, keptBytes: kept)
        #expect(abs(found.losses.divergence - expected.kl) < 1e-5 * max(1, expected.kl))
        #expect(abs(found.losses.crossEntropy - expected.ce) < 1e-5 * max(1, expected.ce))
        #expect(relativeDifference(found.slope, slope) < 2e-5, "\(spread), slices of \(slice)")
      }
    }
  }

  /// Where no token is left out it is the divergence of the whole vocabulary, and never more than that.
  @Test(arguments: rules) func allTokensAreTheWholeDivergence(_ rule: LossRule) throws {
    let example = try LossExample(spread: 3)
    let full = try example.compute(rule, example.allStates, slice: 16, keptBytes: 0)
    var last = 0.0
    for count in [1, 4, 16, 40, 50] {
      let teaching = Teaching.likeliest(try likeliest(example, count, rule.temperature, slice: 16))
      let found = try example.compute(rule, teaching, slice: 16, keptBytes: 0)
      #expect(found.losses.divergence > last)
      last = found.losses.divergence - 1e-5
      guard count == 50 else { continue }
      #expect(abs(found.losses.divergence - full.losses.divergence) < 1e-5 * full.losses.divergence)
      #expect(relativeDifference(found.slope, full.slope) < 2e-5)
    }
  }

  /// Others whose probability is far below what rounding leaves of one are told apart all the same.
  @Test func smallRestsAreFound() throws {
    func head(_ logits: [Float]) throws -> LossExample.Head {
      LossExample.Head(matrix: try Tensor(logits, shape: [4, 1]))
    }
    let state = try Tensor([Float(1)], shape: [1, 1])
    let rule = LikeliestRule(count: 2)
    let found = try LikeliestTokens(of: state, head: head([30, 5, 29, 4]), rule)
    #expect(try found.ids.to(.float32).floats() == [0, 2])
    let logs = try found.logs.floats()
    #expect(abs(logs[2] + 25) < 1e-4, "\(logs)")
    // The student's rest is of e^-60, the teacher's of e^-25: each of the others has to gain, together what the teacher gives to them.
    let slope = try Tensor.zeros([1, 4], dtype: .float32)
    _ = try VocabularyLoss(rule: LossRule(), slices: VocabularySlices(slice: 3))(
      state, head: head([30, -30, 29, -31]), teacher: .likeliest(found), targets: Tensor([Int64(0)], shape: [1]),
      weights: Tensor([Float(1)], shape: [1])
    ) { try slope.narrow(dim: 1, start: $0.rows.lowerBound, length: $0.rows.count).copy(from: $1) }
    let slopes = try slope.floats()
    let rest = Float(1.38879e-11)
    #expect(abs(slopes[1] + slopes[3] + rest) < 1e-4 * rest && abs(slopes[1] / slopes[3] - 2.71828) < 1e-3, "\(slopes)")
  }

  /// In bfloat16 as in float32, within its rounding.
  @Test func bfloat16LogitsAreLearned() throws {
    let example = try LossExample(spread: 4)
    let teaching = Teaching.likeliest(try likeliest(example, 5, 1, slice: 16))
    let rule = LossRule(crossEntropy: 0.5)
    func slopes(_ dtype: DType) throws -> [Float] {
      let slope = try Tensor.zeros([7, 50], dtype: .float32)
      _ = try VocabularyLoss(rule: rule, slices: VocabularySlices(slice: 16))(
        example.states.to(.bfloat16).to(dtype),
        head: LossExample.Head(matrix: example.head.matrix.to(.bfloat16).to(dtype)),
        teacher: teaching, targets: example.targets, weights: example.weights
      ) { block, gradient in
        #expect(gradient.dtype == dtype)
        try slope.narrow(dim: 1, start: block.rows.lowerBound, length: block.rows.count).copy(
          from: gradient.to(.float32))
      }
      return try slope.floats()
    }
    #expect(try relativeDifference(slopes(.bfloat16), slopes(.float32)) < 0.02)
  }
}
