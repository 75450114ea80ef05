import Files
import Torch

/// Float32 numbers of a training, in memory or in a file.
final class Stored {
  private enum Place {
    /// Of the machine, or of an accelerator.
    case memory(Tensor)
    case disk(ScratchFile, ScratchFile.Slot, Device)
  }

  private let shape: [Int]
  private let place: Place

  /// - Parameters:
  ///   - tensor: contiguous; memory of its own where it is to be in memory.
  ///   - file: nil for in memory.
  init(_ tensor: Tensor, in file: ScratchFile?) throws {
    shape = tensor.shape
    guard let file else {
      place = .memory(tensor)
      return
    }
    place = .disk(file, try tensor.to(device: .cpu).withUnsafeBytes { try file.write($0) }, tensor.device)
  }

  /// Zeros. On disk their room is there from now on, and nothing is written.
  ///
  /// - Parameter device: where they are when they are not on disk.
  init(zeros shape: [Int], on device: Device, in file: ScratchFile?) throws {
    self.shape = shape
    place =
      try file.map { .disk($0, try $0.allocate(4 * shape.reduce(1, *)), device) }
      ?? .memory(Tensor.zeros(shape, dtype: .float32, device: device))
  }

  var isOnDisk: Bool { if case .disk = place { true } else { false } }

  /// The numbers: what is in memory itself, or a copy.
  func tensor() throws -> Tensor {
    switch place {
    case .memory(let tensor): return tensor
    case .disk: return try part(0..<shape.reduce(1, *)).reshape(shape)
    }
  }

  /// Some of the numbers in their order, `[N]`: those in memory themselves, or a copy.
  func part(_ elements: Range<Int>) throws -> Tensor {
    switch place {
    case .memory(let tensor):
      return try tensor.view([-1]).narrow(dim: 0, start: elements.lowerBound, length: elements.count)
    case .disk(let file, let slot, let device):
      let part = try Tensor.empty([elements.count], dtype: .float32)
      try part.withUnsafeMutableBytes { try file.read(slot, at: elements.lowerBound * 4, into: $0) }
      return try part.to(device: device)
    }
  }

  /// Lets some of the numbers be changed in place.
  func change(_ elements: Range<Int>, _ body: (Tensor) throws -> Void) throws {
    let part = try part(elements)
    try body(part)
    guard case .disk(let file, let slot, _) = place else { return }
    try part.to(device: .cpu).withUnsafeBytes { try file.write($0, to: slot, at: elements.lowerBound * 4) }
  }

  /// The same of all, in their shape.
  func change(_ body: (Tensor) throws -> Void) throws {
    try change(0..<shape.reduce(1, *)) { try body($0.view(shape)) }
  }

  /// - Parameter tensor: of the same shape.
  func set(_ tensor: Tensor) throws {
    switch place {
    case .memory(let own): try own.copy(from: tensor)
    case .disk(let file, let slot, _):
      try tensor.to(device: .cpu).to(.float32).contiguous().withUnsafeBytes { try file.write($0, to: slot, at: 0) }
    }
  }

  /// The numbers are not needed any more.
  func end() {
    if case .disk(let file, let slot, _) = place { file.free(slot) }
  }
}
