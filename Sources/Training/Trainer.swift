import Execution
import Models
public import Ranks
import Torch

// Shapes: B rows, S tokens, M = B × S, H hidden.

/// How a model is trained.
public struct TrainingRule: Sendable, Equatable {
  public var loss: LossRule
  public var rate: LearningRate
  /// What weights shrink by at each step, × the learning rate: matrices only.
  public var weightDecay: Double
  /// Gradients are scaled down to this norm where theirs is larger; 0 for never.
  public var clip: Double
  /// Whether what lies between a layer's ends is computed again on the way back, which saves its memory.
  public var recomputes: Bool

  public init(
    loss: LossRule = LossRule(), rate: LearningRate, weightDecay: Double = 0.033, clip: Double = 1,
    recomputes: Bool = true
  ) {
    (self.loss, self.rate, self.weightDecay, self.clip, self.recomputes) = (loss, rate, weightDecay, clip, recomputes)
  }
}

/// What a step came to.
public struct StepOutcome: Sendable, Equatable {
  /// The step's number, from 1.
  public let step: Int
  /// Means over the tokens that are learned.
  public let losses: LossSums
  /// What was minimised.
  public let loss: Double
  /// Of the gradients, before they are clipped.
  public let gradientNorm: Double
  public let rate: Double
  public let tokens: Int

  /// Whether anything in it is not a number, so that the weights were left as they are.
  public var isBroken: Bool { !loss.isFinite || !gradientNorm.isFinite }
}

/// Trains a model to give a teacher's distributions.
public final class Trainer {
  public let model: TrainedModel
  public let rule: TrainingRule
  private let teacher: Teacher?
  private let intermediates: IntermediateLosses?
  /// Steps that are done.
  public internal(set) var step = 0

  let world: World
  let ownership: Ownership
  /// By the width of a batch.
  private var positions: [Int: Positions] = [:]

  /// - Parameters:
  ///   - pairs: layers whose results should be like the teacher's, besides the distributions.
  ///   - world: processes that learn together, all with the same model, rule and batches.
  public init(
    _ model: TrainedModel, teacher: Teacher?, rule: TrainingRule, pairs: [LayerPair] = [], world: World = .alone
  ) throws {
    (self.model, self.teacher, self.rule, self.world) = (model, teacher, rule, world)
    intermediates = try teacher.flatMap { teacher in
      pairs.isEmpty ? nil : try IntermediateLosses(pairs, model, teacherWidth: teacher.width)
    }
    ownership = Ownership(model.parameters, world)
    for (number, parameter) in model.parameters.enumerated() where ownership.isOwn(number) {
      try parameter.reserveMoments()
    }
  }

  /// Learns from these micro-batches together: one step of the optimizer.
  ///
  /// The loss is the mean over micro-batches of the means over their tokens, as Megatron's is.
  public func learn(from batches: [TrainingBatch]) throws -> StepOutcome {
    let exchange = ownership.exchange(of: model)
    let own = try gradients(batches, exchange)
    try exchange?.finish()
    let numbers = model.parameters.indices.filter { model.parameters[$0].hasGradient }
    let moving = numbers.map { model.parameters[$0] }
    let squares = try moving.reduce(0) { sum, parameter in
      let norm = try parameter.gradient()?.norm(p: 2).item() ?? 0
      return sum + norm * norm
    }
    let sums = try world.sum([own.divergence, own.crossEntropy, own.intermediate, squares])
    var losses = LossSums()
    (losses.divergence, losses.crossEntropy, losses.intermediate) = (sums[0], sums[1], sums[2])
    let norm = sums[3].squareRoot()
    let rate = rule.rate.rate(atStep: step + 1)
    let outcome = StepOutcome(
      step: step + 1, losses: losses, loss: Self.loss(losses, rule.loss), gradientNorm: norm, rate: rate,
      tokens: batches.reduce(0) { $0 + $1.tokenCount })
    defer { model.parameters.forEach { $0.dropGradient() } }
    guard !outcome.isBroken else { return outcome }
    step += 1
    // Copies go first: they take as much memory as the optimizer does.
    model.dropCopies()
    let factor = rule.clip > 0 && norm > rule.clip ? rule.clip / (norm + 1e-6) : nil
    for parameter in moving {
      try parameter.move(
        by: AdamWRule(rate: rate, weightDecay: parameter.decays ? rule.weightDecay : 0), step: step, factor: factor)
      parameter.dropGradient()
    }
    try ownership.spreadValues(model.parameters, changed: Set(numbers))
    return outcome
  }

  /// The gradients of all parameters by this process's part of the micro-batches, and the losses they are of.
  public func gradients(_ batches: [TrainingBatch]) throws -> LossSums { try gradients(batches, nil) }

  /// - Parameter exchange: to which gradients are given as soon as they are complete.
  private func gradients(_ batches: [TrainingBatch], _ exchange: GradientExchange?) throws -> LossSums {
    let own = Array(batches[ownership.share(of: batches.count)])
    var (sum, left) = (LossSums(), own.count)
    try withTeacher(own, learns: true) { batch, states in
      left -= 1
      sum =
        sum
        + (try LibTorch.recording {
          try pass(batch, theirs: states, of: batches.count, learns: true, exchange: left == 0 ? exchange : nil)
        })
    }
    return sum
  }

  /// The losses of rows that nothing is learned from: means over the tokens.
  ///
  /// - Parameter progress: called with the number of tokens so far.
  public func losses(_ batches: [TrainingBatch], progress: (Int) -> Void = { _ in }) throws -> LossSums {
    var sums = [0.0, 0]
    var tokens = 0
    let whole = batches.reduce(0) { $0 + $1.weight }
    try withTeacher(Array(batches[ownership.share(of: batches.count)]), learns: false) { batch, states in
      let share = batch.weight / max(whole, 1)
      let found = try LibTorch.recording { try pass(batch, theirs: states, of: 1, learns: false) }
      sums[0] += found.divergence * share
      sums[1] += found.crossEntropy * share
      tokens += batch.tokenCount
      progress(tokens * world.size)
    }
    sums = try world.sum(sums)
    var losses = LossSums()
    (losses.divergence, losses.crossEntropy) = (sums[0], sums[1])
    return losses
  }

  /// Batches with the teacher's states, which are made for as many at a time as its memory allows.
  private func withTeacher(
    _ batches: [TrainingBatch], learns: Bool, _ body: (TrainingBatch, Teacher.States?) throws -> Void
  ) throws {
    guard let teacher else { return try batches.forEach { try body($0, nil) } }
    let layers = learns ? intermediates?.teacherLayers ?? [] : []
    var next = 0
    while next < batches.count {
      let group = batches[next...].prefix(teacher.batchesAtOnce(batches[next...], layers: layers.count))
      for (batch, states) in zip(group, try teacher.states(Array(group), layers: layers, learns: learns)) {
        try body(batch, states)
      }
      next += group.count
    }
  }

  package static func loss(_ sums: LossSums, _ rule: LossRule) -> Double {
    // Layers' losses are made as large as the divergence, where both together are not made as large as the text's.
    let times = sums.intermediate > 0 && !rule.isBalanced ? 2.0 : 1
    let rule = rule.isBalanced ? rule.balanced(by: sums) : rule
    return (rule.divergence == 0 ? 0 : times * rule.divergence * sums.divergence)
      + (rule.crossEntropy == 0 ? 0 : rule.crossEntropy * sums.crossEntropy)
  }

  /// One micro-batch there and, where something is learned, back.
  ///
  /// - Parameter exchange: gets the gradients of layers when this is the last that adds to them.
  private func pass(
    _ batch: TrainingBatch, theirs: Teacher.States?, of count: Int, learns: Bool, exchange: GradientExchange? = nil
  ) throws -> LossSums {
    let layers = model.description.layers
    let lengths = batch.lengths
    let tokens = try Tensor(
      batch.flat(batch.inputs, filling: 0).map(Int64.init), shape: [lengths.count, batch.width])
    let (positions, packed) = try places(batch)
    let table = try batch.packing.map { try Tensor($0.positions.map(Int64.init), shape: [$0.positions.count]) }
    var h = try model.embed(tokens, places: table)
    let inputs = try TrainedLayerInputs(model, tokens, embedded: h)
    var passes: [LayerPass] = []
    var seen: [Int: Tensor] = [:]
    for layer in layers.indices {
      var pass = LayerPass(
        layer, context: ForwardContext(layer: layer, lengths: lengths, positions: positions, packed: packed), input: h,
        own: try inputs?.input(layer))
      h = try pass.forward(model, keepsRecord: learns && !rule.recomputes)
      if learns { passes.append(pass) }
      if learns, intermediates?.wants(layer) == true { seen[layer] = h }
    }
    let (states, norm) = try finalStates(h, wantsGradient: learns)
    let flat = try states.reshape([-1, states.shape[2]]).leaf(wantsGradient: false)
    let head = try StudentHead(model)
    let share = 1 / max(batch.weight, 1) / Double(count)
    let weights = try Tensor(
      batch.flat(batch.shares, filling: 0).map { $0 * Float(share) }, shape: [flat.shape[0]])
    let targets = try Tensor(batch.flat(batch.targets, filling: 0).map(Int64.init), shape: [flat.shape[0]])
    let slope = learns ? try Tensor.zeros(flat.shape, dtype: .float32) : nil
    func measured(_ rule: LossRule, _ backward: ((LogitBlock, Tensor) throws -> Void)?) throws -> LossSums {
      try VocabularyLoss(rule: rule)(
        flat, head: head, teacher: theirs?.last, targets: targets, weights: weights, backward: backward)
    }
    let isBalanced = rule.loss.isBalanced && learns
    let compared = try learns ? theirs.flatMap { try intermediates?(seen, $0.layers, weights: weights) } : nil
    var loss = isBalanced ? rule.loss.balanced(by: try measured(rule.loss, nil)) : rule.loss
    // What is as large as the text's loss is the divergence and the layers' loss together.
    if isBalanced, compared != nil { loss.divergence /= 2 }
    var losses = try measured(
      loss, slope.map { slope in { try head.backward($1, $0, states: flat, addingTo: slope) } })
    guard let slope else { return losses }
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
    var back = slopes[0] ?? last
    for number in passes.indices.reversed() {
      if let own = further[number] { back = try back.adding(own) }
      let found = try passes[number].backward(model, slope: back)
      back = found.input
      if let own = found.own { try inputs?.backward(number, slope: own) }
      passes.removeLast()
      try exchange?.send(layer: number)
    }
    if let further = inputs?.embeddedSlope { back = try back.adding(further.to(back.dtype)) }
    try model.addEmbeddingGradient(back, tokens: tokens, places: table)
    return losses
  }

  /// Where a batch's tokens stand: those of rows of one width are made once.
  private func places(_ batch: TrainingBatch) throws -> (Positions, PackedContext?) {
    guard let packing = batch.packing else {
      let shared = self.positions[batch.width] ?? Positions(count: batch.width, dtype: model.dtype)
      self.positions[batch.width] = shared
      return (shared.rows(lengths: batch.lengths), nil)
    }
    let positions = Positions(places: packing.positions, lengths: packing.lengths, dtype: model.dtype)
    let wanted = try Tensor(packing.wanted.map(Int64.init), shape: [packing.wanted.count])
    return (
      positions, PackedContext(packing, wantedPositions: positions, wanted: wanted, carry: CarriedKeys())
    )
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
