/// Numbers and strings.
extension Lexer {
  /// The end of digits that single underscores may separate, where there is one at least.
  private func digits(_ start: Int, _ isDigit: (UInt8) -> Bool) -> Int? {
    guard let first = byte(start), isDigit(first) else { return nil }
    var end = start + 1
    while true {
      if let next = byte(end), isDigit(next) {
        end += 1
      } else if byte(end) == UInt8(ascii: "_"), let next = byte(end + 1), isDigit(next) {
        end += 2
      } else {
        return end
      }
    }
  }

  private static func isDecimal(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  mutating func number() throws {
    let start = at
    if !(start > 0 && source[start - 1] == UInt8(ascii: ".")), let end = floatEnd(start) {
      let spelling = source[start..<end].filter { $0 != UInt8(ascii: "_") }
      emit(.float(Double(String(decoding: spelling, as: UTF8.self)) ?? .infinity))
      return advance(to: end)
    }
    for (mark, radix) in [("b", 2), ("o", 8), ("x", 16)] where byte(start) == UInt8(ascii: "0") {
      guard let found = byte(start + 1), found | 0x20 == mark.utf8.first else { continue }
      let first = byte(start + 2) == UInt8(ascii: "_") ? start + 3 : start + 2
      let inRadix: (UInt8) -> Bool = { Character(Unicode.Scalar($0)).hexDigitValue.map { $0 < radix } ?? false }
      guard let end = digits(first, inRadix) else { break }
      let spelling = source[first..<end].filter { $0 != UInt8(ascii: "_") }
      var value = BigInt(0)
      for byte in spelling.prefix(4096) {
        let digit = Character(Unicode.Scalar(byte)).hexDigitValue ?? 0
        value = value * BigInt(radix) + BigInt(digit)
      }
      guard spelling.count <= 4096 else { throw error("an integer of more than 4096 digits") }
      emit(.integer(value))
      return advance(to: end)
    }
    let isZero = source[start] == UInt8(ascii: "0")
    let end = digits(start) { isZero ? $0 == UInt8(ascii: "0") : Self.isDecimal($0) } ?? start + 1
    guard let value = BigInt(decimal: source[start..<end].filter { $0 != UInt8(ascii: "_") }) else {
      throw error("an integer of more than \(BigInt.maximumDigits) digits")
    }
    emit(.integer(value))
    advance(to: end)
  }

  private func floatEnd(_ start: Int) -> Int? {
    guard let whole = digits(start, Self.isDecimal) else { return nil }
    var end = whole
    let fraction = byte(whole) == UInt8(ascii: ".") ? digits(whole + 1, Self.isDecimal) : nil
    if let fraction { end = fraction }
    if let mark = byte(end), mark | 0x20 == UInt8(ascii: "e") {
      let sign = byte(end + 1)
      let first = sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") ? end + 2 : end + 1
      if let exponent = digits(first, Self.isDecimal) { return exponent }
    }
    return fraction
  }

  mutating func string(quote: UInt8) throws {
    var end = at + 1
    while let byte = byte(end), byte != quote { end += byte == UInt8(ascii: "\\") ? 2 : 1 }
    guard byte(end) == quote else {
      throw error("unexpected character \(quote == 0x27 ? "\"'\"" : "'\"'"): a string without its end")
    }
    emit(.string(try unescaped(source[at + 1..<end])))
    advance(to: end + 1)
  }

  /// Python's `unicode-escape`, applied to what jinja made ASCII before.
  private func unescaped(_ body: ArraySlice<UInt8>) throws -> Text {
    guard body.contains(UInt8(ascii: "\\")) else { return Text(body) }
    var out: [UInt8] = []
    var index = body.startIndex
    func number(_ start: Int, _ width: Int) throws -> Unicode.Scalar {
      let digits = body[min(start, body.endIndex)..<min(start + width, body.endIndex)]
      guard digits.count == width, let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16),
        !digits.contains(UInt8(ascii: "+")), !digits.contains(UInt8(ascii: "-"))
      else { throw error("an escape in a string wants \(width) hexadecimal digits") }
      guard let scalar = Unicode.Scalar(value) else { throw error("an escape in a string names no character") }
      return scalar
    }
    while index < body.endIndex {
      guard body[index] == UInt8(ascii: "\\") else {
        out.append(body[index])
        index += 1
        continue
      }
      let mark = body[index + 1]
      index += 2
      switch mark {
      case 0x0A: break
      case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): out.append(mark)
      case UInt8(ascii: "a"): out.append(0x07)
      case UInt8(ascii: "b"): out.append(0x08)
      case UInt8(ascii: "f"): out.append(0x0C)
      case UInt8(ascii: "n"): out.append(0x0A)
      case UInt8(ascii: "r"): out.append(0x0D)
      case UInt8(ascii: "t"): out.append(0x09)
      case UInt8(ascii: "v"): out.append(0x0B)
      case UInt8(ascii: "x"), UInt8(ascii: "u"), UInt8(ascii: "U"):
        let width = mark == UInt8(ascii: "x") ? 2 : mark == UInt8(ascii: "u") ? 4 : 8
        out.append(scalar: try number(index, width))
        index += width
      case UInt8(ascii: "N"): throw error("\\N{…} in a string is not supported; write the character itself")
      case UInt8(ascii: "0")...UInt8(ascii: "7"):
        var value = UInt32(mark - UInt8(ascii: "0"))
        for _ in 0..<2 {
          guard index < body.endIndex, (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(body[index]) else { break }
          value = value * 8 + UInt32(body[index] - UInt8(ascii: "0"))
          index += 1
        }
        out.append(scalar: Unicode.Scalar(value) ?? "\u{FFFD}")
      case 0x80...:
        // The character was spelled as an escape before its backslash was read, which then stands for itself.
        let (scalar, width) = scalar(index - 1)
        let (letter, digits) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
        out.append(contentsOf: "\\\(letter)\(hexadecimal(scalar.value, width: digits))".utf8)
        index += width - 1
      default: out.append(contentsOf: [UInt8(ascii: "\\"), mark])
      }
    }
    return Text(out)
  }
}
