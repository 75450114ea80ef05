#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// How a value is to be written: what stands after the colon in `{:>8.2f}`, or after the percent sign in `%-8.2f`.
struct FormatSpec {
  var fill: Text = " "
  var align: Unicode.Scalar?
  var sign: Unicode.Scalar?
  var isAlternate = false
  var width = 0
  var grouping: Unicode.Scalar?
  var precision: Int?
  var type: Unicode.Scalar?

  static let widest = 1 << 20

  init() {}

  /// Source: the format specification mini-language of Python's library reference.
  init(_ spec: Text) throws {
    var rest = Array(spec.scalars)[...]
    let aligns: Set<Unicode.Scalar> = ["<", ">", "=", "^"]
    if rest.count > 1, aligns.contains(rest[1]) {
      fill = Text([rest[0]])
      align = rest[1]
      rest = rest.dropFirst(2)
    } else if let first = rest.first, aligns.contains(first) {
      align = first
      rest = rest.dropFirst()
    }
    if let first = rest.first, first == "+" || first == "-" || first == " " { sign = rest.removeFirst(); _ = first }
    if rest.first == "#" {
      isAlternate = true
      rest.removeFirst()
    }
    if rest.first == "0", align == nil {
      fill = "0"
      align = "="
    }
    width = try Self.number(&rest) ?? 0
    if let first = rest.first, first == "," || first == "_" { grouping = rest.removeFirst(); _ = first }
    if rest.first == "." {
      rest.removeFirst()
      guard let digits = try Self.number(&rest) else {
        throw TemplateError.raised("format specifier missing precision")
      }
      precision = digits
    }
    if let last = rest.first { type = last; rest.removeFirst() }
    guard rest.isEmpty else { throw TemplateError.raised("invalid format specifier '\(spec.string)'") }
  }

  static func number(_ rest: inout ArraySlice<Unicode.Scalar>) throws -> Int? {
    var value: Int?
    while let first = rest.first, first.isASCIIDigit {
      value = min(Self.widest + 1, (value ?? 0) * 10 + Int(first.value - 48))
      rest.removeFirst()
    }
    if let value, value > Self.widest { throw TemplateError.raised("a width of more than \(Self.widest) characters") }
    return value
  }
}

extension Interpreter {
  // MARK: str.format

  /// Python's `format.format(…)`.
  func format(_ format: Text, _ arguments: Arguments) throws -> Text {
    var automatic: Int? = 0
    return try self.format(format, arguments, &automatic, depth: 2).marked(format.isMarkup)
  }

  private func format(_ format: Text, _ arguments: Arguments, _ automatic: inout Int?, depth: Int) throws -> Text {
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

  private func ascii(_ value: Value) throws -> Text {
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

  /// Python's `format(value, spec)`.
  func formatted(_ value: Value, _ spec: Text) throws -> Text {
    if spec.isEmpty { return try str(value) }
    let format = try FormatSpec(spec)
    switch value {
    case .text(let text):
      guard format.type == nil || format.type == "s", format.sign == nil, format.align != "=" || format.fill == "0"
      else {
        throw TemplateError.raised("invalid format specifier '\(spec.string)' for a string")
      }
      return try padded(format.precision.map { text.part(0, $0) } ?? text, format, "<")
    case .int, .bool, .big:
      if format.type == nil, case .bool = value { return try padded(try str(value), format, "<") }
      switch format.type {
      case nil, "d", "n", "b", "o", "x", "X", "c": return try formatted(integer: value.bigInt ?? BigInt(0), format)
      default: return try formatted(float: value.double ?? 0, format)
      }
    case .float(let number): return try formatted(float: number, format)
    default: throw TemplateError.raised("unsupported format string passed to \(value.type).__format__")
    }
  }

  func padded(_ text: Text, _ format: FormatSpec, _ align: Unicode.Scalar, sign: Text = "") throws -> Text {
    let missing = max(0, format.width - text.count - sign.count)
    if missing == 0 { return Text(sign.utf8 + text.utf8) }
    let left: Int
    switch format.align ?? align {
    case "<": left = 0
    case "^": left = missing / 2
    default: left = missing
    }
    let (before, after) = (try repeated(format.fill, left).utf8, try repeated(format.fill, missing - left).utf8)
    return Text(format.align == "=" ? sign.utf8 + before + text.utf8 + after : before + sign.utf8 + text.utf8 + after)
  }

  private func sign(_ isNegative: Bool, _ format: FormatSpec) -> Text {
    isNegative ? "-" : format.sign == "+" ? "+" : format.sign == " " ? " " : ""
  }

  func formatted(integer value: BigInt, _ format: FormatSpec) throws -> Text {
    if format.type == "c" {
      guard let code = value.int, let number = UInt32(exactly: code), let scalar = Unicode.Scalar(number) else {
        throw TemplateError.raised("%c arg not in range(0x110000)")
      }
      return try padded(Text([scalar]), format, "<")
    }
    let radix: Int
    var prefix = ""
    switch format.type {
    case "b": (radix, prefix) = (2, "0b")
    case "o": (radix, prefix) = (8, "0o")
    case "x": (radix, prefix) = (16, "0x")
    case "X": (radix, prefix) = (16, "0X")
    default: radix = 10
    }
    let magnitude = value.isNegative ? -value : value
    var digits: String
    if radix == 10 {
      digits = try decimal(magnitude)
    } else {
      guard let int = magnitude.int else {
        throw TemplateError.raised("an integer of more than 64 bits in base \(radix)")
      }
      digits = String(int, radix: radix, uppercase: format.type == "X")
    }
    if let precision = format.precision {
      digits = String(repeating: "0", count: max(0, precision - digits.utf8.count)) + digits
    }
    if let grouping = format.grouping { digits = grouped(digits, grouping, every: radix == 10 ? 3 : 4) }
    let sign = Text(self.sign(value.isNegative, format).string + (format.isAlternate ? prefix : ""))
    return try padded(Text(digits), format, ">", sign: sign)
  }

  private func grouped(_ digits: String, _ mark: Unicode.Scalar, every count: Int) -> String {
    var out = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.utf8.count - index) % count == 0 { out.unicodeScalars.append(mark) }
      out.append(digit)
    }
    return out
  }

  func formatted(float value: Double, _ format: FormatSpec) throws -> Text {
    let magnitude = value.magnitude
    let isNegative = value.sign == .minus && !value.isNaN
    var digits: String
    let precision = min(format.precision ?? 6, 1000)
    switch format.type {
    case nil where format.precision == nil: digits = PythonFloat.repr(magnitude)
    case nil: digits = general(magnitude, max(1, precision), keepsPoint: true)
    case "f", "F", "e", "E":
      digits = printf("%.\(precision)\(format.type == "f" || format.type == "F" ? "f" : "e")", magnitude)
    case "g", "G", "n": digits = general(magnitude, max(1, precision), keepsPoint: false)
    case "%": digits = printf("%.\(precision)f", magnitude * 100) + "%"
    default:
      throw TemplateError.raised("unknown format code '\(format.type.map(String.init) ?? "")' for a float")
    }
    if let type = format.type, type.properties.isUppercase { digits = digits.uppercased() }
    if let grouping = format.grouping {
      let whole = digits.prefix { $0.isNumber }
      digits = grouped(String(whole), grouping, every: 3) + digits.dropFirst(whole.count)
    }
    return try padded(Text(digits), format, ">", sign: sign(isNegative, format))
  }

  private func general(_ value: Double, _ precision: Int, keepsPoint: Bool) -> String {
    let text = printf("%.\(precision)g", value)
    guard keepsPoint, value.isFinite, !text.contains("."), !text.contains("e") else { return text }
    return text + ".0"
  }

  private func printf(_ format: String, _ value: Double) -> String {
    withVaList([value]) { list in
      var bytes = [CChar](repeating: 0, count: 2048)
      let count = vsnprintf(&bytes, bytes.count, format, list)
      return String(
        decoding: bytes.prefix(max(0, min(Int(count), bytes.count - 1))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }

  // MARK: %

  /// Python's `format % values`.
  func percentFormat(_ format: Text, _ values: Value) throws -> Text {
    var out: [UInt8] = []
    var items: [Value]
    if case .tuple(let list) = values { items = list.items } else { items = [values] }
    var next = 0
    var usesNames = false
    func take() throws -> Value {
      guard next < items.count else { throw TemplateError.raised("not enough arguments for format string") }
      next += 1
      return items[next - 1]
    }
    var rest = Array(format.scalars)[...]
    while let scalar = rest.popFirst() {
      guard scalar == "%" else {
        out.append(scalar: scalar)
        continue
      }
      try budget.step()
      var spec = FormatSpec()
      var value: Value?
      if rest.first == "(" {
        guard let end = rest.firstIndex(of: ")") else { throw TemplateError.raised("incomplete format key") }
        guard case .dict(let dict) = values else { throw TemplateError.raised("format requires a mapping") }
        let key = Text(rest[(rest.startIndex + 1)..<end])
        guard let found = dict[key] else { throw TemplateError.raised("format misses the key '\(key.string)'") }
        (value, usesNames) = (found, true)
        rest = rest[(end + 1)...]
      }
      while let flag = rest.first, "-+ #0".unicodeScalars.contains(flag) {
        switch flag {
        case "-": (spec.align, spec.fill) = ("<", " ")
        case "+": spec.sign = "+"
        case " ": if spec.sign == nil { spec.sign = " " }
        case "#": spec.isAlternate = true
        default: if spec.align == nil { (spec.align, spec.fill) = ("=", "0") }
        }
        rest.removeFirst()
      }
      func size() throws -> Int? {
        guard rest.first == "*" else { return try FormatSpec.number(&rest) }
        rest.removeFirst()
        let size = try StringMethods.integer(try take())
        guard size.magnitude <= UInt(FormatSpec.widest) else { throw TemplateError.raised("width too big") }
        return size
      }
      if let width = try size() {
        spec.width = abs(width)
        if width < 0 { (spec.align, spec.fill) = ("<", " ") }
      }
      if rest.first == "." {
        rest.removeFirst()
        spec.precision = max(0, try size() ?? 0)
      }
      while let length = rest.first, "hlL".unicodeScalars.contains(length) { rest.removeFirst() }
      guard let type = rest.popFirst() else { throw TemplateError.raised("incomplete format") }
      if type == "%" {
        out.append(UInt8(ascii: "%"))
        continue
      }
      let piece = try percent(type, try value ?? take(), spec)
      try budget.take(bytes: piece.utf8.count)
      out += format.isMarkup ? piece.escaped().utf8 : piece.utf8
    }
    var isMapping = false
    if case .dict = values { isMapping = true }
    if next < items.count, !usesNames, !isMapping {
      // Only lists of arguments are counted; a list or a mapping as the one argument may be left over.
      if case .list = values {
      } else {
        throw TemplateError.raised("not all arguments converted during string formatting")
      }
    }
    try budget.take(bytes: out.count)
    return Text(out, isMarkup: format.isMarkup)
  }

  private func percent(_ type: Unicode.Scalar, _ value: Value, _ format: FormatSpec) throws -> Text {
    var spec = format
    switch type {
    case "s", "r", "a":
      var text = type == "s" ? try str(value) : type == "r" ? try repr(value) : try ascii(value)
      if case .text(let markup) = value, type == "s" { text = markup }
      if spec.align == "=" { (spec.align, spec.fill) = (nil, " ") }
      return try padded(spec.precision.map { text.part(0, $0) } ?? text, spec, ">")
    case "c":
      if case .text(let text) = value {
        guard text.count == 1 else { throw TemplateError.raised("%c requires int or char") }
        return try padded(text, spec, ">")
      }
      guard let number = value.bigInt else { throw TemplateError.raised("%c requires int or char") }
      spec.type = "c"
      return try padded(try formatted(integer: number, spec), spec, ">")
    case "d", "i", "u", "o", "x", "X":
      spec.type = type == "i" || type == "u" ? "d" : type
      if case .undefined(let undefined) = value { throw undefined.error }
      if let number = value.bigInt { return try formatted(integer: number, spec) }
      guard case .float(let number) = value, "diu".unicodeScalars.contains(type), number.isFinite,
        let whole = BigInt(decimal: Array(printf("%.0f", number.rounded(.towardZero)).utf8))
      else { throw TemplateError.raised("%\(String(type)) format: a number is required, not \(value.type)") }
      return try formatted(integer: whole, spec)
    case "e", "E", "f", "F", "g", "G":
      spec.type = type
      if case .undefined(let undefined) = value { throw undefined.error }
      guard let number = value.double else { throw TemplateError.raised("must be real number, not \(value.type)") }
      return try formatted(float: number, spec)
    default: throw TemplateError.raised("unsupported format character '\(String(type))'")
    }
  }
}
