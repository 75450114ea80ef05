internal import JSON

/// A value inside a JSON file together with where it stands, so that every complaint names its place.
struct Field {
  let value: JSON
  let path: String
  let file: String

  func error(_ message: String) -> TokenizerError {
    TokenizerError(path.isEmpty ? "\(file): \(message)" : "\(file): \(path): \(message)")
  }

  private func place(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  func object() throws -> JSON.Object {
    guard let object = value.object else { throw error("expected an object, found \(value.kind)") }
    return object
  }

  /// The entry under `key`; nil when it is absent or null.
  func optional(_ key: String) throws -> Field? {
    guard let entry = try object()[key], !entry.isNull else { return nil }
    return Field(value: entry, path: place(key), file: file)
  }

  func required(_ key: String) throws -> Field {
    guard let entry = try object()[key] else { throw error("\"\(key)\" is missing") }
    return Field(value: entry, path: place(key), file: file)
  }

  func elements() throws -> [Field] {
    guard let items = value.array else { throw error("expected a list, found \(value.kind)") }
    return items.enumerated().map { Field(value: $1, path: "\(path)[\($0)]", file: file) }
  }

  func bytes() throws -> [UInt8] {
    guard let text = value.text else { throw error("expected a string, found \(value.kind)") }
    return text.utf8
  }

  func string() throws -> String { String(decoding: try bytes(), as: UTF8.self) }

  func bool() throws -> Bool {
    guard let flag = value.bool else { throw error("expected true or false, found \(value.kind)") }
    return flag
  }

  /// A token id: an integer the format's 32 unsigned bits hold (and ours: 31, so that ids fit everywhere).
  func id() throws -> Int {
    guard let id = value.int, id >= 0, id <= Int(Int32.max) else {
      throw error("expected a token id from 0 to \(Int32.max), found \(Field.spell(value))")
    }
    return id
  }

  func count() throws -> Int {
    guard let count = value.int, count >= 0 else {
      throw error("expected a whole number that is not negative, found \(Field.spell(value))")
    }
    return count
  }

  func number() throws -> Double {
    guard let number = value.double, number.isFinite else {
      throw error("expected a number, found \(Field.spell(value))")
    }
    return number
  }

  /// A string of exactly one Unicode scalar.
  func scalar() throws -> Unicode.Scalar {
    let text = try string().unicodeScalars
    guard let first = text.first, text.count == 1 else { throw error("expected one character, found \(text.count)") }
    return first
  }

  func bool(_ key: String, default fallback: Bool) throws -> Bool { try optional(key)?.bool() ?? fallback }

  static func spell(_ value: JSON) -> String {
    if case .number(let number) = value { return String(number.spelling.prefix(40)) }
    return value.kind
  }

  /// The error for a component this library does not have: names it, its place, and what there is.
  func unknown(_ what: String, _ name: String, known: [String]) -> TokenizerError {
    error("unknown \(what) \"\(name)\"; supported: \(known.joined(separator: ", "))")
  }
}
