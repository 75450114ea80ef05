import Checkpoint
import Files
public import JSON
import Models
import Torch

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

  /// Keeps what a trainer has come to. Of replicas all call it, and the first writes: others send what they alone have.
  ///
  /// - Parameter record: of what the run is made, and where in its data it is.
  /// - Throws: `CheckpointError`, `FileError`; nothing is left then.
  public func save(_ trainer: Trainer, record: JSON) throws {
    let (parameters, world) = (trainer.model.parameters, trainer.world)
    let moved = try world.sum(parameters.map { $0.hasMoved ? 1 : 0 }).map { $0 > 0 }
    guard world.rank == 0 else {
      for (parameter, moved) in zip(parameters, moved) where moved {
        guard let moments = try parameter.moments() else { continue }
        try world.send(moments.means, to: 0)
        try world.send(moments.squares, to: 0)
      }
      return
    }
    let plan = zip(parameters, moved).flatMap { parameter, moved in
      (moved ? [Self.weights, Self.means, Self.squares] : [Self.weights]).map {
        PlannedTensor(name: $0 + parameter.name.text, type: .float32, shape: parameter.shape)
      }
    }
    try OutputDirectory.publish(to: path(trainer.step)) { place in
      let writer = try CheckpointWriter(directory: place, tensors: plan, maxShardBytes: .max)
      func write(_ kind: String, _ parameter: Parameter, _ tensor: Tensor) throws {
        try writer.write(kind + parameter.name.text) { append in try tensor.withUnsafeBytes { try append($0) } }
      }
      for (number, parameter) in parameters.enumerated() {
        try write(Self.weights, parameter, parameter.value())
        guard moved[number] else { continue }
        let (owner, own) = (trainer.ownership.owner(number), try parameter.moments())
        try write(Self.means, parameter, own?.means ?? world.receive(from: owner))
        try write(Self.squares, parameter, own?.squares ?? world.receive(from: owner))
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
    let stored = try SafetensorsFile(path: place + "/model.safetensors")
    let entries = Dictionary(stored.tensors.map { ($0.name, $0) }) { first, _ in first }
    func tensor(_ name: String, like parameter: Parameter) throws -> Tensor? {
      guard let entry = entries[name] else { return nil }
      guard entry.type == .float32, entry.shape == parameter.shape else {
        throw ModelError(
          "\(place): \(name) is \(entry.type.rawValue) \(entry.shape), where float32 \(parameter.shape) should be"
        )
      }
      return try Tensor(bytes: stored.bytes(of: entry), shape: entry.shape, dtype: .float32)
    }
    for (number, parameter) in trainer.model.parameters.enumerated() {
      let name = parameter.name.text
      let isOwn = trainer.ownership.isOwn(number)
      guard let value = try tensor(Self.weights + name, like: parameter) else {
        throw ModelError("\(place): the weight \(name) is missing")
      }
      try parameter.restore(
        value: value, means: isOwn ? tensor(Self.means + name, like: parameter) : nil,
        squares: isOwn ? tensor(Self.squares + name, like: parameter) : nil)
    }
    trainer.step = step
    trainer.model.dropCopies()
  }

  /// Removes all but the newest states.
  ///
  /// - Parameter count: how many are kept; below zero all of them.
  public func keepNewest(_ count: Int) {
    guard count >= 0 else { return }
    for step in steps().dropLast(max(count, 1)) { removeTree(path(step)) }
  }
}
