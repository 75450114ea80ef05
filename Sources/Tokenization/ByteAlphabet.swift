/// GPT-2's spelling of bytes as printable characters: printable Latin-1 is itself, the other 68 become U+0100 onwards.
enum ByteAlphabet {
  static let scalars: [UInt32] = {
    var next: UInt32 = 0x100
    return (UInt32(0)..<256).map { byte in
      if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte) { return byte }
      defer { next += 1 }
      return next
    }
  }()

  /// The byte each scalar below U+0144 stands for.
  private static let bytes: [UInt8?] = {
    var bytes = [UInt8?](repeating: nil, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar)] = UInt8(byte) }
    return bytes
  }()

  static func map(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count * 2)
    for byte in text { appendScalar(scalars[Int(byte)], to: &out) }
    return out
  }

  /// The bytes a token's characters stand for; nil when one of them stands for none.
  static func unmap(_ token: [UInt8]) -> [UInt8]? {
    token.withUnsafeBufferPointer { token in
      var out: [UInt8] = []
      out.reserveCapacity(token.count)
      var at = 0
      while at < token.count {
        let (value, length) = scalar(in: token, at: at)
        guard value < 0x144, let byte = bytes[Int(value)] else { return nil }
        out.append(byte)
        at += length
      }
      return out
    }
  }
}
