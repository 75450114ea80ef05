import Models
import Torch

// Shapes: B rows, S tokens, H hidden.

/// Batches whose hidden states are held at once, on their way through the layers.
final class ChunkWalk {
  let executor: Executor
  let batches: [TokenBatch]
  let subjects: [Subject]
  let visitor: (any WalkVisitor)?
  private let bands: [Int]
  let schedule: Schedule
  private let traits: BatchTraits
  /// For each start of a path the channels that are kept; nil for all.
  private let channels: [[Int]?]
  /// The layers that this process computes; nil for all.
  let stage: WalkStage?
  /// Those of the stage that some subject has.
  private let layers: [Int]
  /// The legs of the stage.
  let legs: Range<Int>
  /// Whether states are wanted after the last layer.
  let keepsFinal: Bool
  let states: any StateChannel

  /// The layers that are in memory now, whole.
  private var resident: [Int: LayerWeights] = [:]
  /// The same in the rotated basis.
  private var turned: [Int: LayerWeights] = [:]

  var weights: WeightSource { executor.weights }
  var description: ModelDescription { executor.model.description }

  /// - Parameters:
  ///   - bands: the first layer of each band; nil to choose.
  ///   - stage: the layers that this process computes; nil for all.
  ///   - keepsFinal: whether states are wanted after the last layer.
  init(
    _ executor: Executor, _ batches: [TokenBatch], _ subjects: [Subject], visitor: (any WalkVisitor)? = nil,
    bands: [Int]? = nil, stage: WalkStage? = nil, keepsFinal: Bool = true
  ) throws {
    for batch in batches {
      for row in batch.rows { try executor.model.check(row) }
    }
    self.executor = executor
    self.batches = batches
    self.subjects = subjects
    self.visitor = visitor
    self.stage = stage
    self.keepsFinal = keepsFinal
    let kept = subjects.map { $0.selection.kept(.hidden, layer: nil) }
    let channels = kept.enumerated().filter { kept.firstIndex(of: $0.element) == $0.offset }.map(\.element)
    self.channels = channels
    let chosen = visitor?.replacesWeights == true ? .one : executor.bandSize(batches, subjects, stage)
    let all = Set(subjects.flatMap(\.layers)).sorted()
    let layers = all.filter { stage?.layers.contains($0) ?? true }
    self.layers = layers
    let own = stride(from: 0, to: layers.count, by: chosen.layers).map { layers[$0] }
    // Of other stages only the order of paths matters, which does not depend on bands.
    self.bands = bands ?? (all.filter { !layers.contains($0) } + own).sorted()
    let ends = self.bands.dropFirst() + [executor.model.description.layers.count]
    guard zip(self.bands, ends).allSatisfy({ $0 >= 0 && $0 < $1 }) else {
      throw ModelError("bands of layers have to follow each other")
    }
    schedule = Schedule(
      subjects, starts: kept.map { channels.firstIndex(of: $0) ?? 0 }, bands: zip(self.bands, ends).map { $0..<$1 },
      together: visitor?.seesSubjectsTogether == true)
    legs = schedule.legs(of: stage?.layers)
    traits = try BatchTraits(batches, dtype: executor.weights.dtype, device: executor.weights.device)
    states =
      try executor.channel?()
      ?? StateStore(
        budget: max(executor.budget - chosen.reservedBytes, 0), deviceBudget: executor.deviceBudget,
        scratch: executor.scratch)
    if let layer = layers.first { weights.prefetch(layer: layer) }
  }

  /// Token-layers of the stage.
  var work: Int { legs.reduce(0) { $0 + size(schedule.legs[$1]) } * batches.reduce(0) { $0 + $1.tokenCount } }

  private func size(_ leg: Schedule.Leg) -> Int { leg.steps.reduce(0) { $0 + $1.members.count } }

  /// Embeds all batches.
  func embed() throws {
    for batch in batches.indices { try embed(batch) }
    weights.releaseEmbedding()
  }

  /// Embeds a batch, for subjects with the same channels once.
  func embed(_ batch: Int) throws {
    let (tokens, places) = (try batches[batch].tensor(), batches[batch].places)
    for (path, kept) in channels.enumerated() {
      try states.put(.init(path: path, batch: batch), weights.embed(tokens, places: places, keeping: kept))
    }
  }

  /// The states that are kept when so many legs are done, and so many batches of the next; nil where that cannot be.
  func keys(leg: Int, batch done: Int) -> [StateKey]? {
    guard leg >= 0, leg <= schedule.legs.count, done >= 0, done <= batches.count,
      leg < schedule.legs.count || done == 0,
      canRest(before: done)
    else { return nil }
    return batches.indices.flatMap { batch in
      schedule.kept(leg: leg, batches: done, batch: batch).sorted().map { StateKey(path: $0, batch: batch) }
    }
  }

  /// Whether nothing but hidden states is carried to a batch: packed rows may continue the one before.
  private func canRest(before batch: Int) -> Bool {
    !batches.indices.contains(batch) || (batches[batch].packing?.carried ?? 0) == 0
  }

  /// Sends all batches through all layers.
  ///
  /// - Parameters:
  ///   - start: legs that are done, and batches of the next leg.
  ///   - end: the leg not to begin; nil for none.
  ///   - save: asked after each batch whether to.
  ///   - progress: called with the token-layers done.
  func run(
    from start: (leg: Int, batch: Int) = (0, 0), to end: Int? = nil, save: Save? = nil, progress: (Int) -> Void
  ) throws {
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    var done = schedule.legs.prefix(start.leg).dropFirst(legs.lowerBound).reduce(0) { $0 + size($1) } * tokens
    // A stage whose layers nobody keeps hands on what it gets.
    if legs.isEmpty { for batch in batches.indices { try passOn(batch) } }
    for number in legs.clamped(to: start.leg..<max(start.leg, end ?? legs.upperBound)) {
      let leg = schedule.legs[number]
      let skipped = number == start.leg ? start.batch : 0
      done += batches.prefix(skipped).reduce(0) { $0 + $1.tokenCount } * size(leg)
      let used = try load(leg)
      let prepared = try zip(leg.steps, used).map { try packed($1, $0) }
      let carries = leg.steps.map { _ in CarriedKeys() }
      let keepsInputs = visitor?.replacesWeights == true
      var ended: Set<Int> = []
      for index in batches.indices.dropFirst(skipped) {
        if number == legs.lowerBound { try receive(index, leg.before) }
        ended.formUnion(try run(leg, prepared, carries, batch: index, keepsInputs: keepsInputs))
        if number == legs.upperBound - 1 { try send(index, leg.after) }
        done += batches[index].tokenCount * size(leg)
        progress(done)
        // With weights that may be replaced a leg is done when they are.
        if let save, !keepsInputs { self.save(save, leg: number, batch: index + 1) }
      }
      if number == legs.lowerBound, stage?.isFirst == true { weights.releaseEmbedding() }
      try settle(leg, used, prepared, ended: ended, keepsInputs: keepsInputs)
      for layer in leg.finished {
        (resident[layer], turned[layer]) = (nil, nil)
        weights.release(layer: layer)
        try visitor?.didFinish(layer: layer)
      }
    }
    if end == nil { progress(work) }
  }

  /// Where a walk is saved.
  struct Save {
    let recorder: any WalkRecorder
    /// The position before the first leg.
    let start: WalkPosition
  }

  private func save(_ save: Save, leg: Int, batch: Int) {
    guard canRest(before: batch), save.recorder.isDue(withStates: true) else { return }
    var position = save.start
    position.bands = bands
    (position.leg, position.batch) = batch == batches.count ? (leg + 1, 0) : (leg, batch)
    guard let keys = keys(leg: position.leg, batch: position.batch) else { return }
    save.recorder.save(position, keys: keys) { try states.get($0) }
  }

  /// Brings in the layers of a leg, and has the one after them read meanwhile.
  ///
  /// - Returns: the weights of each step, as its subjects have them.
  private func load(_ leg: Schedule.Leg) throws -> [LayerWeights] {
    func rotated(_ step: Schedule.Step) -> RotatedWeights? {
      step.members.first.flatMap { weights.rotation(for: subjects[$0].selection) }
    }
    for step in leg.steps.sorted(by: { $0.layer < $1.layer }) {
      let layer = step.layer
      if let rotated = rotated(step) {
        if turned[layer] != nil { continue }
        turned[layer] = try weights.rotatedLayer(layer, rotated)
      } else {
        if resident[layer] != nil { continue }
        resident[layer] = try weights.layer(layer)
      }
      if let next = layers.first(where: { $0 > layer }) { weights.prefetch(layer: next) }
    }
    return try leg.steps.map { step in
      guard let whole = rotated(step) == nil ? resident[step.layer] : turned[step.layer],
        let member = step.members.first
      else {
        throw ModelError("layer \(step.layer + 1) was not brought in")
      }
      let subject = subjects[member]
      let sliced = try weights.cut(whole, to: subject.selection, layer: step.layer)
      return try subject.overlay?.apply(sliced, of: subject.selection, layer: step.layer) ?? sliced
    }
  }

  /// The same weights in the order that suits so many tokens.
  ///
  /// - Parameter done: others of the layer with what was made of them, which serves for all that are the same.
  func packed(
    _ used: LayerWeights, _ step: Schedule.Step, after done: (plain: LayerWeights, packed: LayerWeights)? = nil
  ) throws -> LayerWeights {
    let tokens = batches.reduce(0) { $0 + $1.paddedCount }
    let blocks = description.layers[step.layer].sublayers.map(\.block)
    let rows = batches.map(\.paddedCount).max() ?? 1
    // What has been copied can go when nobody else needs the layer as it is.
    let isAlone = visitor?.replacesWeights != true && schedule.steps(of: step.layer) == 1
    return try used.packed(rows: rows, tokens: tokens, inputs: weights.dtype, blocks: blocks, after: done) { weight in
      if isAlone { weights.release(weight, layer: step.layer) }
    }
  }

  /// One batch through all steps of a leg.
  ///
  /// - Parameters:
  ///   - weights: of each step.
  ///   - steps: numbers of the steps to do; nil for all.
  ///   - isObserved: whether the visitor sees it.
  /// - Returns: the steps that an observer ended (`SeenEnough`), which have no result.
  @discardableResult
  func run(
    _ leg: Schedule.Leg, _ weights: [LayerWeights], _ carries: [CarriedKeys], batch: Int, keepsInputs: Bool,
    steps: Set<Int>? = nil, isObserved: Bool = true
  ) throws -> Set<Int> {
    // States that have not been put away.
    var inner: [Int: Tensor] = [:]
    var ended: Set<Int> = []
    for (number, step) in leg.steps.enumerated() where steps?.contains(number) ?? true {
      let key = StateKey(path: step.input, batch: batch)
      var context = traits.context(
        batch, layer: step.layer, observer: isObserved ? observer(step) : nil,
        linearObserver: isObserved ? linearObserver(step) : nil, carry: carries[number],
        lastTokensOnly: step.lastTokensOnly)
      context.layerInput = self.weights.layerInput(
        try self.batches[batch].tensor(), layer: step.layer,
        keeping: step.members.first.flatMap { subjects[$0].selection.kept(.hidden, layer: nil) })
      // What layers lend each other does not lie in the stream that is kept of their branches.
      let isAlone = description.layers[step.layer].outgoing.isEmpty && description.layers[step.layer].incoming.isEmpty
      let resumed = try keepsInputs && isAlone ? resumption(step, batch) : nil
      let input = try resumed?.stream ?? inner[step.input] ?? states.get(key)
      do {
        inner[step.output] = try description.layers[step.layer].forward(
          input, from: resumed?.branch ?? 0, weights: weights[number], context: context)
      } catch is SeenEnough where keepsInputs { ended.insert(number) }
      if step.isLastUse, !keepsInputs, inner.removeValue(forKey: step.input) == nil { states.remove(key) }
    }
    for path in leg.kept {
      guard let state = inner[path] else { continue }
      try states.put(.init(path: path, batch: batch), state)
    }
    return ended
  }

  private func resumption(_ step: Schedule.Step, _ batch: Int) throws -> (branch: Int, stream: Tensor)? {
    try step.members.first.flatMap { try visitor?.resumption(layer: step.layer, subject: $0, batch: batch) }
  }

  private func observer(_ step: Schedule.Step) -> (any TapObserver)? {
    guard let visitor else { return nil }
    let observers = step.members.compactMap { visitor.observer(subject: $0, layer: step.layer) }
    return observers.count > 1 ? SeveralObservers(observers) : observers.first
  }

  private func linearObserver(_ step: Schedule.Step) -> (any LinearObserver)? {
    guard let visitor else { return nil }
    let observers = step.members.compactMap { visitor.linearObserver(subject: $0, layer: step.layer) }
    return observers.count > 1 ? SeveralLinearObservers(observers) : observers.first
  }
}
