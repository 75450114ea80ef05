import Files
public import Models
public import Torch

// Shapes: B rows, S tokens, H hidden, W wanted tokens of a packed row.

/// Walks a model layer by layer: bring a layer in, run every batch of every subject through it, let it go.
///
/// The model is never in memory as a whole. Several subjects (the original and candidates cut from it) share
/// one walk: each layer is read once and sliced for each subject, and subjects that are cut alike up to some layer are
/// computed once up to there.
public final class Executor {
  public let weights: WeightSource
  /// Bytes of hidden states that may be in the machine's memory; the rest spills to `scratch`.
  public let budget: Int
  /// Bytes of hidden states that may be on the device, where that is not the CPU; others wait in the machine's memory.
  public private(set) var deviceBudget: Int
  /// The directory for hidden states that do not fit the memory.
  public let scratch: String
  /// How many layers are in memory together.
  public let bands: BandRule
  /// Makes what keeps the hidden states of a chunk between its legs, such as a link to another process; nil: a store in
  /// memory and, beyond the budget, on disk.
  public var channel: (() throws -> any StateChannel)?
  /// Other processes that walk along; nil where this one is alone. They take part in walks whose subjects have the model's own
  /// weights and whose visitor's findings add up.
  public var crew: (any WalkCrew)?
  var model: SourceModel { weights.model }

  /// - Parameters:
  ///   - dtype: the type computed with.
  ///   - budget: bytes of hidden states in memory.
  ///   - deviceBudget: bytes of hidden states on an accelerator.
  ///   - scratch: the directory to spill to; nil for the system's temporary one.
  ///   - bands: how many layers are in memory together.
  ///   - device: where tensors are.
  ///   - model: the checkpoint.
  public init(
    _ model: SourceModel, dtype: DType, device: Device = .cpu, budget: Int = MemoryBudget.automatic(),
    deviceBudget: Int? = nil, scratch: String? = nil, bands: BandRule = .automatic
  ) {
    weights = WeightSource(model, dtype: dtype, device: device)
    self.budget = budget
    self.deviceBudget = device == .cpu ? 0 : deviceBudget ?? MemoryBudget.automatic(device: device)
    self.scratch = scratch ?? Environment.process.temporaryDirectory
    self.bands = bands
  }

  /// One over the same weights that has another share of the memory, alone.
  ///
  /// - Parameters:
  ///   - other: whose weights it shares.
  ///   - budget: bytes of hidden states in memory.
  public init(sharing other: Executor, budget: Int) {
    (weights, deviceBudget, scratch, bands) = (other.weights, other.deviceBudget, other.scratch, other.bands)
    self.budget = budget
  }

  /// Bytes of hidden states that may be where they are computed.
  public var room: Int { weights.device == .cpu ? budget : deviceBudget }

  /// Leaves the device's memory to other processes that compute on it as well.
  ///
  /// - Parameter processes: on the device, with this one.
  public func shareDevice(among processes: Int) { deviceBudget /= max(processes, 1) }

  /// What turns a subject's last states into logits.
  public func head(of subject: Subject) throws -> OutputHead { try OutputHead(weights, of: subject) }

  /// What happens at the end of a walk with one batch of one subject.
  /// - Parameter hidden: `[B, S, H]` after the final norm; of a packed row its wanted tokens, `[1, W, H]`.
  public typealias Finish = (_ subject: Int, _ batch: Int, _ hidden: Tensor, _ head: OutputHead) throws -> Void

  /// Lets `observer` see the activations of the whole model. Neither final norm nor head are computed.
  ///
  /// - Parameters:
  ///   - progress: called with the number of token-layers done, of `work(batches:subjects:)`.
  ///   - batches: rows of tokens.
  ///   - observer: sees the activations.
  public func observe(
    _ batches: [TokenBatch], observer: any TapObserver, progress: (Int) -> Void = { _ in }
  ) throws {
    let chunk = try ChunkWalk(
      self, batches, [Subject(Selection(all: model.description))], visitor: EveryLayer(observer))
    try chunk.embed()
    try chunk.run(progress: progress)
  }

  /// One walk with all batches at once, whatever the memory budget: `plan` says how to divide them.
  ///
  /// - Parameters:
  ///   - subjects: what is kept of the model, one each. Hidden states of all of them are held at once.
  ///   - progress: called with the number of token-layers done, of `work(batches:subjects:)`.
  ///   - finish: called for every batch of every subject at the end of the walk.
  ///   - batches: rows of tokens.
  ///   - visitor: sees the walk go by; nil for nobody.
  public func run(
    _ batches: [TokenBatch], subjects: [Selection], visitor: (any WalkVisitor)? = nil, progress: (Int) -> Void,
    finish: Finish
  ) throws {
    let chunk = try ChunkWalk(self, batches, subjects.map { Subject($0) }, visitor: visitor)
    try chunk.embed()
    try chunk.run(progress: progress)
    try chunk.end(finish)
  }

  public func run(_ batches: [TokenBatch], subjects: [Selection], finish: Finish) throws {
    try run(batches, subjects: subjects, progress: { _ in }, finish: finish)
  }

  /// Walks all batches, in as few passes over the weights as `plan` finds best.
  ///
  /// - Parameters:
  ///   - visitor: sees the walk go by.
  ///   - recorder: where a walk that was ended goes on, and where this one is saved.
  ///   - progress: called with the number of token-layers done, of `work(batches:subjects:)`.
  ///   - begin: called with the numbers of the batches of a chunk before they are walked.
  ///   - finish: called for every batch of every subject at the end of its chunk.
  ///   - subjects: what is kept of the model, one for each candidate.
  ///   - batches: rows of tokens.
  public func walk(
    _ batches: [TokenBatch], subjects: [Subject], visitor: (any WalkVisitor)? = nil,
    recorder: (any WalkRecorder)? = nil, progress: (Int) -> Void = { _ in },
    begin: (Range<Int>) throws -> Void = { _ in }, finish: Finish
  ) throws {
    if let crew = crew(for: visitor, subjects) {
      return try walk(
        batches, subjects, with: crew, visitor: visitor as? any SharedVisitor, recorder: recorder, progress: progress,
        begin: begin, wantsFinal: true, finish: finish)
    }
    try walk(batches, subjects, visitor, recorder, progress, begin) { chunk, first in
      try chunk.end { try finish($0, first + $1, $2, $3) }
    }
  }

  /// The same without final norm and head: for statistics alone.
  public func walk(
    _ batches: [TokenBatch], subjects: [Subject], visitor: any WalkVisitor, recorder: (any WalkRecorder)? = nil,
    progress: (Int) -> Void = { _ in }
  ) throws {
    if let crew = crew(for: visitor, subjects) {
      return try walk(
        batches, subjects, with: crew, visitor: visitor as? any SharedVisitor, recorder: recorder, progress: progress)
    }
    try walk(batches, subjects, visitor, recorder, progress, { _ in }, { _, _ in })
  }

  /// Keeps hidden states in memory up to a budget in bytes, and beyond that on disk.
  public func makeStore(budget: Int) -> any StateChannel {
    StateStore(budget: budget, deviceBudget: 0, scratch: scratch)
  }

  /// The other processes, for a walk that they can take part in.
  private func crew(for visitor: (any WalkVisitor)?, _ subjects: [Subject]) -> (any WalkCrew)? {
    let addsUp = visitor == nil || visitor is any SharedVisitor
    // Other processes do not have the rotated basis.
    let isOwn = subjects.allSatisfy { subject in
      subject.overlay == nil && (weights.rotated == nil || subject.selection.kept(.hidden, layer: nil) == nil)
    }
    return addsUp && isOwn ? crew : nil
  }

  private func walk(
    _ batches: [TokenBatch], _ subjects: [Subject], _ visitor: (any WalkVisitor)?, _ recorder: (any WalkRecorder)?,
    _ progress: (Int) -> Void, _ begin: (Range<Int>) throws -> Void,
    _ end: (_ chunk: ChunkWalk, _ first: Int) throws -> Void
  ) throws {
    let selections = subjects.map(\.selection)
    let digest = recorder == nil ? 0 : TokenBatch.digest(batches)
    var resumed = try recorder.flatMap { try resume($0, batches, digest, subjects, visitor) }
    var next = resumed?.position.chunk.lowerBound ?? 0
    // Weights that are replaced follow from all batches: these go through each layer together.
    let divide = { (rest: Range<Int>) -> [Int] in
      if rest.isEmpty { return [] }
      if visitor?.replacesWeights == true { return [rest.count] }
      return self.plan(Array(batches[rest]), subjects: selections).chunks.map(\.count)
    }
    var counts: [Int] = resumed.map { [$0.position.chunk.count] } ?? []
    counts += divide(next + (counts.first ?? 0)..<batches.count)
    for count in counts {
      let range = next..<next + count
      let before = Self.work(Array(batches[..<next]), subjects: selections)
      let chunk =
        try resumed?.walk ?? ChunkWalk(self, Array(batches[range]), subjects, visitor: visitor)
      try begin(range)
      let save = recorder.map { recorder in
        ChunkWalk.Save(recorder: recorder, start: WalkPosition(batches: digest, chunk: range))
      }
      if let position = resumed?.position {
        try chunk.run(from: (position.leg, position.batch), save: save) { progress(before + $0) }
      } else {
        try chunk.embed()
        try chunk.run(save: save) { progress(before + $0) }
      }
      resumed = nil
      try end(chunk, next)
      try visitor?.didFinish(chunk: range)
      next = range.upperBound
      recorder?.save(between: next, of: batches.count, digest)
    }
    try visitor?.didFinishWalk()
  }

  /// The chunk that another process was ended in, with its states; nil where there is none.
  private func resume(
    _ recorder: any WalkRecorder, _ batches: [TokenBatch], _ digest: UInt64, _ subjects: [Subject],
    _ visitor: (any WalkVisitor)?
  ) throws -> (position: WalkPosition, walk: ChunkWalk?)? {
    var walk: ChunkWalk?
    var failure: (any Error)?
    let position = try recorder.resume { position, keys in
      walk = nil
      let chunk = position.chunk
      guard position.batches == digest, chunk.lowerBound >= 0, chunk.upperBound <= batches.count else { return false }
      if chunk.isEmpty { return position.leg == 0 && position.batch == 0 && keys.isEmpty }
      do {
        let found = try ChunkWalk(
          self, Array(batches[chunk]), subjects, visitor: visitor, bands: position.bands)
        guard found.keys(leg: position.leg, batch: position.batch).map(Set.init) == keys else { return false }
        walk = found
        return true
      } catch {
        failure = error
        return false
      }
    } put: { key, state in
      try walk?.states.put(key, state.to(device: weights.device))
    }
    if let failure { throw failure }
    return position.map { ($0, $0.chunk.isEmpty ? nil : walk) }
  }

  /// Token-layers of a walk: what `progress` counts up to.
  public static func work(_ batches: [TokenBatch], subjects: [Selection]) -> Int {
    batches.reduce(0) { $0 + $1.tokenCount } * subjects.reduce(0) { $0 + $1.layers.count }
  }
}
