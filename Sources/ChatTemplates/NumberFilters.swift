#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension Filters {
  /// Counts the reading of a number, which takes the square of its digits.
  static func chargeDigits(_ value: Value, _ interpreter: Interpreter) throws {
    guard case .text(let text) = value else { return }
    try interpreter.budget.take(bytes: text.utf8.count)
    let digits = min(text.utf8.count, BigInt.maximumDigits)
    try interpreter.budget.step(digits * digits >> 6)
  }

  /// Python's `int(value, base)`, or that of the float; nil where there is none.
  static func integer(_ value: Value, base: Int) -> Value? {
    switch value {
    case .int, .big: return value
    case .bool(let flag): return .int(flag ? 1 : 0)
    case .float(let number): return whole(number)
    case .text(let text): return integer(text, base: base) ?? float(text).flatMap(whole)
    default: return nil
    }
  }

  private static func whole(_ number: Double) -> Value? {
    guard number.isFinite else { return nil }
    if let int = Int(exactly: number.rounded(.towardZero)) { return .int(int) }
    var bytes = [CChar](repeating: 0, count: 512)
    let count = withVaList([number.rounded(.towardZero)]) { vsnprintf(&bytes, bytes.count, "%.0f", $0) }
    return BigInt(decimal: bytes.prefix(Int(count)).map { UInt8(bitPattern: $0) }).map(Value.integer)
  }

  private static func integer(_ text: Text, base: Int) -> Value? {
    guard base == 0 || (2...36).contains(base) else { return nil }
    var digits = text.stripped { $0.isSpace }.utf8[...]
    var isNegative = false
    if let first = digits.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
      isNegative = first == UInt8(ascii: "-")
      digits = digits.dropFirst()
    }
    var radix = base
    for (mark, size) in [("x", 16), ("o", 8), ("b", 2)] where base == size || base == 0 {
      guard digits.first == UInt8(ascii: "0"), let second = digits.dropFirst().first, second | 0x20 == mark.utf8.first
      else { continue }
      (radix, digits) = (size, digits.dropFirst(2))
      if digits.first == UInt8(ascii: "_") { digits = digits.dropFirst() }
    }
    if radix == 0 { radix = 10 }
    guard let plain = withoutUnderscores(digits), !plain.isEmpty, plain.count <= BigInt.maximumDigits else {
      return nil
    }
    if base == 0, radix == 10, plain.first == UInt8(ascii: "0"), plain.contains(where: { $0 != UInt8(ascii: "0") }) {
      return nil
    }
    if radix == 10 {
      guard let value = BigInt(decimal: plain), plain.first.map({ (48...57).contains($0) }) ?? false else { return nil }
      return .integer(isNegative ? -value : value)
    }
    var value = BigInt(0)
    for byte in plain {
      guard let digit = digit(byte), digit < radix else { return nil }
      value = value * BigInt(radix) + BigInt(digit)
    }
    return .integer(isNegative ? -value : value)
  }

  private static func digit(_ byte: UInt8) -> Int? {
    switch byte {
    case 48...57: Int(byte) - 48
    case 65...90: Int(byte) - 55
    case 97...122: Int(byte) - 87
    default: nil
    }
  }

  /// Digits without the single underscores between them; nil where an underscore stands elsewhere.
  private static func withoutUnderscores(_ digits: ArraySlice<UInt8>) -> [UInt8]? {
    let mark = UInt8(ascii: "_")
    guard digits.first != mark, digits.last != mark else { return nil }
    for (a, b) in zip(digits, digits.dropFirst()) where a == mark && b == mark { return nil }
    return digits.filter { $0 != mark }
  }

  /// Python's `float(text)`.
  static func float(_ text: Text) -> Double? {
    let trimmed = text.stripped { $0.isSpace }.utf8[...]
    guard let plain = withoutUnderscores(trimmed), !plain.isEmpty else { return nil }
    let spelling = String(decoding: plain, as: UTF8.self).lowercased()
    let unsigned = spelling.first == "-" || spelling.first == "+" ? String(spelling.dropFirst()) : spelling
    let sign: Double = spelling.first == "-" ? -1 : 1
    switch unsigned {
    case "inf", "infinity": return sign * .infinity
    case "nan": return .nan
    default: break
    }
    // Swift reads hexadecimal floats, too.
    guard let first = unsigned.utf8.first, first == UInt8(ascii: ".") || (48...57).contains(first),
      unsigned.utf8.allSatisfy({ (48...57).contains($0) || ".e+-".utf8.contains($0) })
    else { return nil }
    var rewritten = unsigned
    if rewritten.hasPrefix(".") { rewritten = "0" + rewritten }
    rewritten = rewritten.split(separator: "e", maxSplits: 1, omittingEmptySubsequences: false)
      .enumerated().map { $0 == 0 && $1.hasSuffix(".") ? $1 + "0" : String($1) }.joined(separator: "e")
    if unsigned == "." || unsigned.hasPrefix(".e") { return nil }
    return Double(rewritten).map { sign * $0 }
  }

  static let round: Filter = { _, value, arguments in
    let values = try arguments.bound("round", ["precision", "method"])
    let method = try values[1].map(StringMethods.textArgument) ?? "common"
    guard method == "common" || method == "ceil" || method == "floor" else {
      throw TemplateError.raised("method must be common, ceil or floor")
    }
    // Without a precision Python's `round` makes an integer; jinja gives it 0, and a template may give it none.
    let isWhole = values[0]?.isNone ?? false
    let precision = isWhole ? 0 : try values[0].map(StringMethods.integer) ?? 0
    if case .undefined = value { throw TemplateError.raised("type Undefined doesn't define __round__ method") }
    guard let number = value.double else {
      throw TemplateError.raised("type \(value.type) doesn't define __round__ method")
    }
    if isWhole {
      guard method == "common" else { throw TemplateError.raised("round wants a number for its precision") }
      guard let rounded = integer(.float(number.rounded(.toNearestOrEven)), base: 10) else {
        throw TemplateError.raised("cannot convert a float that is not finite to integer")
      }
      return value.bigInt.map(Value.integer) ?? rounded
    }
    if method != "common" {
      let scale = pow(10, Double(precision))
      let scaled = number * scale
      guard scaled.isFinite else { throw TemplateError.raised("cannot convert float infinity to integer") }
      return .float(scaled.rounded(method == "ceil" ? .up : .down) / scale)
    }
    if let whole = value.bigInt {
      guard precision < 0 else { return .integer(whole) }
      guard precision > -400 else { return .int(0) }
      var scale = BigInt(1)
      for _ in 0..<(-precision) { scale = scale * BigInt(10) }
      let (quotient, remainder) = BigInt.floorDivide(whole, scale)
      let twice = remainder + remainder
      let isOdd = !BigInt.floorDivide(quotient, BigInt(2)).remainder.digits.isEmpty
      let isUp = scale < twice || (twice == scale && isOdd)
      return .integer((isUp ? quotient + BigInt(1) : quotient) * scale)
    }
    guard number.isFinite, precision < 330 else { return .float(number) }
    guard precision > -310 else { return .float(number.sign == .minus ? -0.0 : 0) }
    if precision < 0 {
      let scale = pow(10, Double(-precision))
      return .float((number / scale).rounded(.toNearestOrEven) * scale)
    }
    var bytes = [CChar](repeating: 0, count: 1024)
    let count = withVaList([number]) { vsnprintf(&bytes, bytes.count, "%.\(precision)f", $0) }
    let text = String(decoding: bytes.prefix(Int(count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return .float(Double(text) ?? number)
  }

  static func fileSize(_ bytes: Double, _ isBinary: Bool, _ interpreter: Interpreter) throws -> Text {
    let base: Double = isBinary ? 1024 : 1000
    if bytes == 1 { return "1 Byte" }
    if bytes < base { return Text("\(Int(max(-1e18, bytes))) Bytes") }
    guard bytes.isFinite else { throw TemplateError.raised("cannot write the size of \(bytes) bytes") }
    var unit = base
    var spec = FormatSpec()
    (spec.type, spec.precision) = ("f", 1)
    for prefix in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
      unit *= base
      if bytes < unit || prefix == "Y" {
        let number = try interpreter.formatted(float: base * bytes / unit, spec)
        return Text(number.string + " " + (isBinary ? prefix.uppercased() + "iB" : prefix + "B"))
      }
    }
    return ""
  }
}
