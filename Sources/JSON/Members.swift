extension JSON {
  /// The members of one object of which only some are wanted, as a row of a data set has them: the others need only
  /// end where they should, whatever they hold and however deep.
  public struct Members: Sendable {
    /// Every name, in the order of the text.
    public fileprivate(set) var names: [Text] = []
    private var values: [Text: Result<JSON, JSONError>] = [:]

    /// - Parameter wanted: the names that `value` will be asked for.
    /// - Throws: `JSONError` for a text that is no object, or whose end cannot be found.
    public init(parsing bytes: some Collection<UInt8>, wanted: Set<Text>) throws(JSONError) {
      let parsed = bytes.withContiguousStorageIfAvailable { Self.parse($0, wanted) }
      self = try (parsed ?? Array(bytes).withUnsafeBufferPointer { Self.parse($0, wanted) }).get()
    }

    /// A wanted member's value; nil where there is none.
    ///
    /// - Throws: `JSONError` where this value is not JSON, or stands there twice.
    public func value(_ name: Text) throws(JSONError) -> JSON? { try values[name]?.get() }

    private init() {}

    private static func parse(_ bytes: UnsafeBufferPointer<UInt8>, _ wanted: Set<Text>) -> Result<Self, JSONError> {
      var parser = Parser(bytes: bytes, dialect: .python)
      var members = Members()
      do throws(JSONError) {
        try parser.skipMark()
        try parser.members { parser, name throws(JSONError) in
          members.names.append(name)
          guard wanted.contains(name) else { return try parser.skipValue() }
          let start = parser.at
          if members.values[name] != nil {
            members.values[name] = .failure(parser.error("the key \"\(name)\" stands there twice"))
            return try parser.skipValue()
          }
          do throws(JSONError) { members.values[name] = .success(try parser.value(depth: 1)) } catch {
            members.values[name] = .failure(error)
            parser.at = start
            try parser.skipValue()
          }
        }
        return .success(members)
      } catch { return .failure(error) }
    }
  }
}

extension Parser {
  /// Walks over the members of one object, the whole text; `body` stands before a member's value and ends after it.
  fileprivate mutating func members(_ body: (inout Parser, JSON.Text) throws(JSONError) -> Void) throws(JSONError) {
    skipSpace()
    guard next == UInt8(ascii: "{") else { throw error("expected an object") }
    at += 1
    skipSpace()
    if next == UInt8(ascii: "}") {
      at += 1
    } else {
      repeat {
        skipSpace()
        guard next == UInt8(ascii: "\"") else { throw error("expected a key in quotes") }
        let name = try text()
        try skipColon()
        try body(&self, name)
        skipSpace()
      } while skip(UInt8(ascii: ","))
      guard skip(UInt8(ascii: "}")) else { throw error("expected ',' or '}' in an object") }
    }
    skipSpace()
    if at < bytes.count { throw error("text after the end of the value") }
  }

  /// Passes over one value: brackets must match and strings end. Takes a byte of memory a level, not a call.
  fileprivate mutating func skipValue() throws(JSONError) {
    var closing: [UInt8] = []
    while true {
      skipSpace()
      switch next {
      case UInt8(ascii: "{"):
        at += 1
        skipSpace()
        if !skip(UInt8(ascii: "}")) {
          closing.append(UInt8(ascii: "}"))
          try skipKey()
          continue
        }
      case UInt8(ascii: "["):
        at += 1
        skipSpace()
        if !skip(UInt8(ascii: "]")) {
          closing.append(UInt8(ascii: "]"))
          continue
        }
      case UInt8(ascii: "\""): try skipString()
      case nil: throw error("the text ends where a value should be")
      default: try skipWord()
      }
      // After a value: the next one, or the ends of what it stands in.
      while true {
        guard let close = closing.last else { return }
        skipSpace()
        if skip(UInt8(ascii: ",")) {
          if close == UInt8(ascii: "}") { try skipKey() }
          break
        }
        guard skip(close) else { throw error("expected ',' or '\(Character(Unicode.Scalar(close)))'") }
        closing.removeLast()
      }
    }
  }

  private mutating func skip(_ byte: UInt8) -> Bool {
    guard next == byte else { return false }
    at += 1
    return true
  }

  private mutating func skipColon() throws(JSONError) {
    skipSpace()
    guard skip(UInt8(ascii: ":")) else { throw error("expected ':' after a key") }
  }

  private mutating func skipKey() throws(JSONError) {
    skipSpace()
    guard next == UInt8(ascii: "\"") else { throw error("expected a key in quotes") }
    try skipString()
    try skipColon()
  }

  private mutating func skipString() throws(JSONError) {
    let opening = at
    at += 1
    while at < bytes.count {
      let byte = bytes[at]
      at += byte == UInt8(ascii: "\\") ? 2 : 1
      if byte == UInt8(ascii: "\"") { return }
    }
    throw error("a string without its closing quote", at: opening)
  }

  /// A number or a word, whatever it says.
  private mutating func skipWord() throws(JSONError) {
    let start = at
    while let byte = next {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
        at += 1
      default:
        if at == start { throw error("a character that starts no value") }
        return
      }
    }
    if at == start { throw error("a character that starts no value") }
  }
}
