import Dispatch

/// The bytes of a tensor as it is read: those of a mapped file, or made of them.
public final class TensorContents: @unchecked Sendable {
  // Nothing writes to the bytes once this is there.
  public let bytes: UnsafeRawBufferPointer
  private let made: UnsafeMutableRawBufferPointer?
  /// What keeps mapped bytes where they are.
  private let owner: AnyObject?

  init(_ bytes: UnsafeRawBufferPointer, owner: AnyObject) { (self.bytes, made, self.owner) = (bytes, nil, owner) }

  init(made: UnsafeMutableRawBufferPointer) { (bytes, self.made, owner) = (UnsafeRawBufferPointer(made), made, nil) }

  deinit { made?.deallocate() }
}

extension QuantisedTensor {
  /// The weight in bfloat16, row-major: each value times its scale in float32, rounded once to the nearest, ties to even.
  ///
  /// - Parameter bytes: of a part.
  /// - Throws: what `bytes` throws.
  func decoded(_ bytes: (TensorEntry) throws -> UnsafeRawBufferPointer) throws -> TensorContents {
    let count = shape.reduce(1, *)
    let target = UnsafeMutableRawBufferPointer.allocate(byteCount: count * 2, alignment: 64)
    let contents = TensorContents(made: target)
    let (values, scales) = (try bytes(self.values), try self.scales.scaleValues(bytes(self.scales)))
    let out = target.bindMemory(to: UInt16.self)
    nonisolated(unsafe) let (source, sink) = (values, out)
    switch format {
    case .float8(let rows, let columns): Self.decode8(source, scales, self.values.shape, rows, columns, sink)
    case .mxfp4: Self.decodeMX(source, scales, self.scales.shape, sink)
    case .nvfp4(let divides):
      let global = try self.global.flatMap { try $0.scaleValues(bytes($0)).first } ?? 1
      Self.decodeNV(source, scales.map { divides ? $0 / global : $0 * global }, sink)
    case .integers(let bits): Self.decodeIntegers(source, scales, bits: bits, sink)
    }
    return contents
  }

  private static func decode8(
    _ source: UnsafeRawBufferPointer, _ scales: [Float], _ shape: [Int], _ blockRows: Int, _ blockColumns: Int,
    _ out: UnsafeMutableBufferPointer<UInt16>
  ) {
    let (rows, columns) = (shape[shape.count - 2], shape[shape.count - 1])
    let high = (rows + blockRows - 1) / blockRows, wide = (columns + blockColumns - 1) / blockColumns
    nonisolated(unsafe) let (source, out) = (source, out)
    eachRow(source.count / columns) { row in
      let scale = (row / rows * high + row % rows / blockRows) * wide
      for block in 0..<wide {
        let factor = scales[scale + block]
        for column in block * blockColumns..<min((block + 1) * blockColumns, columns) {
          let at = row * columns + column
          out[at] = bfloat16(SmallFloat.e4m3[Int(source[at])] * factor)
        }
      }
    }
  }

  /// `[E…, M, G, 16]` bytes to `[E…, G × 32, M]`.
  private static func decodeMX(
    _ source: UnsafeRawBufferPointer, _ scales: [Float], _ shape: [Int], _ out: UnsafeMutableBufferPointer<UInt16>
  ) {
    let (rows, groups) = (shape[shape.count - 2], shape[shape.count - 1])
    nonisolated(unsafe) let (source, out) = (source, out)
    // One group of all rows after another, so that neighbours in the result are written together.
    eachRow(scales.count / rows) { number in
      let (outer, group) = (number / groups, number % groups)
      for row in 0..<rows {
        let at = (outer * rows + row) * groups + group
        let scale = scales[at]
        for byte in 0..<16 {
          let pair = source[at * 16 + byte]
          let place = (outer * groups * 32 + group * 32 + byte * 2) * rows + row
          out[place] = bfloat16(SmallFloat.e2m1[Int(pair & 15)] * scale)
          out[place + rows] = bfloat16(SmallFloat.e2m1[Int(pair >> 4)] * scale)
        }
      }
    }
  }

  private static func decodeNV(
    _ source: UnsafeRawBufferPointer, _ scales: [Float], _ out: UnsafeMutableBufferPointer<UInt16>
  ) {
    nonisolated(unsafe) let (source, out) = (source, out)
    eachRow(scales.count) { group in
      let scale = scales[group]
      for byte in group * 8..<(group + 1) * 8 {
        out[byte * 2] = bfloat16(SmallFloat.e2m1[Int(source[byte] & 15)] * scale)
        out[byte * 2 + 1] = bfloat16(SmallFloat.e2m1[Int(source[byte] >> 4)] * scale)
      }
    }
  }

  private static func decodeIntegers(
    _ source: UnsafeRawBufferPointer, _ scales: [Float], bits: Int, _ out: UnsafeMutableBufferPointer<UInt16>
  ) {
    // Numbers of a word: 2 to the power of this.
    let power = bits == 4 ? 3 : 2
    let (mask, half) = (UInt32(1) << UInt32(bits) - 1, Float(1 << (bits - 1)))
    let columns = out.count / max(scales.count, 1)
    nonisolated(unsafe) let (source, out) = (source, out)
    // A row is a whole number of words, a group need not be.
    eachRow(scales.count) { group in
      let scale = scales[group]
      for at in group * columns..<(group + 1) * columns {
        let word = UInt32(littleEndian: source.loadUnaligned(fromByteOffset: (at >> power) * 4, as: UInt32.self))
        let value = word >> UInt32((at & (1 << power - 1)) * bits) & mask
        out[at] = bfloat16((Float(value) - half) * scale)
      }
    }
  }

  /// Rows, shared out among the processor's cores.
  private static func eachRow(_ count: Int, _ body: @Sendable (Int) -> Void) {
    let parts = min(64, max(count, 1))
    DispatchQueue.concurrentPerform(iterations: parts) { part in
      for row in count * part / parts..<count * (part + 1) / parts { body(row) }
    }
  }

  private static func bfloat16(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    if value.isNaN { return UInt16(bits >> 16) | 64 }
    return UInt16((bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
  }
}

extension TensorEntry {
  /// Scales as they are multiplied by.
  fileprivate func scaleValues(_ bytes: UnsafeRawBufferPointer) throws -> [Float] {
    func each<T>(_ kind: T.Type, _ value: (T) -> Float) -> [Float] {
      (0..<elementCount).map { value(bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: kind)) }
    }
    switch type {
    case .float32: return each(UInt32.self) { Float(bitPattern: UInt32(littleEndian: $0)) }
    case .bfloat16: return each(UInt16.self) { Float(bitPattern: UInt32(UInt16(littleEndian: $0)) << 16) }
    case .float16: return each(UInt16.self) { Float(Float16(bitPattern: UInt16(littleEndian: $0))) }
    case .float8E4M3: return each(UInt8.self) { SmallFloat.e4m3[Int($0)] }
    // Exponents of two, less 127; 255 is none.
    case .float8E8M0, .uint8:
      return each(UInt8.self) { $0 == 255 ? .nan : Float(sign: .plus, exponent: Int($0) - 127, significand: 1) }
    default:
      throw CheckpointError(.unsupported, "\(file): scales of type \(type.rawValue) (\(name)) are not read")
    }
  }
}

/// The values of floats of eight and four bits, by their bits.
private enum SmallFloat {
  /// Four bits of exponent, less 7, and three of mantissa; no infinity (Micikevicius et al. 2022, arXiv 2209.05433).
  static let e4m3: [Float] = (0..<256).map { bits in
    let (exponent, mantissa) = (bits >> 3 & 15, bits & 7)
    if bits & 127 == 127 { return .nan }
    let size =
      exponent == 0
      ? Float(mantissa) * Float(sign: .plus, exponent: -9, significand: 1)
      : Float(8 + mantissa) * Float(sign: .plus, exponent: exponent - 10, significand: 1)
    return bits < 128 ? size : -size
  }
  /// Two bits of exponent, less 1, and one of mantissa.
  static let e2m1: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]
}
