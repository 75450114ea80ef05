import JSON

extension JSON {
  /// A number as `serde_json` reads it where it does not take the trouble to round correctly, which is how the `tokenizers`
  /// library reads scores: the digits as an integer, times or over a power of ten. The last bit may be another than that of the
  /// nearest double, and decides between cuts that score alike. nil for what is no number.
  ///
  /// Source: serde_json 1.0, `Deserializer::parse_number` and `f64_from_parts`.
  var asReadBySerde: Double? {
    guard case .number(let number) = self else { return nil }
    var rest = Substring(number.spelling)
    let isNegative = rest.first == "-"
    if isNegative { rest.removeFirst() }
    guard rest.first?.isASCII == true, rest.first?.isNumber == true else { return number.double }
    var (significand, exponent) = (UInt64(0), 0)
    /// Takes digits while they fit; those after that only move the point.
    func take(_ perDigit: Int) {
      var isFull = false
      while let digit = rest.first?.wholeNumberValue {
        rest.removeFirst()
        let (product, overflows) = significand.multipliedReportingOverflow(by: 10)
        let (sum, carries) = product.addingReportingOverflow(UInt64(digit))
        isFull = isFull || overflows || carries
        if isFull {
          exponent += perDigit + 1
        } else {
          significand = sum
          exponent += perDigit
        }
      }
    }
    take(0)
    if rest.first == "." {
      rest.removeFirst()
      take(-1)
    }
    if rest.first == "e" || rest.first == "E" {
      guard let written = Int(rest.dropFirst()) else { return number.double }
      let (sum, overflows) = exponent.addingReportingOverflow(written)
      guard !overflows else { return number.double }
      exponent = sum
    } else if !number.spelling.contains(where: { ".eE".contains($0) }), number.int != nil {
      return number.double
    }
    let value = Self.scaled(Double(significand), by: exponent)
    return isNegative ? -value : value
  }

  private static func scaled(_ significand: Double, by exponent: Int) -> Double {
    var (value, exponent) = (significand, exponent)
    while exponent < -308, value != 0 {
      value /= 1e308
      exponent += 308
    }
    if value == 0 { return 0 }
    guard let power = Double("1e\(abs(exponent))"), power.isFinite else { return .infinity }
    return exponent < 0 ? value / power : value * power
  }
}
