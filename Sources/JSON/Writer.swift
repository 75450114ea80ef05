extension JSON {
  /// The text of this value. With `indent`, one entry a line, as Hugging Face writes its files (two spaces,
  /// lists of numbers and strings too); without, everything on one line with `, ` and `: ` as Python has it.
  public func serialized(indent: Int? = nil) -> String {
    var out: [UInt8] = []
    write(into: &out, indent: indent, depth: 0)
    return String(decoding: out, as: UTF8.self)
  }

  private func write(into out: inout [UInt8], indent: Int?, depth: Int) {
    func list<Items: Collection>(
      _ open: Character, _ close: Character, _ items: Items, _ each: (inout [UInt8], Items.Element) -> Void
    ) {
      out.append(contentsOf: String(open).utf8)
      for (index, item) in items.enumerated() {
        if index > 0 { out.append(contentsOf: indent == nil ? ", ".utf8 : ",".utf8) }
        if let indent { out.append(contentsOf: ("\n" + String(repeating: " ", count: indent * (depth + 1))).utf8) }
        each(&out, item)
      }
      if let indent, !items.isEmpty {
        out.append(contentsOf: ("\n" + String(repeating: " ", count: indent * depth)).utf8)
      }
      out.append(contentsOf: String(close).utf8)
    }
    switch self {
    case .null: out.append(contentsOf: "null".utf8)
    case .bool(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
    case .number(let value): out.append(contentsOf: value.spelling.utf8)
    case .string(let value): Self.quote(value, into: &out)
    case .array(let items):
      list("[", "]", items) { $1.write(into: &$0, indent: indent, depth: depth + 1) }
    case .object(let object):
      list("{", "}", object.entries) { out, entry in
        Self.quote(entry.key, into: &out)
        out.append(contentsOf: ": ".utf8)
        entry.value.write(into: &out, indent: indent, depth: depth + 1)
      }
    }
  }

  private static func quote(_ text: Text, into out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): out.append(contentsOf: "\\\"".utf8)
      case UInt8(ascii: "\\"): out.append(contentsOf: "\\\\".utf8)
      case 0x0A: out.append(contentsOf: "\\n".utf8)
      case 0x0D: out.append(contentsOf: "\\r".utf8)
      case 0x09: out.append(contentsOf: "\\t".utf8)
      case 0..<0x20, 0x7F:
        let digits = String(byte, radix: 16)
        out.append(contentsOf: ("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8)
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}
