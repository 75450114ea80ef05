import JSON

extension JSON {
  /// A number as the `tokenizers` library reads scores: the digits as an integer, times or over a power of ten. The last bit may be
  /// another than the nearest double's, and decides between cuts that score alike. nil for what is no number.
  ///
  /// Source: serde_json 1.0 without `float_roundtrip`: `Deserializer::parse_number` and `f64_from_parts`.
  var asReadBySerde: Double? {
    guard case .number(let number) = self else { return nil }
    var spelling = number.spelling
    // "NaN" and "Infinity" are none of digits.
    return spelling.withUTF8 { SerdeNumber($0)?.value } ?? number.double
  }
}

/// The digits of a number and where its point is.
private struct SerdeNumber {
  private var significand: UInt64 = 0
  private var exponent = 0
  private var isNegative = false

  /// The powers of ten that a double holds.
  private static let powers = (0...308).map { Double("1e\($0)") ?? .infinity }

  /// nil where no digit begins it.
  init?(_ text: UnsafeBufferPointer<UInt8>) {
    var at = 0
    if text.first == UInt8(ascii: "-") { (isNegative, at) = (true, 1) }
    guard Self.digit(text, at) != nil else { return nil }
    take(text, &at, moving: 0)
    if at < text.count, text[at] == UInt8(ascii: ".") {
      at += 1
      take(text, &at, moving: -1)
    }
    // What is left is an exponent, and the parser has seen to its form.
    guard at < text.count else { return }
    let written = String(decoding: text[(at + 1)...], as: UTF8.self)
    exponent += Int(written).map { min(max($0, -100_000), 100_000) } ?? (written.hasPrefix("-") ? -100_000 : 100_000)
  }

  private static func digit(_ text: UnsafeBufferPointer<UInt8>, _ at: Int) -> UInt64? {
    guard at < text.count, (0x30...0x39).contains(text[at]) else { return nil }
    return UInt64(text[at] - 0x30)
  }

  /// Takes digits while they fit; those after that are zeros.
  ///
  /// - Parameter moving: what a digit that fits does to the exponent.
  private mutating func take(_ text: UnsafeBufferPointer<UInt8>, _ at: inout Int, moving: Int) {
    var isFull = false
    while let digit = Self.digit(text, at) {
      at += 1
      let (product, overflows) = significand.multipliedReportingOverflow(by: 10)
      let (sum, carries) = product.addingReportingOverflow(digit)
      isFull = isFull || overflows || carries
      if !isFull { significand = sum }
      exponent += isFull ? moving + 1 : moving
    }
  }

  var value: Double {
    var (value, exponent) = (Double(significand), exponent)
    while exponent < -308, value != 0 {
      value /= Self.powers[308]
      exponent += 308
    }
    if value != 0 {
      if exponent > 308 { return .infinity }
      value = exponent < 0 ? value / Self.powers[-exponent] : value * Self.powers[exponent]
    }
    return isNegative ? -value : value
  }
}
