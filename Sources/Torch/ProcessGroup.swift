import CTorch

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// c10d's store of keys and values among processes: one of them serves it, over TCP. Each object is a connection; its calls
/// wait for one another.
public final class KeyStore: @unchecked Sendable {
  // Unchecked: c10d has a lock for each connection.
  fileprivate let handle: OpaquePointer
  private let api: UnsafePointer<ct_api>

  /// - Parameters:
  ///   - listener: for the server, a socket that listens at `port` already, which it takes over.
  ///   - timeout: seconds after which a server that does not answer is given up, and those of later calls.
  ///   - prefix: what all keys begin with.
  /// - Throws: `TorchError`.
  public init(
    host: String, port: UInt16, serving: Bool = false, listener: Int32? = nil, timeout: Double, prefix: String
  ) throws {
    api = try LibTorch.api
    var out: OpaquePointer?
    try check(api.pointee.store_open(host, port, listener ?? -1, serving, timeout, prefix, &out), "KeyStore")
    guard let out else { throw TorchError("no result", operation: "KeyStore") }
    handle = out
  }

  deinit { api.pointee.store_free(handle) }

  /// Where it is served.
  public var port: UInt16 { api.pointee.store_port(handle) }

  public func set(_ key: String, _ value: [UInt8]) throws {
    try check(api.pointee.store_set(handle, key, value, value.count), "KeyStore.set")
  }

  /// Whether somebody has set a key.
  public func has(_ key: String) throws -> Bool {
    var found = false
    try check(api.pointee.store_has(handle, key, &found), "KeyStore.has")
    return found
  }

  /// The value of a key, which is waited for.
  ///
  /// - Throws: `TorchError`, also when `timeout` seconds have passed.
  public func get(_ key: String, timeout: Double) throws -> [UInt8] {
    let value = Received()
    try check(
      api.pointee.store_get(handle, key, timeout, Unmanaged.passUnretained(value).toOpaque(), Received.take),
      "KeyStore.get")
    return withExtendedLifetime(value) { value.bytes }
  }

  /// Sets a key unless it is set: the first comes first.
  ///
  /// - Returns: what it is set to then.
  public func setFirst(_ key: String, _ value: [UInt8]) throws -> [UInt8] {
    let now = Received()
    try check(
      api.pointee.store_first(
        handle, key, value, value.count, Unmanaged.passUnretained(now).toOpaque(), Received.take), "KeyStore.setFirst")
    return withExtendedLifetime(now) { now.bytes }
  }
}

/// Bytes on their way out of C.
final class Received {
  var bytes: [UInt8] = []

  static let take: @convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer?, Int) -> Void = { context, bytes, count in
    Unmanaged<Received>.fromOpaque(context).takeUnretainedValue().bytes =
      Array(UnsafeRawBufferPointer(start: bytes, count: count))
  }
}

/// Gloo's connections among processes, for messages from one to another.
public final class ProcessGroup: @unchecked Sendable {
  // Unchecked: Gloo sends and receives from any thread.
  private let handle: OpaquePointer
  private let api: UnsafePointer<ct_api>

  /// Connects to all others; each of them makes one of these.
  ///
  /// - Parameters:
  ///   - address: this process's for the others; not used where an `interface` is named.
  ///   - timeout: seconds after which the others are given up.
  /// - Throws: `TorchError`.
  public init(
    _ store: KeyStore, rank: Int, size: Int, address: String, interface: String? = nil, timeout: Double
  ) throws {
    guard let rank = Int32(exactly: rank), let size = Int32(exactly: size) else {
      throw TorchError("rank \(rank) of \(size) is too large", operation: "ProcessGroup")
    }
    api = try LibTorch.api
    var out: OpaquePointer?
    try check(api.pointee.group_open(store.handle, rank, size, address, interface, timeout, &out), "ProcessGroup")
    guard let out else { throw TorchError("no result", operation: "ProcessGroup") }
    handle = out
  }

  deinit { api.pointee.group_free(handle) }

  /// Starts to send a tensor, which must not change before that is done. With the same `tag`, tensors arrive in the order
  /// in which they are sent.
  ///
  /// - Throws: `TorchError` unless the tensor is contiguous and on the CPU.
  public func send(_ tensor: Tensor, to rank: Int, tag: Int32) throws -> PendingMessage {
    try start(tensor, rank) { api.pointee.group_send(handle, tensor.handle, $0, tag, &$1) }
  }

  /// Starts to receive into a tensor, which has as many bytes as the sender's.
  ///
  /// - Throws: `TorchError` unless the tensor is contiguous, on the CPU and may be changed.
  public func receive(into tensor: Tensor, from rank: Int, tag: Int32) throws -> PendingMessage {
    try start(tensor, rank) { api.pointee.group_receive(handle, tensor.handle, $0, tag, &$1) }
  }

  private func start(
    _ tensor: Tensor, _ rank: Int, _ call: (Int32, inout OpaquePointer?) -> UnsafeMutablePointer<CChar>?
  ) throws -> PendingMessage {
    guard let rank = Int32(exactly: rank) else { throw TorchError("there is no rank \(rank)") }
    var out: OpaquePointer?
    defer { withExtendedLifetime((self, tensor)) {} }
    try check(call(rank, &out), "ProcessGroup")
    guard let out else { throw TorchError("no result", operation: "ProcessGroup") }
    return PendingMessage(owning: out, tensor, of: self, api)
  }
}

/// A tensor on its way from one process to another. Unchecked: one thread waits, others at most call `abort`.
public final class PendingMessage: @unchecked Sendable {
  private let handle: OpaquePointer
  private let api: UnsafePointer<ct_api>
  /// What is sent, or received into.
  public let tensor: Tensor
  private let connection: AnyObject

  init(owning handle: OpaquePointer, _ tensor: Tensor, of connection: AnyObject, _ api: UnsafePointer<ct_api>) {
    (self.handle, self.tensor, self.connection, self.api) = (handle, tensor, connection, api)
  }

  deinit { api.pointee.work_free(handle) }

  /// Waits until it is sent or received.
  ///
  /// - Returns: false when it was aborted.
  /// - Throws: `TorchError` when the connection broke, or `timeout` seconds have passed: no message of the group arrives
  ///   after that.
  public func wait(timeout: Double) throws -> Bool {
    var done = false
    try check(api.pointee.work_wait(handle, timeout, &done), "PendingMessage.wait")
    return done
  }

  /// Ends the wait of another thread.
  public func abort() throws { try check(api.pointee.work_abort(handle), "PendingMessage.abort") }
}
