import CTorch

/// A connection of two processes, each with a GPU of its own, by which tensors go from one GPU to the other: NCCL's, which is
/// opened when it is first asked for.
public final class DeviceChannel: @unchecked Sendable {
  // Unchecked: the shim has a lock for each channel.
  private let handle: OpaquePointer
  private let api: UnsafePointer<ct_api>
  /// Of this process.
  public let device: Device

  /// Bytes by which the two find each other.
  public static let idCount = Int(CT_CHANNEL_ID)

  /// NCCL's version, such as 2.27.7.
  ///
  /// - Parameter library: its file; nil for the one that libtorch is linked to, or the system's.
  /// - Throws: `TorchError` where it cannot be opened.
  public static func version(library: String? = nil) throws -> String {
    var number: Int32 = 0
    try check(LibTorch.api.pointee.channel_version(library, &number), "NCCL")
    // As nccl.h composes it.
    return "\(number / 10000).\(number / 100 % 100).\(number % 100)"
  }

  /// New bytes, of which the other process gets a copy.
  public static func makeID(library: String? = nil) throws -> [UInt8] {
    var id = [UInt8](repeating: 0, count: idCount)
    try check(LibTorch.api.pointee.channel_id(library, &id), "NCCL")
    return id
  }

  /// Waits for the other process, which does the same.
  ///
  /// - Parameters:
  ///   - id: the same in both.
  ///   - isFirst: true in one of them.
  ///   - device: of this process.
  /// - Throws: `TorchError` where they do not find each other.
  public init(_ id: [UInt8], isFirst: Bool, device: Device, library: String? = nil) throws {
    guard id.count == Self.idCount else { throw TorchError("an id of \(id.count) bytes; \(Self.idCount) are wanted") }
    api = try LibTorch.api
    var out: OpaquePointer?
    try check(api.pointee.channel_open(library, id, isFirst ? 0 : 1, Device.number(device), &out), "NCCL")
    guard let out else { throw TorchError("no result", operation: "NCCL") }
    (handle, self.device) = (out, device)
  }

  deinit { api.pointee.channel_free(handle) }

  /// Starts to send a tensor, which must not change before that is done; after what the device has been asked to do.
  ///
  /// - Throws: `TorchError` unless the tensor is contiguous and on the channel's device.
  public func send(_ tensor: Tensor) throws -> PendingMessage {
    try start(tensor) { api.pointee.channel_send(handle, tensor.handle, &$0) }
  }

  /// Starts to receive into a tensor of as many bytes as the sender's.
  ///
  /// - Throws: `TorchError` unless the tensor is contiguous, on the channel's device and may be changed.
  public func receive(into tensor: Tensor) throws -> PendingMessage {
    try start(tensor) { api.pointee.channel_receive(handle, tensor.handle, &$0) }
  }

  private func start(
    _ tensor: Tensor, _ call: (inout OpaquePointer?) -> UnsafeMutablePointer<CChar>?
  ) throws -> PendingMessage {
    var out: OpaquePointer?
    defer { withExtendedLifetime((self, tensor)) {} }
    try check(call(&out), "NCCL")
    guard let out else { throw TorchError("no result", operation: "NCCL") }
    return PendingMessage(owning: out, tensor, of: self, api)
  }
}

extension Device {
  /// Where a GPU is on the bus of its machine, by which two processes know that they have the same one; nil for other devices.
  ///
  /// - Throws: `TorchError` where CUDA does not say.
  public func busAddress() throws -> String? {
    let text = Received()
    try check(
      LibTorch.api.pointee.device_address(
        Device.number(self), Unmanaged.passUnretained(text).toOpaque(), Received.take), "busAddress")
    let bytes = withExtendedLifetime(text) { text.bytes }
    return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
  }
}
