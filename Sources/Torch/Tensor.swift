import CTorch

/// A tensor of libtorch: an n-dimensional array of numbers on a device.
///
/// Reference semantics, as in PyTorch: views (`narrow`, `transpose`, …) share memory with their source, and
/// in-place operations (`add(_:)`, `multiply(by:)`, `copy(from:)`) show in all of them. Memory goes when the
/// last reference goes. Not `Sendable`: hand a tensor over to another thread, do not share it.
///
/// Negative dimensions count from the end. Operations throw `TorchError` with libtorch's own message where
/// shapes, types or devices do not fit; none of them traps. Gradients are not recorded.
public final class Tensor {
  let handle: OpaquePointer
  private let api: UnsafePointer<ct_api>

  /// Takes over a tensor that the C boundary made.
  init(owning handle: OpaquePointer, _ api: UnsafePointer<ct_api>) {
    self.handle = handle
    self.api = api
  }

  deinit {
    api.pointee.tensor_free(handle)
  }

  /// The size of each dimension; empty for a single number.
  public var shape: [Int] {
    let count = dim
    return [Int](unsafeUninitializedCapacity: count) { buffer, filled in
      buffer.withMemoryRebound(to: Int64.self) { sizes in
        if let first = sizes.baseAddress { api.pointee.shape(handle, first) }
      }
      filled = count
    }
  }

  /// The number of dimensions.
  public var dim: Int { Int(api.pointee.dim(handle)) }

  /// The size of one dimension.
  ///
  /// - Throws: `TorchError` when there is no such dimension.
  public func size(_ dim: Int) throws -> Int {
    shape[try resolved(dim)]
  }

  /// The type of the elements.
  public var dtype: DType {
    // Every operation here yields one of our types.
    DType(number: api.pointee.dtype(handle)) ?? .uint8
  }

  /// Where the memory is.
  public var device: Device { Device(number: api.pointee.device(handle)) }

  /// The number of elements.
  public var elementCount: Int { Int(api.pointee.numel(handle)) }

  /// Elements × bytes of one, whatever is shared.
  public var byteCount: Int { elementCount * dtype.byteCount }

  /// Whether the elements lie row by row without gaps.
  public var isContiguous: Bool { api.pointee.is_contiguous(handle) }

  /// Whether the memory is read-only and somebody else's (see `borrowing`): in-place operations throw.
  public var isBorrowed: Bool { api.pointee.is_borrowed(handle) }

  /// The one element of a tensor of one element.
  ///
  /// - Throws: `TorchError` when there are more or none.
  public func item() throws -> Double {
    var value = 0.0
    try check(api.pointee.item(handle, &value), #function)
    return value
  }

  /// All elements in row order, converted to float32. Works for every type, layout and device.
  public func floats() throws -> [Float] {
    try read(.float32)
  }

  /// All elements in row order, converted to float64.
  public func doubles() throws -> [Double] {
    try read(.float64)
  }

  /// All elements of an integer or bool tensor in row order.
  ///
  /// - Throws: `TorchError` for floating-point tensors, which would be rounded.
  public func int64s() throws -> [Int64] {
    guard !dtype.isFloatingPoint else {
      throw TorchError("the tensor holds \(dtype), not integers", operation: "int64s")
    }
    return try read(.int64)
  }

  /// All elements as truth values: nonzero is true.
  public func bools() throws -> [Bool] {
    try read(.bool)
  }

  private func read<Element: BitwiseCopyable>(_ type: DType) throws -> [Element] {
    let count = elementCount
    defer { withExtendedLifetime(self) {} }
    return try [Element](unsafeUninitializedCapacity: count) { buffer, filled in
      try check(
        api.pointee.read(handle, type.code.rawValue, buffer.baseAddress, count * MemoryLayout<Element>.stride), "read")
      filled = count
    }
  }

  /// The bytes of a contiguous tensor on the CPU, without a copy; valid during `body`.
  ///
  /// - Throws: `TorchError` for other tensors (`contiguous()` and `to(device: .cpu)` help), and what `body` throws.
  public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
    var bytes: UnsafeRawPointer?
    var count = 0
    try check(api.pointee.data(handle, &bytes, &count), #function)
    defer { withExtendedLifetime(self) {} }
    return try body(UnsafeRawBufferPointer(start: bytes, count: count))
  }

  /// The same, to be written to: the tensor has to own its memory, with no borrowed bytes in it.
  ///
  /// - Throws: as `withUnsafeBytes`.
  package func withUnsafeMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
    try withUnsafeBytes { try body(UnsafeMutableRawBufferPointer(mutating: $0)) }
  }

  /// A dimension counted from the front.
  func resolved(_ dim: Int, _ operation: StaticString = #function) throws -> Int {
    let count = self.dim
    guard dim >= -count, dim < count else {
      throw TorchError("there is no dimension \(dim) in a tensor of shape \(shape)", operation: "\(operation)")
    }
    return dim < 0 ? dim + count : dim
  }

  /// Runs a function of the C boundary that makes a tensor out of these, which live until it returns.
  @inline(__always)
  static func make(
    _ a: Tensor? = nil, _ b: Tensor? = nil, _ c: Tensor? = nil, _ d: Tensor? = nil,
    operation: StaticString = #function,
    _ call: (UnsafePointer<ct_api>, inout OpaquePointer?) throws -> UnsafeMutablePointer<CChar>?
  ) throws -> Tensor {
    let api = try LibTorch.api
    var out: OpaquePointer?
    defer { withExtendedLifetime((a, b, c, d)) {} }
    try check(try call(api, &out), operation)
    guard let out else { throw TorchError("no result", operation: "\(operation)") }
    return Tensor(owning: out, api)
  }

  /// The same for functions that make no tensor.
  @inline(__always)
  static func run(
    _ a: Tensor, _ b: Tensor? = nil, _ c: Tensor? = nil,
    operation: StaticString = #function,
    _ call: (UnsafePointer<ct_api>) throws -> UnsafeMutablePointer<CChar>?
  ) throws {
    defer { withExtendedLifetime((a, b, c)) {} }
    try check(try call(try LibTorch.api), operation)
  }

  /// The same for functions that make two.
  @inline(__always)
  static func makePair(
    _ a: Tensor, operation: StaticString = #function,
    _ call: (UnsafePointer<ct_api>, inout OpaquePointer?, inout OpaquePointer?) -> UnsafeMutablePointer<CChar>?
  ) throws -> (values: Tensor, indices: Tensor) {
    let api = try LibTorch.api
    var values: OpaquePointer?
    var indices: OpaquePointer?
    defer { withExtendedLifetime(a) {} }
    try check(call(api, &values, &indices), operation)
    guard let values, let indices else { throw TorchError("no result", operation: "\(operation)") }
    return (Tensor(owning: values, api), Tensor(owning: indices, api))
  }
}

extension Tensor: CustomStringConvertible {
  /// Shape, type and device, and the elements where there are few: `float32[2, 3]`, `int64[2] 4 5`.
  public var description: String {
    let place = device == .cpu ? "" : "@\(device)"
    let head = "\(dtype)\(place)\(shape)"
    guard elementCount > 0, elementCount <= 8 else { return head }
    let values = dtype.isFloatingPoint ? (try? floats())?.map { "\($0)" } : (try? int64s())?.map { "\($0)" }
    return ([head] + (values ?? [])).joined(separator: " ")
  }
}

/// Hands dimensions over as the C boundary takes them.
@inline(__always)
func withDims<R>(_ dims: [Int], _ body: (UnsafePointer<Int64>?, Int) throws -> R) rethrows -> R {
  // Int is Int64 on every platform that libtorch runs on.
  try dims.withUnsafeBufferPointer { buffer in
    try buffer.withMemoryRebound(to: Int64.self) { try body($0.baseAddress, $0.count) }
  }
}
