import CTorch

/// The element types of tensors, under PyTorch's names.
public enum DType: Sendable, Hashable, CaseIterable {
  case float32, bfloat16, float16, float64, int64, int32, uint8, bool

  /// Bytes of one element.
  public var byteCount: Int {
    switch self {
    case .float64, .int64: 8
    case .float32, .int32: 4
    case .bfloat16, .float16: 2
    case .uint8, .bool: 1
    }
  }

  /// Whether elements are floating-point numbers.
  public var isFloatingPoint: Bool {
    switch self {
    case .float32, .bfloat16, .float16, .float64: true
    case .int64, .int32, .uint8, .bool: false
    }
  }

  var code: ct_dtype {
    switch self {
    case .float32: CT_FLOAT32
    case .bfloat16: CT_BFLOAT16
    case .float16: CT_FLOAT16
    case .float64: CT_FLOAT64
    case .int64: CT_INT64
    case .int32: CT_INT32
    case .uint8: CT_UINT8
    case .bool: CT_BOOL
    }
  }

  /// The number of the C boundary: that of the type, or "leave it as it is".
  static func number(_ dtype: DType?) -> Int32 {
    dtype?.code.rawValue ?? Int32(CT_KEEP)
  }

  init?(number: Int32) {
    guard let dtype = Self.allCases.first(where: { $0.code.rawValue == number }) else { return nil }
    self = dtype
  }
}

/// Where a tensor's memory is.
public enum Device: Sendable, Hashable, CustomStringConvertible {
  case cpu
  /// A CUDA device by its index.
  case cuda(Int)
  case mps

  /// PyTorch's spelling: `cpu`, `cuda:0`, `mps`.
  public var description: String {
    switch self {
    case .cpu: "cpu"
    case .cuda(let index): "cuda:\(index)"
    case .mps: "mps"
    }
  }

  static func number(_ device: Device?) throws -> Int32 {
    switch device {
    case nil: return Int32(CT_KEEP)
    case .cpu: return Int32(CT_CPU)
    case .mps: return Int32(CT_MPS)
    case .cuda(let index):
      guard (0..<128).contains(index) else { throw TorchError("there is no CUDA device \(index)") }
      return Int32(CT_CUDA) + Int32(index)
    }
  }

  init(number: Int32) {
    let cuda = Int32(CT_CUDA)
    self = number >= cuda ? .cuda(Int(number - cuda)) : number == Int32(CT_MPS) ? .mps : .cpu
  }
}

/// What went wrong in libtorch, or on the way to it: one message for the person who reads it.
public struct TorchError: Error, Hashable, CustomStringConvertible {
  /// The Swift operation that failed (`matmul`), where one did.
  public let operation: String?
  /// The message: libtorch's first line, or ours.
  public let message: String

  public init(_ message: String, operation: String? = nil) {
    self.message = message
    self.operation = operation
  }

  public var description: String {
    operation.map { "\($0): \(message)" } ?? message
  }

  /// Of a device that has no memory left how much was asked of it and how much it has, in libtorch's words, without its advice to those
  /// who program it; nil for other errors.
  public var lackOfDeviceMemory: String? {
    guard message.contains("out of memory"), let end = message.firstRange(of: "is free.") else { return nil }
    return String(message[..<end.upperBound])
  }
}
