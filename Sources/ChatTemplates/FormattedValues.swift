#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Values as a format specification wants them.
extension Interpreter {
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

  func printf(_ format: String, _ value: Double) -> String {
    withVaList([value]) { list in
      var bytes = [CChar](repeating: 0, count: 2048)
      let count = vsnprintf(&bytes, bytes.count, format, list)
      return String(
        decoding: bytes.prefix(max(0, min(Int(count), bytes.count - 1))).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }

}
