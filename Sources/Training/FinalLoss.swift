import Models
import Torch

// Shapes: B rows, S tokens, M = B × S, H hidden.

/// What follows the last layer: final norm, head and losses, there and back.
struct FinalLoss {
  let model: TrainedModel
  let rule: LossRule
  let intermediates: IntermediateLosses?

  /// What a micro-batch has come to.
  struct Found {
    var losses: LossSums
    /// By what leaves the last layer, `[B, S, H]`; nil where nothing is learned.
    var slope: Tensor?
    /// By what leaves other layers, by their 0-based numbers.
    var further: [Int: Tensor] = [:]
  }

  /// - Parameters:
  ///   - pass: has gone through the last layer.
  ///   - theirs: the teacher's states; nil for no teacher.
  ///   - count: micro-batches whose mean is minimised.
  ///   - learns: whether gradients are added to those of final norm and head.
  func callAsFunction(_ pass: StagePass, theirs: Teacher.States?, of count: Int, learns: Bool) throws -> Found {
    let batch = pass.batch
    let (states, norm) = try finalStates(pass.output, wantsGradient: learns)
    let flat = try states.reshape([-1, states.shape[2]]).leaf(wantsGradient: false)
    let head = try StudentHead(model)
    let share = 1 / max(batch.weight, 1) / Double(count)
    let weights = try Tensor(
      batch.flat(batch.shares, filling: 0).map { $0 * Float(share) }, shape: [flat.shape[0]]
    ).to(device: model.device)
    let targets = try Tensor(batch.flat(batch.targets, filling: 0).map(Int64.init), shape: [flat.shape[0]])
      .to(device: model.device)
    let slope = learns ? try Tensor.zeros(flat.shape, dtype: .float32, device: model.device) : nil
    func measured(_ rule: LossRule, _ backward: ((LogitBlock, Tensor) throws -> Void)?) throws -> LossSums {
      try VocabularyLoss(rule: rule, slices: VocabularySlices(for: model.device))(
        flat, head: head, teacher: theirs?.last, targets: targets, weights: weights, backward: backward)
    }
    let isBalanced = rule.isBalanced && learns
    let compared = try learns ? theirs.flatMap { try intermediates?(pass.seen, $0.layers, weights: weights) } : nil
    var loss = isBalanced ? rule.balanced(by: try measured(rule, nil)) : rule
    // What is as large as the text's loss is the divergence and the layers' loss together.
    if isBalanced, compared != nil { loss.divergence /= 2 }
    var losses = try measured(
      loss, slope.map { slope in { try head.backward($1, $0, states: flat, addingTo: slope) } })
    guard let slope else { return Found(losses: losses) }
    losses.intermediate = compared?.value ?? 0
    let further =
      try compared.map {
        try $0.backward(weight: $0.value > 0 ? loss.divergence * losses.divergence / $0.value : 0)
      } ?? [:]
    let last = try slope.to(model.dtype).reshape(states.shape)
    let slopes = try Tensor.gradients(of: [states], given: [last], by: [norm.input] + norm.leaves.map(\.leaf))
    for (slope, leaf) in zip(slopes.dropFirst(), norm.leaves) {
      if let slope { try leaf.parameter.add(slope) }
    }
    return Found(losses: losses, slope: slopes[0] ?? last, further: further)
  }

  /// The final norm, recorded.
  private func finalStates(
    _ h: Tensor, wantsGradient: Bool
  ) throws -> (states: Tensor, record: (input: Tensor, leaves: [(parameter: Parameter, leaf: Tensor)])) {
    let input = try h.leaf(wantsGradient: wantsGradient)
    let leaves = try model.finalNorm().map {
      (parameter: $0, leaf: try model.copy($0).leaf(wantsGradient: wantsGradient))
    }
    let weights = TrainedModel.collect(leaves.map { ($0.parameter.name, $0.leaf) })
    return (try model.description.finalNorm.forward(input, weights: weights), (input, leaves))
  }
}
