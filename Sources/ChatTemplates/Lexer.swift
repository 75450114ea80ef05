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
  let source: [UInt8]
  private(set) var at = 0
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

  func error(_ message: String) -> TemplateError { TemplateError(.syntax, message, line: line) }

  func byte(_ offset: Int) -> UInt8? { offset < source.count ? source[offset] : nil }
  func has(_ word: StaticString, at offset: Int) -> Bool {
    let count = word.utf8CodeUnitCount
    return offset + count <= source.count
      && (0..<count).allSatisfy { source[offset + $0] == (word.utf8Start + $0).pointee }
  }

  mutating func emit(_ kind: Token.Kind) { tokens.append(Token(kind: kind, line: line)) }

  /// Goes on to `end`, counting lines.
  mutating func advance(to end: Int) {
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

  func scalar(_ offset: Int) -> (scalar: Unicode.Scalar, width: Int) {
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
