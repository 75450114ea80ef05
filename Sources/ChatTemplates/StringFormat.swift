/// `format.format(…)`
extension Interpreter {
  /// Python's `format.format(…)`.
  func format(_ format: Text, _ arguments: Arguments) throws -> Text {
    var automatic: Int? = 0
    return try self.format(format, arguments, &automatic, depth: 2).marked(format.isMarkup)
  }

  private func format(_ format: Text, _ arguments: Arguments, _ automatic: inout Int?, depth: Int) throws -> Text {
    try budget.take(bytes: format.utf8.count)
    guard depth >= 0 else { throw TemplateError.raised("max string recursion exceeded") }
    var out: [UInt8] = []
    let bytes = format.utf8
    var at = 0
    let (open, close) = (UInt8(ascii: "{"), UInt8(ascii: "}"))
    while at < bytes.count {
      let byte = bytes[at]
      guard byte == open || byte == close else {
        out.append(byte)
        at += 1
        continue
      }
      if at + 1 < bytes.count, bytes[at + 1] == byte {
        out.append(byte)
        at += 2
        continue
      }
      guard byte == open else { throw TemplateError.raised("single '}' encountered in format string") }
      var (end, level) = (at + 1, 1)
      while end < bytes.count {
        if bytes[end] == open { level += 1 } else if bytes[end] == close { level -= 1 }
        if level == 0 { break }
        end += 1
      }
      guard end < bytes.count else {
        throw TemplateError.raised(
          at + 1 == bytes.count ? "single '{' encountered in format string" : "expected '}' before end of string")
      }
      let field = try field(format.bytes(at + 1..<end), arguments, &automatic, depth)
      try budget.take(bytes: field.utf8.count)
      out += format.isMarkup ? field.escaped().utf8 : field.utf8
      at = end + 1
    }
    try budget.take(bytes: out.count)
    return Text(out)
  }

  private func field(_ field: Text, _ arguments: Arguments, _ automatic: inout Int?, _ depth: Int) throws -> Text {
    var bytes = field.utf8
    var spec: Text = ""
    var isInBrackets = false
    let mark = bytes.firstIndex { byte in
      if byte == UInt8(ascii: "[") { isInBrackets = true } else if byte == UInt8(ascii: "]") { isInBrackets = false }
      return !isInBrackets && (byte == UInt8(ascii: ":") || byte == UInt8(ascii: "!"))
    }
    var conversion: Unicode.Scalar?
    if let mark {
      var rest = Array(bytes[(mark + 1)...])
      if bytes[mark] == UInt8(ascii: "!") {
        guard let kind = rest.first, rest.count == 1 || rest[1] == UInt8(ascii: ":") else {
          throw TemplateError.raised("expected ':' after conversion specifier")
        }
        conversion = Unicode.Scalar(kind)
        rest = Array(rest.dropFirst(2))
      }
      spec = Text(rest)
      bytes = Array(bytes[..<mark])
    }
    var value = try self.field(Text(bytes), arguments, &automatic)
    switch conversion {
    case nil: break
    case "s": value = .text(try str(value))
    case "r": value = .text(try repr(value))
    case "a": value = .text(try ascii(value))
    default: throw TemplateError.raised("unknown conversion specifier")
    }
    spec = try format(spec, arguments, &automatic, depth: depth - 1)
    return try formatted(value, spec)
  }

  func ascii(_ value: Value) throws -> Text {
    var out: [UInt8] = []
    for scalar in try repr(value).scalars {
      if scalar.isASCII { out.append(scalar: scalar); continue }
      let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
      out += "\\\(letter)\(hexadecimal(scalar.value, width: width))".utf8
    }
    return Text(out)
  }

  /// The value that a field such as `0.name[key]` stands for.
  private func field(_ path: Text, _ arguments: Arguments, _ automatic: inout Int?) throws -> Value {
    let bytes = path.utf8
    let isStep: (UInt8) -> Bool = { $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "[") }
    var at = bytes.firstIndex(where: isStep) ?? bytes.count
    var first = path.bytes(0..<at)
    if first.isEmpty {
      guard let number = automatic else {
        throw TemplateError.raised("cannot switch from manual field specification to automatic field numbering")
      }
      first = Text("\(number)")
      automatic = number + 1
    } else if first.utf8.allSatisfy({ (48...57).contains($0) }) {
      if let number = automatic, number > 0 {
        throw TemplateError.raised("cannot switch from automatic field numbering to manual field specification")
      }
      automatic = nil
    }
    var value: Value
    if let index = Int(first.string), first.utf8.allSatisfy({ (48...57).contains($0) }) {
      guard index < arguments.positional.count else {
        throw TemplateError.raised("replacement index \(index) out of range for positional args tuple")
      }
      value = arguments.positional[index]
    } else {
      guard let named = arguments.named.first(where: { $0.name == first }) else {
        throw TemplateError.raised("format() misses the argument '\(first.string)'")
      }
      value = named.value
    }
    while at < bytes.count {
      if bytes[at] == UInt8(ascii: ".") {
        let end = bytes[(at + 1)...].firstIndex(where: isStep) ?? bytes.count
        guard end > at + 1 else { throw TemplateError.raised("empty attribute in format string") }
        value = try attribute(path.bytes(at + 1..<end), of: value)
        at = end
      } else {
        guard let end = bytes[at...].firstIndex(of: UInt8(ascii: "]")) else {
          throw TemplateError.raised("missing ']' in format string")
        }
        let key = path.bytes(at + 1..<end)
        guard !key.isEmpty else { throw TemplateError.raised("empty attribute in format string") }
        let isNumber = key.utf8.allSatisfy { (48...57).contains($0) }
        value = try item(isNumber ? Int(key.string).map(Value.int) ?? .text(key) : .text(key), of: value)
        at = end + 1
        guard at == bytes.count || isStep(bytes[at]) else {
          throw TemplateError.raised("only '.' or '[' may follow ']' in format field specifier")
        }
      }
    }
    return value
  }

}
