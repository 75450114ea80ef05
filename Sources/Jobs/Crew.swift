import Execution
import JSON
import Minitron
import Models
import Ranks
import Torch
import Training

/// Rank 0's view of the processes that walk along with it.
final class Crew: WalkCrew {
  private let world: World
  private let layout: CrewLayout

  init(_ world: World, _ layout: CrewLayout) { (self.world, self.layout) = (world, layout) }

  /// Batches that fill a pipeline many times over, so that its filling and emptying cost little.
  private static let batchesAStage = 16
  /// Stretches of one walk at most: each reads the weights once.
  private static let mostStretches = 8

  /// Into how many stretches a walk of so many batches is divided.
  static func stretches(batches: Int, ranks: Int) -> Int {
    min(max(batches / (batchesAStage * ranks), 1), mostStretches)
  }

  func end(of batches: [TokenBatch], from first: Int) -> Int {
    let stretches = Self.stretches(batches: batches.count, ranks: layout.ranks)
    let size = (batches.count + stretches - 1) / stretches
    var end = min((first / size + 1) * size, batches.count)
    // Rows that continue one another are kept together.
    while end < batches.count, (batches[end].packing?.carried ?? 0) > 0 { end += 1 }
    return end
  }

  func walk(
    _ executor: Executor, _ batches: [TokenBatch], _ subjects: [Selection], visitor: (any SharedVisitor)?,
    wantsFinal: Bool, progress: (Double) -> Void, final: (_ subject: Int, _ batch: Int, _ hidden: Tensor) throws -> Void
  ) throws {
    let parts = Self.parts(batches, count: layout.replicas)
    for rank in 1..<world.size {
      let walk = CrewWalk(
        batches: Array(batches[parts[layout.replica(of: rank)]]), subjects: subjects, visitor: visitor?.description,
        wantsFinal: wantsFinal)
      try world.send(CrewCommand.walk(walk).bytes, to: rank)
    }
    let own = Array(batches[parts[0]])
    let work = Double(max(Executor.work(own, subjects: subjects), 1)) / Double(layout.stages.count)
    let first = parts[0].lowerBound
    let isFinal = wantsFinal && layout.stages.count == 1
    try executor.run(
      own, subjects: subjects, stage: layout.stage(0, of: executor, WorldLink(world)), visitor: visitor,
      progress: { progress(min(Double($0) / work, 1)) },
      wantsFinal: isFinal, final: { try final($0, first + $1, $2) })
    for rank in 1..<world.size {
      let findings = try JSON(parsing: world.receiveBytes(from: rank))
      if let visitor { try visitor.add(findings) }
    }
    guard wantsFinal else { return }
    for subject in subjects.indices {
      for (replica, part) in parts.enumerated() where layout.last(ofReplica: replica) > 0 {
        for batch in part { try final(subject, batch, world.receive(from: layout.last(ofReplica: replica))) }
      }
    }
  }

  /// Consecutive batches for each replica, of about as many tokens.
  static func parts(_ batches: [TokenBatch], count: Int) -> [Range<Int>] {
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    var (parts, start, seen) = ([Range<Int>](), 0, 0)
    for part in 1...count {
      var end = start
      while end < batches.count,
        part == count || (seen + batches[end].tokenCount / 2) * count < tokens * part
          || (batches[end].packing?.carried ?? 0) > 0
      {
        seen += batches[end].tokenCount
        end += 1
      }
      parts.append(start..<end)
      start = end
    }
    return parts
  }
}

/// A process other than rank 0: it does what that one asks for, until it says that the run is over.
struct CrewMember {
  let world: World
  let layout: CrewLayout
  let executor: Executor

  /// - Throws: what goes wrong here; `RankError` when another process has ended.
  func serve() throws {
    while true {
      switch try CrewCommand(world.receiveBytes(from: 0)) {
      case .begin, .hash: throw ModelError("rank 0 begins a run that has begun")
      case .end: return
      case .walk(let walk): try take(part: walk)
      }
    }
  }

  private func take(part walk: CrewWalk) throws {
    let description = executor.weights.model.description
    let visitor = try walk.visitor.map { json -> ImportanceVisitor in
      guard let visitor = ImportanceVisitor(description, describedAs: json) else {
        throw ModelError("rank 0 asks for something to be seen that this version does not know")
      }
      return visitor
    }
    var states: [Int: [Int: Tensor]] = [:]
    try executor.run(
      walk.batches, subjects: walk.subjects, stage: layout.stage(world.rank, of: executor, WorldLink(world)),
      visitor: visitor,
      wantsFinal: walk.wantsFinal,
      final: { subject, batch, hidden in states[subject, default: [:]][batch] = try hidden.to(device: .cpu) })
    try world.send(Array((try visitor?.findings() ?? .null).serialized().utf8), to: 0)
    for subject in walk.subjects.indices {
      for batch in walk.batches.indices {
        guard let state = states[subject]?.removeValue(forKey: batch) else { continue }
        try world.send(state, to: 0)
      }
    }
    try LibTorch.releaseMemory()
  }
}
