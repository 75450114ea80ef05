/// The element types of the safetensors format, by the names it gives them.
///
/// Source: the `Dtype` list of the safetensors format (huggingface/safetensors, `tensor.rs`).
public enum ElementType: String, Sendable, CaseIterable {
  case bool = "BOOL"
  case float4 = "F4"
  case float6E2M3 = "F6_E2M3"
  case float6E3M2 = "F6_E3M2"
  case uint8 = "U8"
  case int8 = "I8"
  case float8E5M2 = "F8_E5M2"
  case float8E4M3 = "F8_E4M3"
  case float8E8M0 = "F8_E8M0"
  case float8E4M3FNUZ = "F8_E4M3FNUZ"
  case float8E5M2FNUZ = "F8_E5M2FNUZ"
  case int16 = "I16"
  case uint16 = "U16"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case int32 = "I32"
  case uint32 = "U32"
  case float32 = "F32"
  case complex64 = "C64"
  case float64 = "F64"
  case int64 = "I64"
  case uint64 = "U64"

  /// Bits of one element. The packed types have fewer than eight.
  public var bitCount: Int {
    switch self {
    case .float4: 4
    case .float6E2M3, .float6E3M2: 6
    case .bool, .uint8, .int8, .float8E5M2, .float8E4M3, .float8E8M0, .float8E4M3FNUZ, .float8E5M2FNUZ: 8
    case .int16, .uint16, .float16, .bfloat16: 16
    case .int32, .uint32, .float32: 32
    case .complex64, .float64, .int64, .uint64: 64
    }
  }

  /// Bytes of one element; 1 for the packed types, whose elements are no whole bytes (see `bitCount`).
  public var byteCount: Int { (bitCount + 7) / 8 }

  /// Bytes that a tensor of this shape takes, or nil where the product overflows, a size is negative or the
  /// elements of a packed type fill no whole number of bytes.
  public func byteCount(ofShape shape: [Int]) -> Int? {
    guard let elements = elementCount(ofShape: shape) else { return nil }
    let (bits, overflow) = elements.multipliedReportingOverflow(by: bitCount)
    // Bits overflow eight times earlier than bytes; only the packed types need them.
    guard bitCount % 8 == 0 else { return overflow || bits % 8 != 0 ? nil : bits / 8 }
    let (bytes, tooMany) = elements.multipliedReportingOverflow(by: bitCount / 8)
    return tooMany ? nil : bytes
  }
}

/// The product of a shape (1 for the empty one), or nil where it overflows or a size is negative. A shape with
/// a zero in it overflows nothing, wherever the zero stands, and still has to multiply up to something real:
/// the sizes are multiplied in their order, as the format's own reader does.
func elementCount(ofShape shape: [Int]) -> Int? {
  var product = 1
  for size in shape {
    guard size >= 0 else { return nil }
    let (next, overflow) = product.multipliedReportingOverflow(by: size)
    if overflow { return nil }
    product = next
  }
  return product
}

/// One tensor of a safetensors file: what its header says, checked.
public struct TensorEntry: Sendable, Equatable {
  public let name: String
  public let type: ElementType
  /// Sizes, outermost first; empty for a scalar. Their product fits `Int`.
  public let shape: [Int]
  /// The name of the file that holds it, inside the checkpoint's directory.
  public let file: String
  /// Bytes in that file, from its start; of a quantised weight those that it has when it is read, from zero.
  public let range: Range<Int>
  /// Set for a weight that is stored quantised: type and shape are those that it is read in.
  let quantised: QuantisedTensor?

  init(
    name: String, type: ElementType, shape: [Int], file: String, range: Range<Int>, quantised: QuantisedTensor? = nil
  ) {
    (self.name, self.type, self.shape, self.file) = (name, type, shape, file)
    (self.range, self.quantised) = (range, quantised)
  }

  /// Whether it is stored quantised.
  public var isQuantised: Bool { quantised != nil }

  public var elementCount: Int { shape.reduce(1, *) }
}
