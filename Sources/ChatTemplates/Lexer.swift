/// A piece of a template, and the line it begins in.
struct Token {
  enum Kind: Equatable {
    case data(Text)
    case blockBegin, blockEnd, variableBegin, variableEnd
    case name(String)
    case string(Text)
    case integer(BigInt)
    case float(Double)
    /// `+`, `==`, `[`, …
    case symbol(String)
    case end
  }

  let kind: Kind
  let line: Int
}

/// Cuts a template into tokens as jinja's lexer does with `trim_blocks` and `lstrip_blocks`.
///
/// Source: `jinja2/lexer.py` of Jinja 3.1.6; its regular expressions are walked by hand here.
struct Lexer {
  private let source: [UInt8]
  private var at = 0
  private var line = 1
  /// Whether the last tag ended with a line break.
  private var isLineStart = true
  private var tokens: [Token] = []

  /// - Throws: `TemplateError`, syntax.
  static func tokens(_ source: [UInt8]) throws -> [Token] {
    var lexer = Lexer(source: normalized(source))
    try lexer.run()
    return lexer.tokens
  }

  private init(source: [UInt8]) { self.source = source }

  /// Every line break a line feed, and none at the end.
  private static func normalized(_ source: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(source.count)
    var index = 0
    while index < source.count {
      if source[index] == 0x0D {
        out.append(0x0A)
        if index + 1 < source.count, source[index + 1] == 0x0A { index += 1 }
      } else {
        out.append(source[index])
      }
      index += 1
    }
    if out.last == 0x0A { out.removeLast() }
    return out
  }

  private func error(_ message: String) -> TemplateError { TemplateError(.syntax, message, line: line) }

  private func byte(_ offset: Int) -> UInt8? { offset < source.count ? source[offset] : nil }
  private func has(_ word: StaticString, at offset: Int) -> Bool {
    let count = word.utf8CodeUnitCount
    return offset + count <= source.count
      && (0..<count).allSatisfy { source[offset + $0] == (word.utf8Start + $0).pointee }
  }

  private mutating func emit(_ kind: Token.Kind) { tokens.append(Token(kind: kind, line: line)) }

  /// Goes on to `end`, counting lines.
  private mutating func advance(to end: Int) {
    for index in at..<end where source[index] == 0x0A { line += 1 }
    if end > at { isLineStart = source[end - 1] == 0x0A }
    at = end
  }

  private func skipSpace(_ offset: Int) -> Int {
    var offset = offset
    while offset < source.count {
      let (scalar, width) = scalar(offset)
      guard scalar.isSpace else { break }
      offset += width
    }
    return offset
  }

  private func scalar(_ offset: Int) -> (scalar: Unicode.Scalar, width: Int) {
    let first = source[offset]
    if first < 0x80 { return (Unicode.Scalar(first), 1) }
    let width = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
    var value = UInt32(first) & (first < 0xE0 ? 0x1F : first < 0xF0 ? 0x0F : 0x07)
    for index in 1..<width where offset + index < source.count {
      value = value << 6 | UInt32(source[offset + index] & 0x3F)
    }
    return (Unicode.Scalar(value) ?? "\u{FFFD}", width)
  }

  // MARK: Data and tags

  private mutating func run() throws {
    while at < source.count {
      guard let tag = nextTag(at) else {
        emit(.data(Text(source[at...])))
        advance(to: source.count)
        break
      }
      let kind = source[tag + 1]
      let raw = kind == UInt8(ascii: "%") ? rawBegin(tag) : nil
      data(upTo: tag, sign: byte(tag + 2), isVariable: kind == UInt8(ascii: "{"))
      if let raw {
        advance(to: raw)
        try self.raw()
        continue
      }
      let signed = byte(tag + 2) == UInt8(ascii: "-") || byte(tag + 2) == UInt8(ascii: "+")
      let inside = tag + (signed ? 3 : 2)
      switch kind {
      case UInt8(ascii: "#"): try comment(from: inside)
      case UInt8(ascii: "%"):
        emit(.blockBegin)
        advance(to: inside)
        try expression(isBlock: true)
      default:
        emit(.variableBegin)
        advance(to: inside)
        try expression(isBlock: false)
      }
    }
    emit(.end)
  }

  private func nextTag(_ start: Int) -> Int? {
    var offset = start
    while offset + 1 < source.count {
      if source[offset] == UInt8(ascii: "{") {
        switch source[offset + 1] {
        case UInt8(ascii: "%"), UInt8(ascii: "{"), UInt8(ascii: "#"): return offset
        default: break
        }
      }
      offset += 1
    }
    return nil
  }

  /// The text before a tag, without the space that the tag takes away. Ends before the tag.
  private mutating func data(upTo tag: Int, sign: UInt8?, isVariable: Bool) {
    var end = tag
    if sign == UInt8(ascii: "-") {
      end = at + Text(source[at..<tag]).stripped(left: false) { $0.isSpace }.utf8.count
    } else if sign != UInt8(ascii: "+"), !isVariable {
      let lineStart = source[at..<tag].lastIndex(of: 0x0A).map { $0 + 1 }
      let start = lineStart ?? at
      if lineStart != nil || isLineStart, start < tag, skipSpace(start) >= tag { end = start }
    }
    if end > at { emit(.data(Text(source[at..<end]))) }
    advance(to: tag)
  }

  private mutating func comment(from inside: Int) throws {
    var offset = inside
    // `-#}` and `+#}` may share their sign with no other place: the first end counts.
    while offset + 1 < source.count {
      if has("#}", at: offset) {
        let sign = offset > inside ? source[offset - 1] : 0
        let end = offset + 2
        switch sign {
        case UInt8(ascii: "-"): advance(to: skipSpace(end))
        case UInt8(ascii: "+"): advance(to: end)
        default: advance(to: byte(end) == 0x0A ? end + 1 : end)
        }
        return
      }
      offset += 1
    }
    throw error("a comment without its end, #}")
  }

  /// The end of `{% raw %}` where one begins at `tag`.
  private func rawBegin(_ tag: Int) -> Int? {
    var offset = tag + 2
    if let sign = byte(offset), sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { offset += 1 }
    offset = skipSpace(offset)
    guard has("raw", at: offset) else { return nil }
    offset = skipSpace(offset + 3)
    if has("-%}", at: offset) { return skipSpace(offset + 3) }
    return has("%}", at: offset) ? offset + 2 : nil
  }

  private mutating func raw() throws {
    var tag = at
    while tag < source.count {
      if has("{%", at: tag) {
        var offset = tag + 2
        if let sign = byte(offset), sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { offset += 1 }
        offset = skipSpace(offset)
        if has("endraw", at: offset) {
          offset = skipSpace(offset + 6)
          if let end = blockEnd(offset) {
            data(upTo: tag, sign: byte(tag + 2), isVariable: false)
            advance(to: end)
            return
          }
        }
      }
      tag += 1
    }
    throw error("a raw block without its end, {% endraw %}")
  }

  private func blockEnd(_ offset: Int) -> Int? {
    if has("+%}", at: offset) { return offset + 3 }
    if has("-%}", at: offset) { return skipSpace(offset + 3) }
    guard has("%}", at: offset) else { return nil }
    return byte(offset + 2) == 0x0A ? offset + 3 : offset + 2
  }

  private func variableEnd(_ offset: Int) -> Int? {
    if has("-}}", at: offset) { return skipSpace(offset + 3) }
    return has("}}", at: offset) ? offset + 2 : nil
  }

  // MARK: Inside of tags

  private static let closing: [UInt8: UInt8] = [
    UInt8(ascii: "("): UInt8(ascii: ")"), UInt8(ascii: "["): UInt8(ascii: "]"), UInt8(ascii: "{"): UInt8(ascii: "}"),
  ]

  private mutating func expression(isBlock: Bool) throws {
    var open: [UInt8] = []
    while at < source.count {
      if open.isEmpty, let end = isBlock ? blockEnd(at) : variableEnd(at) {
        emit(isBlock ? .blockEnd : .variableEnd)
        advance(to: end)
        return
      }
      let (scalar, _) = scalar(at)
      if scalar.isSpace {
        advance(to: skipSpace(at))
      } else if scalar.isASCIIDigit {
        try number()
      } else if scalar.isWord || scalar.isIdentifierPart {
        try name()
      } else if scalar == "'" || scalar == "\"" {
        try string(quote: source[at])
      } else {
        try symbol(&open)
      }
    }
  }

  private mutating func name() throws {
    var end = at
    var isIdentifier = true
    while end < source.count {
      let (scalar, width) = scalar(end)
      guard scalar.isWord || scalar.isIdentifierPart else { break }
      if !(end == at ? scalar.isIdentifierStart : scalar.isIdentifierPart) { isIdentifier = false }
      end += width
    }
    guard isIdentifier else { throw error("invalid character in identifier") }
    emit(.name(String(decoding: source[at..<end], as: UTF8.self)))
    advance(to: end)
  }

  private mutating func symbol(_ open: inout [UInt8]) throws {
    let two = at + 2 <= source.count ? String(decoding: source[at..<at + 2], as: UTF8.self) : ""
    if ["//", "**", "==", "!=", ">=", "<="].contains(two) {
      emit(.symbol(two))
      return advance(to: at + 2)
    }
    let byte = source[at]
    guard "+-/*%~[](){}><=.:|,;".utf8.contains(byte) else {
      throw error("unexpected character \(String(scalar(at).scalar).debugDescription)")
    }
    if let close = Self.closing[byte] {
      open.append(close)
    } else if byte == UInt8(ascii: ")") || byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}") {
      let found = String(Unicode.Scalar(byte))
      guard let expected = open.popLast() else { throw error("unexpected '\(found)'") }
      guard expected == byte else {
        throw error("unexpected '\(found)', expected '\(String(Unicode.Scalar(expected)))'")
      }
    }
    emit(.symbol(String(Unicode.Scalar(byte))))
    advance(to: at + 1)
  }
}

// MARK: Literals

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

  private mutating func number() throws {
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

  private mutating func string(quote: UInt8) throws {
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
