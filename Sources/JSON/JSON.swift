/// A JSON value as the text had it: keys in their order, numbers by their spelling, strings by their bytes.
///
/// Foundation's decoders lose what this project needs: the order of a config's keys, `1e-06` against `0.000001`,
/// duplicate keys (an attack on safetensors headers), and vocabulary entries that Swift's `String` equality
/// merges because Unicode calls them canonically equivalent. RFC 8259 syntax, and nothing beyond it unless asked for.
public indirect enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  case number(Number)
  case string(Text)
  case array([JSON])
  case object(Object)

  /// A number by its spelling. Equal when spelled alike.
  public struct Number: Sendable, Equatable, Hashable {
    public let spelling: String

    package init(unchecked spelling: String) { self.spelling = spelling }
    public init(_ value: Int) { spelling = String(value) }
    /// The shortest spelling that reads back as the same double; nil for what is not finite, which has none.
    public init?(_ value: Double) {
      guard value.isFinite else { return nil }
      spelling = "\(value)"
    }

    /// The value, when the spelling is that of an integer (no fraction, no exponent) that fits.
    public var int: Int? { Int(spelling) }
    public var double: Double? { Double(spelling) }
  }

  /// A string by its UTF-8 bytes: equality is that of bytes, never Unicode's canonical equivalence.
  public struct Text: Sendable, Hashable, CustomStringConvertible, ExpressibleByStringLiteral {
    public let utf8: [UInt8]

    public init(utf8: [UInt8]) { self.utf8 = utf8 }
    public init(_ string: String) { utf8 = Array(string.utf8) }
    public init(stringLiteral value: String) { self.init(value) }

    public var description: String { String(decoding: utf8, as: UTF8.self) }
  }

  /// Keys and values in the order of the text. Keys are unique: the parser refuses duplicates.
  public struct Object: Sendable, Equatable, Sequence {
    public private(set) var entries: [(key: Text, value: JSON)] = []
    private var positions: [Text: Int] = [:]

    public init() {}
    public init(_ pairs: [(String, JSON)]) { for (key, value) in pairs { self[key] = value } }

    public var count: Int { entries.count }
    public func makeIterator() -> IndexingIterator<[(key: Text, value: JSON)]> { entries.makeIterator() }

    public subscript(key: Text) -> JSON? {
      get { positions[key].map { entries[$0].value } }
      set {
        switch (positions[key], newValue) {
        case (let at?, let value?): entries[at].value = value
        case (nil, let value?):
          positions[key] = entries.count
          entries.append((key, value))
        case (let at?, nil):
          entries.remove(at: at)
          positions = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.key, $0) })
        case (nil, nil): break
        }
      }
    }

    public subscript(key: String) -> JSON? {
      get { self[Text(key)] }
      set { self[Text(key)] = newValue }
    }

    /// Appends without looking for the key; false when it is there already.
    package mutating func append(_ key: Text, _ value: JSON) -> Bool {
      guard positions.updateValue(entries.count, forKey: key) == nil else { return false }
      entries.append((key, value))
      return true
    }

    package mutating func reserve(_ count: Int) {
      entries.reserveCapacity(count)
      positions.reserveCapacity(count)
    }

    public static func == (a: Object, b: Object) -> Bool {
      a.entries.count == b.entries.count
        && zip(a.entries, b.entries).allSatisfy { $0.key == $1.key && $0.value == $1.value }
    }
  }
}

extension JSON {
  public static func int(_ value: Int) -> JSON { .number(Number(value)) }
  /// Null for what is not finite, as other writers of JSON have it.
  public static func double(_ value: Double) -> JSON { Number(value).map(JSON.number) ?? .null }
  public static func text(_ value: String) -> JSON { .string(Text(value)) }
  public static func object(_ pairs: [(String, JSON)]) -> JSON { .object(Object(pairs)) }

  public var isNull: Bool { self == .null }
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  public var int: Int? { if case .number(let value) = self { value.int } else { nil } }
  public var double: Double? { if case .number(let value) = self { value.double } else { nil } }
  public var text: Text? { if case .string(let value) = self { value } else { nil } }
  public var string: String? { text?.description }
  public var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
  public var object: Object? { if case .object(let value) = self { value } else { nil } }
  public subscript(key: String) -> JSON? { object?[key] }

  /// What this value is, for messages: "a string", "an object".
  public var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .number: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }
}
