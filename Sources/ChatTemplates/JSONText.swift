/// Python's `json.dumps`, as `tojson` calls it.
struct JSONWriter {
  let escapesNonASCII: Bool
  let indent: [UInt8]?
  let itemSeparator: [UInt8]
  let keySeparator: [UInt8]
  let sortsKeys: Bool
  private(set) var out: [UInt8] = []

  init(escapesNonASCII: Bool, indent: [UInt8]?, separators: (Text, Text)?, sortsKeys: Bool) {
    self.escapesNonASCII = escapesNonASCII
    self.indent = indent
    itemSeparator = separators?.0.utf8 ?? Array((indent == nil ? ", " : ",").utf8)
    keySeparator = separators?.1.utf8 ?? Array(": ".utf8)
    self.sortsKeys = sortsKeys
  }

  mutating func write(_ value: Value, level: Int = 0, _ interpreter: Interpreter) throws {
    try interpreter.budget.step()
    if out.count > Budget.maximumValue { try interpreter.budget.take(bytes: out.count) }
    switch value {
    case .none: out.append(contentsOf: "null".utf8)
    case .bool(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
    case .int(let value): out.append(contentsOf: String(value).utf8)
    case .big(let value): out.append(contentsOf: try interpreter.decimal(value).utf8)
    case .float(let value): out.append(contentsOf: Self.number(value).utf8)
    case .text(let text):
      try interpreter.budget.scan(bytes: text.utf8.count)
      quote(text)
    case .list(let list), .tuple(let list):
      try write("[", "]", list.items.count, level) { writer, index in
        try writer.write(list.items[index], level: level + 1, interpreter)
      }
    case .dict(let dict):
      var order = Array(0..<dict.count)
      if sortsKeys {
        order = try interpreter.sorted(order) { a, b in try interpreter.isLess(dict.keys[a], dict.keys[b]) }
      }
      try write("{", "}", dict.count, level) { writer, index in
        writer.quote(try Self.name(dict.keys[order[index]], interpreter))
        writer.out.append(contentsOf: writer.keySeparator)
        try writer.write(dict.values[order[index]], level: level + 1, interpreter)
      }
    default: throw TemplateError.raised("Object of type \(value.type) is not JSON serializable")
    }
  }

  private mutating func write(
    _ open: String, _ close: String, _ count: Int, _ level: Int, _ each: (inout JSONWriter, Int) throws -> Void
  ) throws {
    out.append(contentsOf: open.utf8)
    for index in 0..<count {
      if index > 0 { out.append(contentsOf: itemSeparator) }
      try breakLine(level + 1)
      try each(&self, index)
    }
    if count > 0 { try breakLine(level) }
    out.append(contentsOf: close.utf8)
  }

  private mutating func breakLine(_ level: Int) throws {
    guard let indent else { return }
    guard level * indent.count + out.count <= Budget.maximumValue else {
      throw TemplateError(.budget, "the template indents JSON too far")
    }
    out.append(UInt8(ascii: "\n"))
    for _ in 0..<level { out.append(contentsOf: indent) }
  }

  private static func number(_ value: Double) -> String {
    value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : PythonFloat.repr(value)
  }

  private static func name(_ key: Value, _ interpreter: Interpreter) throws -> Text {
    switch key {
    case .text(let text): return text
    case .none: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .int, .big: return try interpreter.str(key)
    case .float(let value): return Text(number(value))
    default:
      throw TemplateError.raised("keys must be str, int, float, bool or None, not \(key.type)")
    }
  }

  private mutating func quote(_ text: Text) {
    out.append(UInt8(ascii: "\""))
    if escapesNonASCII, !text.isASCII || text.utf8.contains(0x7F) {
      for unit in text.string.utf16 {
        if unit < 0x7F {
          quote(UInt8(unit))
        } else {
          out.append(contentsOf: "\\u\(hexadecimal(UInt32(unit), width: 4))".utf8)
        }
      }
    } else {
      for byte in text.utf8 { quote(byte) }
    }
    out.append(UInt8(ascii: "\""))
  }

  private mutating func quote(_ byte: UInt8) {
    switch byte {
    case UInt8(ascii: "\""): out.append(contentsOf: "\\\"".utf8)
    case UInt8(ascii: "\\"): out.append(contentsOf: "\\\\".utf8)
    case 0x0A: out.append(contentsOf: "\\n".utf8)
    case 0x0D: out.append(contentsOf: "\\r".utf8)
    case 0x09: out.append(contentsOf: "\\t".utf8)
    case 0x08: out.append(contentsOf: "\\b".utf8)
    case 0x0C: out.append(contentsOf: "\\f".utf8)
    case 0..<0x20: out.append(contentsOf: "\\u\(hexadecimal(UInt32(byte), width: 4))".utf8)
    default: out.append(byte)
    }
  }
}
