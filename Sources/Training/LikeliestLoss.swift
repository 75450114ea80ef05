import Torch

// Shapes: M tokens, V vocabulary, R rows of a slice of it, K of its tokens.

extension VocabularyLoss {
  /// The losses of some tokens, of which K + 1 outcomes are known: the teacher's K likeliest tokens, and that it is another.
  ///
  /// With p and q of teacher and student at the rule's temperature, the last of them of the other tokens together, the divergence is
  /// Σ p (log p − log q) over the K + 1. It never is more than that of the whole vocabulary. The gradient by a logit × temperature is q − p
  /// for each of the K, and for another token v it is q_v − p_last × q_v / q_last: as if the teacher gave to the others, one by one, what
  /// it gives to them together in the student's proportions. So the student's own logits stand for the teacher's there, with another sum
  /// that they are divided by.
  func measure(
    _ group: TokenGroup, _ own: SlicedLogits, likeliest: LikeliestTokens,
    _ backward: ((LogitBlock, Tensor) throws -> Void)?
  ) throws -> LossSums {
    var own = own
    let rows = slices.rows(of: own.vocabulary)
    let (ids, targets, temperature) = (likeliest.ids, group.targets, rule.temperature)
    var targetLogits = try Tensor.zeros(targets.shape, dtype: .float32, device: targets.device)
    var plain: [Tensor] = []
    let found = try own.outcomes(of: ids, rows, scale: 1 / temperature) { logits, rows in
      targetLogits = try targetLogits.adding(SlicePlaces(targets, rows).picked(of: logits))
      if temperature != 1 { plain.append(try logits.logSums()) }
    }
    let sums = temperature == 1 ? found.sum : try SlicedLogits.joined(plain)
    let shares = try likeliest.logs.exp()
    var losses = LossSums()
    losses.crossEntropy = try group.sum(sums.subtracting(targetLogits))
    losses.divergence =
      try group.sum(shares.multiplied(by: likeliest.logs.subtracting(found.logs)).sum(dims: [1])) * temperature
      * temperature
    guard let backward else { return losses }

    let factor = rule.divergence * temperature
    // A target among the K has its part there, before anything is rounded.
    let isTarget = try ids.eq(targets.unsqueeze(1)).to(.float32)
    let text = try found.logits.subtracting(sums.unsqueeze(1)).exp().subtracting(isTarget)
    let differences = try found.logs.exp().subtracting(shares).narrow(dim: 1, 0..<ids.shape[1])
    let slopes = try differences.multiplied(by: factor).adding(text.multiplied(by: rule.crossEntropy))
      .multiplied(by: group.weights.unsqueeze(1))
    let none = try Tensor.full(targets.shape, -1, dtype: .int64, device: targets.device)
    let others = try Tensor.where(isTarget.amax(dims: [1]).gt(0), none, targets)
    let change = try found.logs.subtracting(likeliest.logs).select(dim: 1, index: ids.shape[1])
    let terms = VocabularyTerms(
      plain: sums, soft: (own: found.sum, teacher: try found.sum.adding(change)), least: nil, weights: group.weights,
      scale: 1 / temperature, divergence: factor, crossEntropy: rule.crossEntropy)
    for rows in rows {
      let (logits, places) = (try own.last(rows), try SlicePlaces(ids, rows))
      let rest = try places.leftOut(of: logits)
      let slope = try terms(
        rest, teacher: rest, targets: others.subtracting(Double(rows.lowerBound)), wantsSlope: true
      ).slope
      guard let slope else { continue }
      try backward(LogitBlock(tokens: group.tokens, rows: rows, logits: logits), places.adding(slopes, to: slope))
    }
    return losses
  }
}
