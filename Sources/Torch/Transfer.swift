import CTorch

/// A copy of a tensor on its way to a device. On CUDA it goes from pinned memory on a stream of its own, beside whatever
/// the device computes; elsewhere it is there at once.
///
/// May be sent on one thread and received on another. Unchecked: the two do not happen at the same time.
public final class Transfer: @unchecked Sendable {
  private let handle: OpaquePointer
  private let api: UnsafePointer<ct_api>

  /// Starts the copy; returns before it is done, and after `tensor` has been read.
  public init(_ tensor: Tensor, to device: Device) throws {
    api = try LibTorch.api
    var out: OpaquePointer?
    defer { withExtendedLifetime(tensor) {} }
    try check(api.pointee.send(tensor.handle, Device.number(device), &out), "Transfer")
    guard let out else { throw TorchError("no result", operation: "Transfer") }
    handle = out
  }

  deinit { api.pointee.transfer_free(handle) }

  /// The copy. What the device does next with it waits until it is there; the caller does not wait.
  public func receive() throws -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return try Tensor.make { $0.pointee.receive(handle, &$1) }
  }
}

extension Device {
  /// Whether there is such a device here. Opens libtorch.
  public var isAvailable: Bool {
    switch self {
    case .cpu: true
    case .cuda(let index): LibTorch.environment().cudaDevices > index
    case .mps: (try? Tensor.zeros([1], dtype: .float32, device: .mps)) != nil
    }
  }

  /// Bytes of memory that the device has left, and in all.
  ///
  /// - Throws: `TorchError` for devices without memory of their own.
  public func memory() throws -> (free: Int, total: Int) {
    let api = try LibTorch.api
    var (free, total) = (0, 0)
    try check(api.pointee.device_memory(Device.number(self), &free, &total), "memory")
    return (free, total)
  }
}
