import Checkpoint
import Files
public import JSON
import Models
public import Torch

/// Where a training is kept between processes: `iter_0000100` and so on below a directory, each whole or not there at all.
///
/// One of them holds the float32 weights and AdamW's moments, as safetensors, and `state.json`. What is read back is what was
/// written, to the last bit.
public struct TrainingState: Sendable {
  /// The directory of all states.
  public let directory: String

  private static let weights = "weights.", means = "means.", squares = "squares."
  private static let recordFile = "state.json"
  /// The version of the layout.
  private static let version = 1

  public init(directory: String) { self.directory = directory }

  /// Steps that states are there of, ascending.
  public func steps() -> [Int] {
    guard kind(of: directory) == .directory, let names = try? names(in: directory) else { return [] }
    return names.compactMap { name in
      guard name.hasPrefix("iter_"), let step = Int(name.dropFirst(5)),
        kind(of: path(step) + "/" + Self.recordFile) == .file
      else { return nil }
      return step
    }.sorted()
  }

  public func path(_ step: Int) -> String {
    let digits = String(step)
    return directory + "/iter_" + String(repeating: "0", count: max(7 - digits.count, 0)) + digits
  }

  /// Keeps what a trainer has come to. Of several processes all call it, and the first writes: others send what they alone have.
  ///
  /// - Parameter record: of what the run is made, and where in its data it is.
  /// - Throws: `CheckpointError`, `FileError`; nothing is left then.
  public func save(_ trainer: Trainer, record: JSON) throws {
    let (model, world, ownership) = (trainer.model, trainer.world, trainer.ownership)
    let here = Dictionary(zip(model.numbers, model.parameters)) { first, _ in first }
    let moved = try world.sum(
      model.slots.indices.map { ownership.isOwn($0) && here[$0]?.hasMoved == true ? 1 : 0 }
    ).map { $0 > 0 }
    guard world.rank == 0 else {
      for (number, parameter) in zip(model.numbers, model.parameters) where ownership.isOwn(number) {
        if !ownership.others(number).contains(0) { try world.send(parameter.value(), to: 0) }
        guard moved[number], let moments = try parameter.moments() else { continue }
        try world.send(moments.means, to: 0)
        try world.send(moments.squares, to: 0)
      }
      return
    }
    let plan = zip(model.slots, moved).flatMap { slot, moved in
      (moved ? [Self.weights, Self.means, Self.squares] : [Self.weights]).map {
        PlannedTensor(name: $0 + slot.name.text, type: .float32, shape: slot.shape)
      }
    }
    try OutputDirectory.publish(to: path(trainer.step)) { place in
      let writer = try CheckpointWriter(directory: place, tensors: plan, maxShardBytes: .max)
      for (number, slot) in model.slots.enumerated() {
        func write(_ kind: String, _ own: Tensor?) throws {
          let tensor = try own?.to(device: .cpu) ?? world.receive(from: ownership.owner(number))
          try writer.write(kind + slot.name.text) { append in try tensor.withUnsafeBytes { try append($0) } }
        }
        try write(Self.weights, here[number]?.value())
        guard moved[number] else { continue }
        let own = ownership.isOwn(number) ? try here[number]?.moments() : nil
        try write(Self.means, own?.means)
        try write(Self.squares, own?.squares)
      }
      try writer.finish()
      let state = JSON.object([
        ("format", .int(Self.version)), ("step", .int(trainer.step)), ("run", record),
      ])
      try OutputDirectory.write(Array((state.serialized(indent: 2) + "\n").utf8), to: place + "/" + Self.recordFile)
    }
  }

  /// Gives a trainer what one had come to after a step.
  ///
  /// - Parameter check: gets what the state is made of, before anything is read.
  /// - Throws: `ModelError` for a state of another model or of another version, `CheckpointError`; what `check` throws.
  public func load(_ step: Int, into trainer: Trainer, check: (JSON) throws -> Void) throws {
    let place = path(step)
    let file = place + "/" + Self.recordFile
    guard let state = try WholeFile.objectIfPresent(file), state["format"]?.int == Self.version,
      state["step"]?.int == step
    else { throw ModelError("\(file): not the state of step \(step) that this version writes") }
    try check(state["run"] ?? .null)
    let stored = try stored(step)
    for (number, parameter) in zip(trainer.model.numbers, trainer.model.parameters) {
      let name = parameter.name.text
      let isOwn = trainer.ownership.isOwn(number)
      try parameter.restore(
        value: stored.weight(name, parameter.shape),
        means: isOwn ? stored.tensor(Self.means + name, parameter.shape) : nil,
        squares: isOwn ? stored.tensor(Self.squares + name, parameter.shape) : nil)
    }
    trainer.step = step
    trainer.model.dropCopies()
  }

  /// The float32 weights that a state has, by their names and shapes: also of what another process has.
  ///
  /// - Throws: `CheckpointError`; what is returned throws `ModelError` for a weight that is not there.
  public func weights(_ step: Int) throws -> (_ name: String, _ shape: [Int]) throws -> Tensor {
    let stored = try stored(step)
    return { try stored.weight($0, $1) }
  }

  private func stored(_ step: Int) throws -> StoredState {
    let file = try SafetensorsFile(path: path(step) + "/model.safetensors")
    return StoredState(
      place: path(step), file: file, entries: Dictionary(file.tensors.map { ($0.name, $0) }) { first, _ in first })
  }

  /// The tensors of one state.
  private struct StoredState {
    let place: String
    let file: SafetensorsFile
    let entries: [String: TensorEntry]

    /// - Returns: nil where there is none of this name.
    func tensor(_ name: String, _ shape: [Int]) throws -> Tensor? {
      guard let entry = entries[name] else { return nil }
      guard entry.type == .float32, entry.shape == shape else {
        throw ModelError("\(place): \(name) is \(entry.type.rawValue) \(entry.shape), where float32 \(shape) should be")
      }
      return try Tensor(bytes: file.bytes(of: entry), shape: entry.shape, dtype: .float32)
    }

    func weight(_ name: String, _ shape: [Int]) throws -> Tensor {
      guard let value = try tensor(TrainingState.weights + name, shape) else {
        throw ModelError("\(place): the weight \(name) is missing")
      }
      return value
    }
  }

  /// Removes all but the newest states.
  ///
  /// - Parameter count: how many are kept; below zero all of them.
  public func keepNewest(_ count: Int) {
    guard count >= 0 else { return }
    for step in steps().dropLast(max(count, 1)) { removeTree(path(step)) }
  }
}
