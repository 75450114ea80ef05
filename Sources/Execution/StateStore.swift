import Files
import Messages
import Models
import Torch

/// Hidden states of one walk: on an accelerator up to its budget, in memory up to another; the rest spills to an unlinked
/// temporary file.
final class StateStore: StateChannel {
  private enum Place {
    case device(Tensor)
    case memory(Tensor, home: Device)
    case disk(ScratchFile.Slot, shape: [Int], dtype: DType, device: Device)
  }

  private var places: [StateKey: Place] = [:]
  private let budget: Int
  private let scratch: String
  private let deviceBudget: Int
  private var held = 0
  private var heldOnDevice = 0
  private var file: ScratchFile?

  init(budget: Int, deviceBudget: Int, scratch: String) {
    self.budget = budget
    self.deviceBudget = deviceBudget
    self.scratch = scratch
  }

  /// - Throws: `ModelError` when they do not fit the memory and cannot be written.
  func put(_ key: StateKey, _ state: Tensor) throws {
    remove(key)
    let bytes = state.byteCount
    if state.device != .cpu, heldOnDevice + bytes <= deviceBudget || places.isEmpty {
      heldOnDevice += bytes
      places[key] = .device(state)
      return
    }
    guard held + bytes > budget, held > 0 else {
      held += bytes
      places[key] = .memory(try state.to(device: .cpu), home: state.device)
      return
    }
    let file = try file ?? ScratchFile(states: scratch)
    self.file = file
    let slot = try state.to(device: .cpu).contiguous().withUnsafeBytes { try file.write($0) }
    places[key] = .disk(slot, shape: state.shape, dtype: state.dtype, device: state.device)
  }

  /// The state; it is kept in the store.
  func get(_ key: StateKey) throws -> Tensor {
    switch places[key] {
    case .device(let tensor): return tensor
    case .memory(let tensor, let home): return try tensor.to(device: home)
    case .disk(let slot, let shape, let dtype, let device):
      guard let file else { break }
      let state = try Tensor.empty(shape, dtype: dtype)
      try state.withUnsafeMutableBytes { try file.read(slot, into: $0) }
      return try state.to(device: device)
    case nil: break
    }
    throw ModelError("there is no hidden state of path \(key.path), batch \(key.batch)")
  }

  func remove(_ key: StateKey) {
    switch places.removeValue(forKey: key) {
    case .device(let tensor): heldOnDevice -= tensor.byteCount
    case .memory(let tensor, _): held -= tensor.byteCount
    case .disk(let slot, _, _, _): file?.free(slot)
    case nil: break
    }
  }
}

extension ScratchFile {
  /// For hidden states.
  fileprivate convenience init(states directory: String) throws {
    try self.init(directory: directory, name: "coppice-states") { doing, reason in
      ModelError(
        message: """
          hidden states do not fit \(parameter: "memory_budget"), and \(directory) cannot hold the rest (\(doing): \(reason)); \
          free some space there, point TMPDIR elsewhere, or raise the budget
          """)
    }
  }
}
