/// Entries in order, never changed: templates may not.
final class List {
  let items: [Value]
  /// Levels of containers in it, itself included.
  let depth: Int

  init(_ items: [Value]) throws {
    self.items = items
    depth = try List.depth(above: items)
  }

  static func depth(above items: some Sequence<Value>) throws -> Int {
    var deepest = 0
    for item in items { deepest = max(deepest, item.depth) }
    guard deepest < Budget.maximumNesting else {
      throw TemplateError(.budget, "values are nested deeper than \(Budget.maximumNesting) levels")
    }
    return deepest + 1
  }
}

/// A dictionary in the order of insertion.
final class Dict {
  enum Part { case keys, values, items }

  let keys: [Value]
  let values: [Value]
  let depth: Int
  /// Positions by key, where there are too many keys to look through.
  private let positions: [Key: Int]?
  private static let fewKeys = 8

  /// - Throws: `TemplateError` for a key that has no hash.
  convenience init(_ pairs: some Sequence<(Value, Value)>) throws {
    var (keys, values, positions) = ([Value](), [Value](), [Key: Int]())
    for (key, value) in pairs {
      let hashed = try Key(key)
      if let at = positions[hashed] {
        values[at] = value
      } else {
        positions[hashed] = keys.count
        keys.append(key)
        values.append(value)
      }
    }
    try self.init(keys: keys, values: values, positions: positions)
  }

  /// - Parameter keys: all different, and with hashes.
  init(keys: [Value], values: [Value], positions: [Key: Int]? = nil) throws {
    self.keys = keys
    self.values = values
    depth = max(try List.depth(above: values), try List.depth(above: keys))
    if keys.count <= Self.fewKeys {
      self.positions = nil
    } else {
      self.positions = try positions ?? Dictionary(uniqueKeysWithValues: keys.enumerated().map { (try Key($1), $0) })
    }
  }

  var count: Int { keys.count }

  func position(of name: Text) -> Int? {
    if let positions { return positions[.text(name.utf8)] }
    for (index, key) in keys.enumerated() {
      if case .text(let text) = key, text.utf8 == name.utf8 { return index }
    }
    return nil
  }

  subscript(name: Text) -> Value? { position(of: name).map { values[$0] } }

  /// - Throws: `TemplateError` for a key that has no hash.
  func value(of key: Value) throws -> Value? {
    if case .text(let name) = key { return self[name] }
    let hashed = try Key(key)
    if let positions { return positions[hashed].map { values[$0] } }
    for (index, other) in keys.enumerated() where try Key(other) == hashed { return values[index] }
    return nil
  }

  func entry(_ index: Int, _ part: Part) throws -> Value {
    switch part {
    case .keys: keys[index]
    case .values: values[index]
    case .items: .tuple(try List([keys[index], values[index]]))
    }
  }
}

/// A value by its hash and equality: 1, 1.0 and True are one key.
enum Key: Hashable {
  case none
  case int(Int)
  case big(BigInt)
  case float(Double)
  case text([UInt8])
  case tuple([Key])
  case undefined
  case object(ObjectIdentifier)

  init(_ value: Value) throws {
    switch value {
    case .none: self = .none
    case .bool(let value): self = .int(value ? 1 : 0)
    case .int(let value): self = .int(value)
    case .big(let value): self = .big(value)
    case .float(let value): self = Int(exactly: value).map(Key.int) ?? .float(value)
    case .text(let text): self = .text(text.utf8)
    case .tuple(let list): self = .tuple(try list.items.map(Key.init))
    case .undefined: self = .undefined
    case .namespace(let object): self = .object(ObjectIdentifier(object))
    case .macro(let object): self = .object(ObjectIdentifier(object))
    case .loop(let object): self = .object(ObjectIdentifier(object))
    case .iterator(let object): self = .object(ObjectIdentifier(object))
    case .function(let object): self = .object(ObjectIdentifier(object))
    case .range(let span): self = .tuple([.int(span.count), .int(span.start), .int(span.step)])
    case .list, .dict, .view: throw TemplateError.raised("unhashable type: '\(value.type)'")
    }
  }
}

/// `range(…)`.
struct Span {
  let start: Int
  let stop: Int
  let step: Int
  /// At most `maximum`: the sandbox allows no more.
  let count: Int

  static let maximum = 100_000

  init(start: Int, stop: Int, step: Int) throws {
    guard step != 0 else { throw TemplateError.raised("range() arg 3 must not be zero") }
    (self.start, self.stop, self.step) = (start, stop, step)
    let (low, high) = step > 0 ? (start, stop) : (stop, start)
    let (distance, overflow) = high.subtractingReportingOverflow(low)
    if high <= low {
      count = 0
      return
    }
    let stride = step.magnitude
    let entries = overflow ? UInt.max : (distance.magnitude - 1) / stride + 1
    guard entries <= UInt(Self.maximum) else {
      throw TemplateError.raised("range too big: a template may have ranges of \(Self.maximum) numbers at most")
    }
    count = Int(entries)
  }

  /// The number at an index that is there.
  subscript(index: Int) -> Int { start &+ index &* step }
}

/// `namespace(…)`: the one thing that a template can change.
final class Namespace {
  var names: [Text] = []
  var values: [Text: Value] = [:]

  func set(_ name: Text, _ value: Value) throws {
    guard name.utf8.first != UInt8(ascii: "_") else {
      throw TemplateError.raised(
        "templates cannot store attributes that begin with an underscore in a namespace, and this is '\(name.string)'")
    }
    if values.updateValue(value, forKey: name) == nil { names.append(name) }
  }
}
