import Files
import Foundation
import Messages
import Models
import Torch

/// Hidden states of one walk: on an accelerator up to its budget, in memory up to another; the rest spills to an unlinked
/// temporary file.
final class StateStore: StateChannel {
  private enum Place {
    case device(Tensor)
    case memory(Tensor, home: Device)
    case disk(SpillFile.Slot, shape: [Int], dtype: DType, device: Device)
  }

  private var places: [StateKey: Place] = [:]
  private let budget: Int
  private let scratch: String
  private let deviceBudget: Int
  private var held = 0
  private var heldOnDevice = 0
  private var file: SpillFile?

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
    let file = try file ?? SpillFile(directory: scratch)
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
      let bytes = try file.read(slot)
      return try Tensor.borrowing(UnsafeRawBufferPointer(bytes.memory), shape: shape, dtype: dtype, owner: bytes)
        .to(device: device)
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

/// A file without a name, divided into slots that are used again.
final class SpillFile {
  struct Slot {
    let offset: Int
    let count: Int
  }

  /// What was read.
  final class Bytes {
    let memory: UnsafeMutableRawBufferPointer
    init(count: Int) { memory = .allocate(byteCount: max(count, 1), alignment: 64) }
    deinit { memory.deallocate() }
  }

  private let descriptor: Int32
  private let directory: String
  private var end = 0
  private var free: [Int: [Int]] = [:]

  init(directory: String) throws {
    self.directory = directory
    // mkstemp puts six characters of its own in the place of these.
    var path = Array((directory + "/coppice-states-" + String(repeating: "X", count: 6)).utf8CString)
    // No signal comes before its name is gone.
    descriptor = Unfinished.uninterrupted {
      let descriptor = mkstemp(&path)
      if descriptor >= 0 { unlink(path) }
      return descriptor
    }
    guard descriptor >= 0 else { throw Self.error("make a file", directory) }
  }

  deinit { close(descriptor) }

  func free(_ slot: Slot) { free[slot.count, default: []].append(slot.offset) }

  func write(_ bytes: UnsafeRawBufferPointer) throws -> Slot {
    let offset = free[bytes.count]?.popLast() ?? end
    var done = 0
    while done < bytes.count {
      let count = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw Self.error("write", directory) }
      done += count
    }
    end = max(end, offset + bytes.count)
    return Slot(offset: offset, count: bytes.count)
  }

  func read(_ slot: Slot) throws -> Bytes {
    let bytes = Bytes(count: slot.count)
    var done = 0
    while done < slot.count {
      let count = pread(
        descriptor, bytes.memory.baseAddress.map { $0 + done }, slot.count - done, off_t(slot.offset + done))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw Self.error("read", directory) }
      done += count
    }
    return bytes
  }

  private static func error(_ doing: String, _ directory: String) -> ModelError {
    ModelError(
      message: """
        hidden states do not fit \(parameter: "memory_budget"), and \(directory) cannot hold the rest (\(doing): \
        \(String(cString: strerror(errno)))); free some space there, point TMPDIR elsewhere, or raise the budget
        """)
  }
}
