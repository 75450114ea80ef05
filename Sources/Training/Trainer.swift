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
///
/// Of several processes each replica takes micro-batches of its own through a pipeline of stages, which have one on the way there and
/// one on the way back in turn (Narayanan et al. 2021, arXiv 2104.04473, section 2.2).
public final class Trainer {
  public let model: TrainedModel
  public let rule: TrainingRule
  private let teacher: Teacher?
  private let intermediates: IntermediateLosses?
  /// Steps that are done.
  public internal(set) var step = 0

  let world: World
  let ownership: Ownership
  private let layout: CrewLayout
  /// Tokens that go through the teacher together where something is learned, and where it is measured.
  private var teacherTokens = (learning: Int.max, measuring: Int.max)
  /// By the width of a batch.
  private var positions: [Int: Positions] = [:]

  /// - Parameters:
  ///   - model: all of it, or the layers that this process has in the layout.
  ///   - pairs: layers whose results should be like the teacher's, besides the distributions.
  ///   - world: processes that learn together, all with the same rule and batches.
  ///   - layout: of the processes; nil for replicas that have all of the model each.
  /// - Throws: `ModelError` for pairs of layers where stages have layers each.
  public init(
    _ model: TrainedModel, teacher: Teacher?, rule: TrainingRule, pairs: [LayerPair] = [], world: World = .alone,
    layout: CrewLayout? = nil
  ) throws {
    let layout = layout ?? CrewLayout(stages: [model.description.layers.indices], replicas: world.size)
    (self.model, self.teacher, self.rule, self.world, self.layout) = (model, teacher, rule, world, layout)
    guard layout.ranks == world.size, layout.stages[layout.stage(of: world.rank)] == model.stage else {
      throw ModelError("the layers that are here are not those of rank \(world.rank) of \(world.size)")
    }
    if !pairs.isEmpty, layout.stages.count > 1 {
      throw ModelError("layers are compared with the teacher's where one process has all of them")
    }
    intermediates = try teacher.flatMap { teacher in
      pairs.isEmpty ? nil : try IntermediateLosses(pairs, model, teacherWidth: teacher.width)
    }
    ownership = Ownership(model, layout, world)
    for (number, parameter) in zip(model.numbers, model.parameters) where ownership.isOwn(number) {
      try parameter.reserveMoments()
    }
    if let teacher {
      let layers = intermediates?.teacherLayers.count ?? 0
      // Stages go through the same batches together.
      let least = try world.least(of: [layers, 0].map { Double(teacher.tokensAtOnce(layers: $0)) })
      teacherTokens = (Int(least[0]), Int(least[1]))
    }
  }

  /// Learns from these micro-batches together: one step of the optimizer.
  ///
  /// The loss is the mean over micro-batches of the means over their tokens, as Megatron's is.
  public func learn(from batches: [TrainingBatch]) throws -> StepOutcome {
    let exchange = ownership.exchange(of: model)
    let own = try gradients(batches, exchange)
    try exchange?.finish()
    let moving = zip(model.numbers, model.parameters).filter { $1.hasGradient }
    let squares = try moving.reduce(0) { sum, moving in
      let norm = try moving.1.gradient()?.norm(p: 2).item() ?? 0
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
    for (_, parameter) in moving {
      try parameter.move(
        by: AdamWRule(rate: rate, weightDecay: parameter.decays ? rule.weightDecay : 0), step: step, factor: factor)
      parameter.dropGradient()
    }
    try ownership.spreadValues(of: model, changed: Set(moving.map(\.0)))
    return outcome
  }

  /// The gradients of all parameters by this process's part of the micro-batches, and the losses they are of.
  public func gradients(_ batches: [TrainingBatch]) throws -> LossSums { try gradients(batches, nil) }

  /// - Parameter exchange: to which gradients are given as soon as they are complete.
  private func gradients(_ batches: [TrainingBatch], _ exchange: GradientExchange?) throws -> LossSums {
    let own = Array(batches[ownership.share(of: batches.count)])
    let purpose = StagePass.Purpose.learning(keepsRecord: !rule.recomputes)
    // Stages that a micro-batch goes through after this one before it comes back.
    let ahead = layout.stages.count - 1 - layout.stage(of: world.rank)
    var (sum, left) = (LossSums(), own.count)
    var underway: [(pass: StagePass, theirs: Teacher.States?)] = []
    func back() throws {
      let (pass, theirs) = underway.removeFirst()
      left -= 1
      try LibTorch.recording {
        var slope: Tensor, further: [Int: Tensor] = [:]
        if model.isLast {
          let found = try final(pass, theirs: theirs, of: batches.count, learns: true)
          sum = sum + found.losses
          guard let given = found.slope else { return }
          (slope, further) = (given, found.further)
        } else {
          slope = try world.receive(from: world.rank + 1).to(device: model.device)
        }
        slope = try pass.backward(slope, further: further, exchange: left == 0 ? exchange : nil)
        if !model.isFirst { try world.send(slope, to: world.rank - 1) }
      }
    }
    try withTeacher(own, learns: true) { batch, states in
      underway.append((try LibTorch.recording { try pass(batch, for: purpose) }, states))
      if underway.count > ahead { try back() }
    } then: {
      while !underway.isEmpty { try back() }
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
      try LibTorch.recording {
        let pass = try pass(batch, for: .measuring)
        guard model.isLast else { return }
        let found = try final(pass, theirs: states, of: 1, learns: false).losses
        sums[0] += found.divergence * share
        sums[1] += found.crossEntropy * share
      }
      tokens += batch.tokenCount
      progress(tokens * layout.replicas)
    }
    sums = try world.sum(sums)
    var losses = LossSums()
    (losses.divergence, losses.crossEntropy) = (sums[0], sums[1])
    return losses
  }

  /// Batches with the teacher's states, which are made for as many at a time as its memory allows.
  ///
  /// - Parameter then: called when the batches of such a time are through.
  private func withTeacher(
    _ batches: [TrainingBatch], learns: Bool, _ body: (TrainingBatch, Teacher.States?) throws -> Void,
    then: () throws -> Void = {}
  ) throws {
    guard let teacher else {
      try batches.forEach { try body($0, nil) }
      return try then()
    }
    let layers = learns ? intermediates?.teacherLayers ?? [] : []
    let most = learns ? teacherTokens.learning : teacherTokens.measuring
    var next = 0
    while next < batches.count {
      var tokens = 0
      let fitting = batches[next...].prefix { batch in
        tokens += batch.lengths.count * batch.width
        return tokens <= most
      }
      let group = batches[next..<next + max(fitting.count, 1)]
      for (batch, states) in zip(group, try teacher.states(Array(group), layers: layers, learns: learns)) {
        try body(batch, states)
      }
      try then()
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

  private var final: FinalLoss { FinalLoss(model: model, rule: rule.loss, intermediates: intermediates) }

  /// One micro-batch through the layers that are here, and on to the next stage.
  private func pass(_ batch: TrainingBatch, for purpose: StagePass.Purpose) throws -> StagePass {
    let input = model.isFirst ? nil : try world.receive(from: world.rank - 1).to(device: model.device)
    let pass = try StagePass(
      model, batch, places(batch), input: input, for: purpose, wants: { intermediates?.wants($0) ?? false })
    if !model.isLast { try world.send(pass.output, to: world.rank + 1) }
    return pass
  }

  /// Where a batch's tokens stand: those of rows of one width are made once.
  private func places(_ batch: TrainingBatch) throws -> StagePass.Places {
    guard let packing = batch.packing else {
      let shared =
        self.positions[batch.width] ?? Positions(count: batch.width, dtype: model.dtype, device: model.device)
      self.positions[batch.width] = shared
      return StagePass.Places(positions: shared.rows(lengths: batch.lengths), packed: nil)
    }
    let positions = Positions(
      places: packing.positions, lengths: packing.lengths, dtype: model.dtype, device: model.device)
    let wanted = try Tensor(packing.wanted.map(Int64.init), shape: [packing.wanted.count]).to(device: model.device)
    return StagePass.Places(
      positions: positions,
      packed: PackedContext(packing, wantedPositions: positions, wanted: wanted, carry: CarriedKeys()))
  }
}
