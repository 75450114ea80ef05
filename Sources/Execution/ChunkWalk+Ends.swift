import Models
import Torch

// How the states of a chunk come to this process and leave it.
extension ChunkWalk {
  /// Whether a batch goes through the whole stage before the next one comes: its states are kept nowhere meanwhile, so that
  /// any number of batches may come.
  var passesThrough: Bool { stage != nil && legs.count <= 1 && !keepsFinal && visitor?.replacesWeights != true }

  /// Brings a batch's states into a stage: embedded, or from the stage before.
  func receive(_ batch: Int, _ paths: Set<Int>) throws {
    guard let stage else { return }
    if stage.isFirst { return try embed(batch) }
    for path in paths.sorted() {
      try states.put(.init(path: path, batch: batch), stage.link.receive().to(device: weights.device))
    }
  }

  /// Hands a batch's states to the stage after.
  func send(_ batch: Int, _ paths: Set<Int>) throws {
    guard let stage, !(stage.isLast && keepsFinal) else { return }
    for path in paths.sorted() {
      let key = StateKey(path: path, batch: batch)
      if !stage.isLast { try stage.link.send(states.get(key)) }
      states.remove(key)
    }
  }

  /// The same for a stage whose layers nobody keeps.
  func passOn(_ batch: Int) throws {
    let next = legs.lowerBound
    let paths = schedule.legs.indices.contains(next) ? schedule.legs[next].before : Set(schedule.ends)
    try receive(batch, paths)
    try send(batch, paths)
  }

  /// Final norm and head, subject by subject.
  func end(_ finish: Executor.Finish) throws {
    var heads = HeadOfSubject(weights)
    try normalized { subject, batch, hidden in
      try finish(subject, batch, hidden, heads.head(subject, subjects[subject]))
    }
    weights.releaseHead()
  }

  /// States after the final norm, subject by subject.
  func normalized(_ body: (_ subject: Int, _ batch: Int, _ hidden: Tensor) throws -> Void) throws {
    let norm = description.finalNorm
    var tensors: [Weight: Tensor] = [:]
    for weight in norm.weights { tensors[weight] = try weights.tensor(weight.name) }
    for (number, subject) in subjects.enumerated() {
      let cut = try weights.cut(LayerWeights(tensors), to: subject.selection, layer: nil)
      let sliced = try subject.overlay?.apply(cut, of: subject.selection, layer: nil) ?? cut
      let path = schedule.ends[number]
      let isLastUse = !schedule.ends.dropFirst(number + 1).contains(path)
      for batch in batches.indices {
        let state = try states.get(.init(path: path, batch: batch))
        if isLastUse { states.remove(.init(path: path, batch: batch)) }
        try body(number, batch, norm.forward(state, weights: sliced))
      }
    }
  }
}
