public import JSON
public import Models
public import Torch

/// Carries hidden states from the stage before this one and to the one after it, in the order in which they are computed.
public protocol StageLink: AnyObject {
  /// - Throws: when the stage before has ended.
  func receive() throws -> Tensor
  /// - Throws: when the stage after has ended.
  func send(_ state: Tensor) throws
}

/// The layers of a walk that this process computes, where several processes do a walk together.
public struct WalkStage {
  /// Of the original model, 0-based, with those that nobody keeps.
  public let layers: Range<Int>
  /// Whether it embeds the tokens, and whether final norm and head come after it.
  public let isFirst: Bool, isLast: Bool
  /// Whether there are other stages.
  var isPart: Bool { !(isFirst && isLast) }
  public let link: any StageLink

  public init(layers: Range<Int>, of count: Int, link: any StageLink) {
    self.layers = layers
    (isFirst, isLast) = (layers.lowerBound == 0, layers.upperBound == count)
    self.link = link
  }
}

/// A visitor whose findings in several processes add up.
public protocol SharedVisitor: WalkVisitor {
  /// What another process needs to know to see the same.
  var description: JSON { get }
  /// What has been seen so far.
  func findings() throws -> JSON
  /// Adds what another process has seen.
  ///
  /// - Throws: `ModelError` when it saw a model of other sizes.
  func add(_ findings: JSON) throws
}

/// Other processes that walk along with this one: replicas take batches each, their stages layers each.
public protocol WalkCrew: AnyObject {
  /// Where the batches that are walked next end: between such stretches all processes wait for each other, and a walk can be
  /// saved.
  func end(of batches: [TokenBatch], from first: Int) -> Int

  /// Walks some batches together.
  ///
  /// - Parameters:
  ///   - executor: of this process.
  ///   - batches: rows of tokens.
  ///   - subjects: what is kept of the model, one each.
  ///   - visitor: sees its part, and gets what the others have seen.
  ///   - wantsFinal: whether states are wanted after the last layer.
  ///   - progress: called with the part that is done, of one.
  ///   - final: called for every batch of every subject, subject by subject for each batch, with the state after the final norm.
  /// - Throws: what goes wrong in any of the processes.
  func walk(
    _ executor: Executor, _ batches: [TokenBatch], _ subjects: [Selection], visitor: (any SharedVisitor)?,
    wantsFinal: Bool, progress: (Double) -> Void, final: (_ subject: Int, _ batch: Int, _ hidden: Tensor) throws -> Void
  ) throws
}

extension Executor {
  /// What one process does of a walk: all batches through the layers of its stage.
  ///
  /// Where the layers are in memory together, a batch goes through them and on to the next stage before the next batch comes:
  /// the weights are read once. Else, and for states that are wanted at the end, batches are walked in as many chunks as
  /// memory asks for.
  ///
  /// - Parameters:
  ///   - batches: rows of tokens.
  ///   - subjects: what is kept of the model, one each.
  ///   - stage: which layers, and where states come from and go to.
  ///   - visitor: sees the layers of the stage.
  ///   - progress: called with the number of token-layers done.
  ///   - wantsFinal: whether states are wanted after the last layer.
  ///   - final: of the last stage, called for every batch of every subject with the state after the final norm.
  public func run(
    _ batches: [TokenBatch], subjects: [Selection], stage: WalkStage, visitor: (any WalkVisitor)? = nil,
    progress: (Int) -> Void = { _ in }, wantsFinal: Bool = false,
    final: (_ subject: Int, _ batch: Int, _ hidden: Tensor) throws -> Void = { _, _, _ in }
  ) throws {
    let wantsFinal = wantsFinal && stage.isLast
    func walk(_ batches: [TokenBatch]) throws -> ChunkWalk {
      try ChunkWalk(
        self, batches, subjects.map { Subject($0) }, visitor: visitor, stage: stage, keepsFinal: wantsFinal)
    }
    var (first, before) = (0, 0)
    func run(_ walk: ChunkWalk) throws {
      try walk.run { progress(before + $0) }
      if wantsFinal { try walk.normalized { try final($0, first + $1, $2) } }
      (first, before) = (first + walk.batches.count, before + walk.work)
    }
    let whole = try walk(batches)
    if whole.passesThrough { return try run(whole) }
    for chunk in plan(batches, subjects: subjects, stage: stage).chunks { try run(walk(chunk)) }
  }

  /// A walk with other processes, stretch by stretch.
  func walk(
    _ batches: [TokenBatch], _ subjects: [Subject], with crew: any WalkCrew, visitor: (any SharedVisitor)?,
    recorder: (any WalkRecorder)?, progress: (Int) -> Void, begin: (Range<Int>) throws -> Void = { _ in },
    wantsFinal: Bool = false, finish: Finish = { _, _, _, _ in }
  ) throws {
    let selections = subjects.map(\.selection)
    let digest = recorder == nil ? 0 : TokenBatch.digest(batches)
    // Where several processes were, or one between its chunks: no states belong to such a position.
    let position = try recorder?.resume { position, keys in
      position.batches == digest && position.chunk.isEmpty && keys.isEmpty && position.leg == 0 && position.batch == 0
        && (0...batches.count).contains(position.chunk.lowerBound)
    } put: { _, _ in
      throw ModelError("no state is kept")
    }
    var next = position?.chunk.lowerBound ?? 0
    var done = Self.work(Array(batches[..<next]), subjects: selections)
    while next < batches.count {
      let range = next..<crew.end(of: batches, from: next)
      let own = Self.work(Array(batches[range]), subjects: selections)
      try begin(range)
      var heads = HeadOfSubject(weights)
      try crew.walk(
        self, Array(batches[range]), selections, visitor: visitor, wantsFinal: wantsFinal,
        progress: { progress(done + Int(Double(own) * $0)) }
      ) { subject, batch, hidden in
        try finish(subject, range.lowerBound + batch, hidden, heads.head(subject, Subject(selections[subject])))
      }
      weights.releaseHead()
      try visitor?.didFinish(chunk: range)
      (next, done) = (range.upperBound, done + own)
      recorder?.save(between: next, of: batches.count, digest)
    }
    progress(done)
    try visitor?.didFinishWalk()
  }
}
