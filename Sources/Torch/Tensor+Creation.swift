import CTorch

extension Tensor {
  /// A float32 tensor of these values in row order.
  ///
  /// - Throws: `TorchError` unless `shape` has as many elements as there are values.
  public convenience init(_ values: [Float], shape: [Int]) throws {
    try self.init(copying: values, shape, .float32)
  }

  /// An int64 tensor of these values in row order.
  public convenience init(_ values: [Int64], shape: [Int]) throws {
    try self.init(copying: values, shape, .int64)
  }

  /// An int32 tensor of these values in row order.
  public convenience init(_ values: [Int32], shape: [Int]) throws {
    try self.init(copying: values, shape, .int32)
  }

  /// A bool tensor of these values in row order.
  public convenience init(_ values: [Bool], shape: [Int]) throws {
    try self.init(copying: values, shape, .bool)
  }

  private convenience init<Element: BitwiseCopyable>(copying values: [Element], _ shape: [Int], _ dtype: DType) throws {
    let api = try LibTorch.api
    let handle = try values.withUnsafeBytes { try Self.copy($0, shape: shape, dtype: dtype, api) }
    self.init(owning: handle, api)
  }

  /// A tensor with a copy of `bytes`: elements of `dtype` in row order, little-endian.
  ///
  /// - Throws: `TorchError` unless `shape` and `dtype` take exactly these bytes.
  public convenience init(bytes: UnsafeRawBufferPointer, shape: [Int], dtype: DType) throws {
    let api = try LibTorch.api
    self.init(owning: try Self.copy(bytes, shape: shape, dtype: dtype, api), api)
  }

  private static func copy(
    _ bytes: UnsafeRawBufferPointer, shape: [Int], dtype: DType, _ api: UnsafePointer<ct_api>
  ) throws -> OpaquePointer {
    try checkBytes(bytes.count, shape, dtype)
    var out: OpaquePointer?
    try withDims(shape) { dims, count in
      try check(
        api.pointee.from_bytes(bytes.baseAddress, bytes.count, dims, count, dtype.code.rawValue, &out), "Tensor.init")
    }
    guard let out else { throw TorchError("no result", operation: "Tensor.init") }
    return out
  }

  /// A tensor over memory that somebody else owns, without a copy: a mapped checkpoint.
  ///
  /// The memory must be readable and unchanged as long as `owner` lives; `owner` is retained until the last
  /// view of it is gone. It is taken to be read-only: in-place operations on the tensor and its views throw.
  /// Memory that is not aligned for `dtype` is copied instead, and `owner` is not retained then.
  ///
  /// - Throws: `TorchError` unless `shape` and `dtype` take exactly these bytes.
  public static func borrowing(
    _ bytes: UnsafeRawBufferPointer, shape: [Int], dtype: DType, owner: AnyObject
  ) throws -> Tensor {
    try checkBytes(bytes.count, shape, dtype)
    guard Int(bitPattern: bytes.baseAddress) % dtype.byteCount == 0 else {
      return try Tensor(bytes: bytes, shape: shape, dtype: dtype)
    }
    return try make { api, out in
      let context = Unmanaged.passRetained(owner).toOpaque()
      return withDims(shape) { dims, count in
        api.pointee.borrow(
          bytes.baseAddress, bytes.count, dims, count, dtype.code.rawValue, context,
          { Unmanaged<AnyObject>.fromOpaque($0).release() }, &out)
      }
    }
  }

  /// A tensor whose elements are whatever its memory held.
  public static func empty(_ shape: [Int], dtype: DType, device: Device = .cpu) throws -> Tensor {
    try checkSize(shape, dtype)
    let device = try Device.number(device)
    return try make { api, out in
      withDims(shape) { api.pointee.empty($0, $1, dtype.code.rawValue, device, &out) }
    }
  }

  /// A tensor of zeros.
  public static func zeros(_ shape: [Int], dtype: DType, device: Device = .cpu) throws -> Tensor {
    try full(shape, 0, dtype: dtype, device: device)
  }

  /// A tensor of ones.
  public static func ones(_ shape: [Int], dtype: DType, device: Device = .cpu) throws -> Tensor {
    try full(shape, 1, dtype: dtype, device: device)
  }

  /// A tensor whose elements are all `value`.
  public static func full(_ shape: [Int], _ value: Double, dtype: DType, device: Device = .cpu) throws -> Tensor {
    try checkSize(shape, dtype)
    let device = try Device.number(device)
    return try make { api, out in
      withDims(shape) { api.pointee.full($0, $1, value, dtype.code.rawValue, device, &out) }
    }
  }

  /// 0, 1, … `count` − 1.
  public static func arange(_ count: Int, dtype: DType = .int64, device: Device = .cpu) throws -> Tensor {
    try arange(from: 0, to: Double(count), dtype: dtype, device: device)
  }

  /// `start`, `start + step`, … up to and without `end`.
  public static func arange(
    from start: Double, to end: Double, step: Double = 1, dtype: DType, device: Device = .cpu
  ) throws -> Tensor {
    let device = try Device.number(device)
    return try make { api, out in api.pointee.arange(start, end, step, dtype.code.rawValue, device, &out) }
  }

  /// Samples of the standard normal distribution, from the generator that `LibTorch.seed` sets.
  public static func randn(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) throws -> Tensor {
    try checkSize(shape, dtype)
    let device = try Device.number(device)
    return try make { api, out in
      withDims(shape) { api.pointee.randn($0, $1, dtype.code.rawValue, device, &out) }
    }
  }

  /// The elements converted to `dtype`; `self` where it has that type already.
  public func to(_ dtype: DType) throws -> Tensor {
    dtype == self.dtype ? self : try convert(dtype, nil)
  }

  /// The tensor on `device`; `self` where it is there already.
  public func to(device: Device) throws -> Tensor {
    device == self.device ? self : try convert(nil, device)
  }

  private func convert(_ dtype: DType?, _ device: Device?) throws -> Tensor {
    let device = try Device.number(device)
    return try Self.make(self, operation: "to") { api, out in
      api.pointee.to(handle, DType.number(dtype), device, &out)
    }
  }

  /// A contiguous copy in memory of its own.
  public func clone() throws -> Tensor {
    try Self.make(self) { $0.pointee.clone(handle, &$1) }
  }

  /// The same elements in row order without gaps; `self` where they are already.
  public func contiguous() throws -> Tensor {
    isContiguous ? self : try Self.make(self) { $0.pointee.contiguous(handle, &$1) }
  }

  /// Overwrites the elements with those of `source`, which is converted and broadcast as needed.
  public func copy(from source: Tensor) throws {
    try Self.run(self, source) { $0.pointee.copy_(handle, source.handle) }
  }

  /// The bytes that `shape` × `dtype` takes.
  ///
  /// - Throws: `TorchError` when a size is negative or the product does not fit an Int.
  @discardableResult
  static func checkSize(_ shape: [Int], _ dtype: DType) throws -> Int {
    var bytes = dtype.byteCount
    for size in shape {
      guard size >= 0 else { throw TorchError("a size is negative in shape \(shape)") }
      let (product, overflow) = bytes.multipliedReportingOverflow(by: size)
      guard !overflow else { throw TorchError("shape \(shape) of \(dtype) is too large for any memory") }
      bytes = product
    }
    return bytes
  }

  private static func checkBytes(_ bytes: Int, _ shape: [Int], _ dtype: DType) throws {
    let needed = try checkSize(shape, dtype)
    guard needed == bytes else {
      throw TorchError("shape \(shape) of \(dtype) takes \(needed) bytes, but there are \(bytes)")
    }
  }
}
