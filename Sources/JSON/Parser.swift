/// Why a text is not JSON, and where.
public struct JSONError: Error, CustomStringConvertible, Equatable {
  public let message: String
  /// Offset in bytes from the start of the text.
  public let offset: Int

  public var description: String { "not valid JSON: \(message) at byte \(offset)" }
}

extension JSON {
  /// Nesting deeper than this is refused: the parser recurses, and no file of the field comes near it.
  public static let maximumDepth = 256

  /// What is taken beyond RFC 8259.
  public enum Dialect: Sendable {
    /// Nothing: for what other programs than Python write and read (the headers of safetensors files).
    case strict
    /// The numbers that Python's `json` writes beyond the standard, `Infinity`, `-Infinity` and `NaN` (published
    /// configs hold them: Mamba-2's `time_step_limit`), and the byte order mark that some editors put in front.
    case python
  }

  /// Parses one JSON text in UTF-8.
  ///
  /// - Throws: `JSONError` for any other text, duplicate keys, depth over `maximumDepth`.
  public init(parsing bytes: some Collection<UInt8>, dialect: Dialect = .python) throws(JSONError) {
    let parsed: Result<JSON, JSONError>? = bytes.withContiguousStorageIfAvailable { buffer in
      Self.parse(buffer, dialect)
    }
    let result = parsed ?? Array(bytes).withUnsafeBufferPointer { Self.parse($0, dialect) }
    self = try result.get()
  }

  public init(parsing string: String) throws(JSONError) { try self.init(parsing: Array(string.utf8)) }

  private static func parse(_ buffer: UnsafeBufferPointer<UInt8>, _ dialect: Dialect) -> Result<JSON, JSONError> {
    var parser = Parser(bytes: buffer, dialect: dialect)
    do throws(JSONError) {
      try parser.skipMark()
      let value = try parser.value(depth: 0)
      parser.skipSpace()
      if parser.at < buffer.count { throw parser.error("text after the end of the value") }
      return .success(value)
    } catch { return .failure(error) }
  }
}

struct Parser {
  let bytes: UnsafeBufferPointer<UInt8>
  private let nonFinite: Bool
  private let takesMark: Bool
  var at = 0

  init(bytes: UnsafeBufferPointer<UInt8>, dialect: JSON.Dialect) {
    self.bytes = bytes
    nonFinite = dialect == .python
    takesMark = dialect == .python
  }

  /// Passes over a byte order mark; of UTF-16, which is not read, it says the name.
  mutating func skipMark() throws(JSONError) {
    guard takesMark else { return }
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { at = 3 }
    if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
      throw error("this is UTF-16; save it as UTF-8")
    }
  }

  func error(_ message: String, at offset: Int? = nil) -> JSONError {
    JSONError(message: message, offset: offset ?? at)
  }

  var next: UInt8? { at < bytes.count ? bytes[at] : nil }

  mutating func skipSpace() {
    while at < bytes.count {
      switch bytes[at] {
      case 0x20, 0x0A, 0x0D, 0x09: at += 1
      default: return
      }
    }
  }

  mutating func value(depth: Int) throws(JSONError) -> JSON {
    if depth > JSON.maximumDepth { throw error("nested deeper than \(JSON.maximumDepth) levels") }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try text())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "I") where nonFinite: return try word("Infinity", .number(JSON.Number(unchecked: "Infinity")))
    case UInt8(ascii: "N") where nonFinite: return try word("NaN", .number(JSON.Number(unchecked: "NaN")))
    case UInt8(ascii: "-") where nonFinite && at + 1 < bytes.count && bytes[at + 1] == UInt8(ascii: "I"):
      return try word("-Infinity", .number(JSON.Number(unchecked: "-Infinity")))
    case UInt8(ascii: "-")?, (UInt8(ascii: "0")...UInt8(ascii: "9"))?: return try number()
    case nil: throw error("the text ends where a value should be")
    default: throw error("a character that starts no value")
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSON) throws(JSONError) -> JSON {
    let length = word.utf8CodeUnitCount
    guard at + length <= bytes.count,
      (0..<length).allSatisfy({ bytes[at + $0] == (word.utf8Start + $0).pointee })
    else { throw error("a word that is none of true, false, null") }
    at += length
    return value
  }

  private mutating func array(depth: Int) throws(JSONError) -> JSON {
    at += 1
    var items: [JSON] = []
    skipSpace()
    if next == UInt8(ascii: "]") {
      at += 1
      return .array(items)
    }
    while true {
      items.append(try value(depth: depth + 1))
      skipSpace()
      switch next {
      case UInt8(ascii: ","): at += 1
      case UInt8(ascii: "]"):
        at += 1
        return .array(items)
      default: throw error("expected ',' or ']' in a list")
      }
    }
  }

  private mutating func object(depth: Int) throws(JSONError) -> JSON {
    at += 1
    var object = JSON.Object()
    skipSpace()
    if next == UInt8(ascii: "}") {
      at += 1
      return .object(object)
    }
    while true {
      skipSpace()
      let start = at
      guard next == UInt8(ascii: "\"") else { throw error("expected a key in quotes") }
      let key = try text()
      skipSpace()
      guard next == UInt8(ascii: ":") else { throw error("expected ':' after a key") }
      at += 1
      let item = try value(depth: depth + 1)
      guard object.append(key, item) else {
        throw error("the key \"\(key.description.prefix(80))\" stands there twice", at: start)
      }
      skipSpace()
      switch next {
      case UInt8(ascii: ","): at += 1
      case UInt8(ascii: "}"):
        at += 1
        return .object(object)
      default: throw error("expected ',' or '}' in an object")
      }
    }
  }

  private mutating func digits() -> Int {
    let start = at
    while let byte = next, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { at += 1 }
    return at - start
  }

  private mutating func number() throws(JSONError) -> JSON {
    let start = at
    if next == UInt8(ascii: "-") { at += 1 }
    let leading = next
    let whole = digits()
    if whole == 0 { throw error("a number without digits") }
    if whole > 1, leading == UInt8(ascii: "0") { throw error("a number with a leading zero", at: start) }
    if next == UInt8(ascii: ".") {
      at += 1
      if digits() == 0 { throw error("a number with no digits after its point") }
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      at += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { at += 1 }
      if digits() == 0 { throw error("a number with no digits in its exponent") }
    }
    let spelling = String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<at]), as: UTF8.self)
    return .number(JSON.Number(unchecked: spelling))
  }

  mutating func text() throws(JSONError) -> JSON.Text {
    let opening = at
    at += 1
    var start = at
    var out: [UInt8] = []
    while at < bytes.count {
      switch bytes[at] {
      case UInt8(ascii: "\""):
        out.append(contentsOf: bytes[start..<at])
        at += 1
        guard isUTF8(out) else { throw error("a string that is not UTF-8", at: opening) }
        return JSON.Text(utf8: out)
      case UInt8(ascii: "\\"):
        out.append(contentsOf: bytes[start..<at])
        try escape(into: &out)
        start = at
      case 0..<0x20: throw error("a control character in a string")
      default: at += 1
      }
    }
    throw error("a string without its closing quote", at: opening)
  }

  private func isUTF8(_ bytes: [UInt8]) -> Bool {
    bytes.allSatisfy { $0 < 0x80 } || String(validating: bytes, as: UTF8.self) != nil
  }

  private mutating func escape(into out: inout [UInt8]) throws(JSONError) {
    at += 1
    guard let kind = next else { throw error("the text ends inside an escape") }
    at += 1
    switch kind {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(kind)
    case UInt8(ascii: "b"): out.append(0x08)
    case UInt8(ascii: "f"): out.append(0x0C)
    case UInt8(ascii: "n"): out.append(0x0A)
    case UInt8(ascii: "r"): out.append(0x0D)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hex()
      if (0xD800..<0xDC00).contains(code) {
        guard next == UInt8(ascii: "\\"), at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "u") else {
          throw error("half of a surrogate pair")
        }
        at += 2
        let low = try hex()
        guard (0xDC00..<0xE000).contains(low) else { throw error("half of a surrogate pair") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw error("half of a surrogate pair") }
      out.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
    default: throw error("an unknown escape", at: at - 2)
    }
  }

  private mutating func hex() throws(JSONError) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw error("\\u wants four hexadecimal digits")
      }
      code = code << 4 + UInt32(digit)
      at += 1
    }
    return code
  }
}
