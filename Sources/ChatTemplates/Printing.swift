/// How Python writes values: `str`, `repr`, and `json.dumps` as `tojson` calls it.
extension Interpreter {
  /// Python's `str(value)`.
  func str(_ value: Value) throws -> Text {
    switch value {
    case .text(let text):
      if text.isMarkup { try budget.take(bytes: text.utf8.count) }
      return text.marked(false)
    case .undefined: return ""
    default:
      var out: [UInt8] = []
      try write(value, to: &out)
      try budget.take(bytes: out.count)
      return Text(out)
    }
  }

  /// The same without a copy of what is text already; markup is text still.
  func soft(_ value: Value) throws -> Text {
    if case .text(let text) = value { return text }
    return try str(value)
  }

  /// Python's `repr(value)`.
  func repr(_ value: Value) throws -> Text {
    var out: [UInt8] = []
    try write(value, to: &out)
    try budget.take(bytes: out.count)
    return Text(out)
  }

  private func write(_ value: Value, to out: inout [UInt8]) throws {
    try budget.step()
    if out.count > Budget.maximumValue { try budget.take(bytes: out.count) }
    switch value {
    case .undefined: out.append(contentsOf: "Undefined".utf8)
    case .none: out.append(contentsOf: "None".utf8)
    case .bool(let value): out.append(contentsOf: (value ? "True" : "False").utf8)
    case .int(let value): out.append(contentsOf: String(value).utf8)
    case .big(let value): out.append(contentsOf: try decimal(value).utf8)
    case .float(let value): out.append(contentsOf: PythonFloat.repr(value).utf8)
    case .text(let text):
      if text.isMarkup { out.append(contentsOf: "Markup(".utf8) }
      text.writeRepr(to: &out)
      if text.isMarkup { out.append(UInt8(ascii: ")")) }
    case .list(let list): try write(list.items, "[", "]", to: &out)
    case .tuple(let list): try write(list.items, "(", list.items.count == 1 ? ",)" : ")", to: &out)
    case .dict(let dict): try write(dict.keys, dict.values, to: &out)
    case .range(let span):
      out.append(contentsOf: "range(\(span.start), \(span.stop)\(span.step == 1 ? "" : ", \(span.step)"))".utf8)
    case .view(let dict, let part):
      out.append(contentsOf: "\(value.type)(".utf8)
      try write((0..<dict.count).map { try dict.entry($0, part) }, "[", "]", to: &out)
      out.append(UInt8(ascii: ")"))
    case .namespace(let namespace):
      out.append(contentsOf: "<Namespace ".utf8)
      if written.insert(ObjectIdentifier(namespace)).inserted {
        defer { written.remove(ObjectIdentifier(namespace)) }
        try deeper { [names = namespace.names] in
          try write(names.map(Value.text), names.compactMap { namespace.values[$0] }, to: &out)
        }
      } else {
        out.append(contentsOf: "{...}".utf8)
      }
      out.append(UInt8(ascii: ">"))
    case .macro(let macro): out.append(contentsOf: "<Macro \(macro.displayName)>".utf8)
    case .loop(let loop):
      out.append(contentsOf: "<LoopContext \(loop.index0 + 1)/\(try loop.count(self))>".utf8)
    case .iterator: out.append(contentsOf: "<generator object>".utf8)
    case .function(let function): out.append(contentsOf: "<function \(function.name)>".utf8)
    }
  }

  private func write(_ items: [Value], _ open: String, _ close: String, to out: inout [UInt8]) throws {
    out.append(contentsOf: open.utf8)
    for (index, item) in items.enumerated() {
      if index > 0 { out.append(contentsOf: ", ".utf8) }
      try write(item, to: &out)
    }
    out.append(contentsOf: close.utf8)
  }

  private func write(_ keys: [Value], _ values: [Value], to out: inout [UInt8]) throws {
    out.append(UInt8(ascii: "{"))
    for (index, (key, value)) in zip(keys, values).enumerated() {
      if index > 0 { out.append(contentsOf: ", ".utf8) }
      try write(key, to: &out)
      out.append(contentsOf: ": ".utf8)
      try write(value, to: &out)
    }
    out.append(UInt8(ascii: "}"))
  }

  /// - Throws: `TemplateError` for more digits than Python writes.
  func decimal(_ value: BigInt) throws -> String {
    try budget.step(value.digits.count * value.digits.count / 16 + 1)
    let digits = value.description
    guard digits.utf8.count <= BigInt.maximumDigits + (value.isNegative ? 1 : 0) else {
      throw TemplateError.raised("an integer of more than \(BigInt.maximumDigits) digits cannot be written")
    }
    return digits
  }
}

extension Text {
  /// Python's `repr` of a string, quotes included.
  func writeRepr(to out: inout [UInt8]) {
    let hasSingle = utf8.contains(UInt8(ascii: "'"))
    let quote = hasSingle && !utf8.contains(UInt8(ascii: "\"")) ? UInt8(ascii: "\"") : UInt8(ascii: "'")
    out.append(quote)
    if isASCII {
      for byte in utf8 { Self.writeRepr(Unicode.Scalar(byte), quote, to: &out) }
    } else {
      for scalar in scalars { Self.writeRepr(scalar, quote, to: &out) }
    }
    out.append(quote)
  }

  private static func writeRepr(_ scalar: Unicode.Scalar, _ quote: UInt8, to out: inout [UInt8]) {
    switch scalar {
    case "\n": out.append(contentsOf: "\\n".utf8)
    case "\r": out.append(contentsOf: "\\r".utf8)
    case "\t": out.append(contentsOf: "\\t".utf8)
    case "\\": out.append(contentsOf: "\\\\".utf8)
    case _ where scalar.value == UInt32(quote): out.append(contentsOf: [UInt8(ascii: "\\"), quote])
    case _ where scalar.isPrintable: out.append(scalar: scalar)
    default:
      let (mark, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
      out.append(contentsOf: "\\\(mark)\(hexadecimal(scalar.value, width: width))".utf8)
    }
  }
}

func hexadecimal(_ value: UInt32, width: Int) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
}

/// Python's way to write floats.
enum PythonFloat {
  static func repr(_ value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    let (digits, exponent) = shortest(value.magnitude)
    let sign = value.sign == .minus ? "-" : ""
    // The position of the point among the digits.
    let point = exponent + 1
    if exponent < -4 || exponent >= 16 {
      let fraction = digits.dropFirst()
      let power = (exponent < 0 ? "-" : "+") + (abs(exponent) < 10 ? "0" : "") + String(abs(exponent))
      return "\(sign)\(digits.prefix(1))\(fraction.isEmpty ? "" : "." + fraction)e\(power)"
    }
    if point <= 0 { return "\(sign)0.\(String(repeating: "0", count: -point))\(digits)" }
    if point >= digits.utf8.count {
      return "\(sign)\(digits)\(String(repeating: "0", count: point - digits.utf8.count)).0"
    }
    return "\(sign)\(digits.prefix(point)).\(digits.dropFirst(point))"
  }

  /// The fewest digits that read back as the value, and the power of ten of the first.
  private static func shortest(_ value: Double) -> (digits: String, exponent: Int) {
    if value == 0 { return ("0", 0) }
    // Swift writes the shortest digits, too, only with the point elsewhere.
    let spelling = value.description
    let parts = spelling.split(separator: "e")
    let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    let whole = String(mantissa[0])
    let fraction = mantissa.count > 1 ? String(mantissa[1]) : ""
    let all = whole + fraction
    let leading = all.prefix { $0 == "0" }.count
    var digits = String(all.dropFirst(leading))
    while digits.last == "0" { digits.removeLast() }
    let power = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
    return (digits, whole.utf8.count - 1 - leading + power)
  }
}
