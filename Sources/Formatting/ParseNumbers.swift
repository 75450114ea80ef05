import Foundation

/// A number on the command line that cannot be read. Says what was found, what is wrong and what is accepted.
public struct NumberError: Error, CustomStringConvertible, Equatable {
  public let description: String

  init(_ text: String, _ problem: String, accepted: String) {
    let shown = Width.truncate(Width.printable(text), to: 40)
    description = "\"\(shown)\" \(problem). Accepted: \(accepted)"
  }
}

extension Format {
  private static let countForms = "whole numbers such as 6000000000, 6_000_000_000, 6e9, 6B, 600M, 1.5b, 20K"
  private static let byteForms =
    "sizes such as 4GiB, 512MiB, 1.5TiB (powers of 1024; 4G and 512M mean the same), 8GB, 500MB (powers of 1000), "
    + "or a number of bytes"
  private static let numberForms = "numbers from 0 up such as 12288, 12_288, 1.5 or 1.2e4"

  /// Reads a count: `6e9`, `6B`, `600M`, `1.5b`, `6_000`. Exact: no digit goes through floating point.
  /// - Throws: `NumberError` for what is malformed, negative, not whole, or over `Int.max`.
  public static func parseCount(_ text: String) throws -> Int {
    let units = ["": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000, "t": 1_000_000_000_000] as [String: UInt64]
    let number = try Decimal10(text, accepted: countForms)
    let (value, exact) = try number.times(units, kind: "count", accepted: countForms)
    guard exact else { throw NumberError(text, "is not a whole number", accepted: countForms) }
    return value
  }

  /// Reads a size in bytes: `4GiB`, `512MiB`, `8GB`, `4G` (1024-based), `1048576`. Fractions of a byte are cut off.
  /// - Throws: `NumberError` for what is malformed, negative, or over `Int.max`.
  public static func parseBytes(_ text: String) throws -> Int {
    var units: [String: UInt64] = ["": 1, "b": 1]
    var (binary, thousands) = (1 as UInt64, 1 as UInt64)
    for letter in ["k", "m", "g", "t", "p"] {
      (binary, thousands) = (binary * 1024, thousands * 1000)
      units[letter] = binary
      units[letter + "ib"] = binary
      units[letter + "b"] = thousands
    }
    return try Decimal10(text, accepted: byteForms).times(units, kind: "size", accepted: byteForms).value
  }

  /// Reads a number from 0 up that need not be whole: `12288`, `0.4`, `1.2e4`.
  /// - Throws: `NumberError` for what is malformed, negative or too large for a double.
  public static func parseNumber(_ text: String) throws -> Double {
    let number = try Decimal10(text, accepted: numberForms)
    guard number.suffix.isEmpty else {
      throw NumberError(text, "ends in \"\(number.shownSuffix)\", which is no number", accepted: numberForms)
    }
    guard let value = Double(number.plain), value.isFinite else {
      throw NumberError(text, "is too large", accepted: numberForms)
    }
    return value
  }
}

/// A decimal number taken apart: digits × 10^exponent, and what stands after it.
private struct Decimal10 {
  let text: String
  /// All digits of the number, without point, underscores, and zeros that change nothing.
  var digits: [UInt8] = []
  /// The power of ten that `digits` is to be multiplied with.
  var exponent = 0
  var hasExponent = false
  /// Lower case.
  var suffix = ""

  var shownSuffix: String { Width.truncate(Width.printable(suffix), to: 12) }
  var plain: String { String(decoding: digits, as: UTF8.self) + "e\(exponent)" }

  init(_ text: String, accepted: String) throws {
    self.text = text
    func fail(_ problem: String) -> NumberError { NumberError(text, problem, accepted: accepted) }
    var rest = text.trimmingCharacters(in: .whitespaces).utf8[...]
    if rest.isEmpty { throw NumberError(text, "is empty", accepted: accepted) }
    if rest.first == UInt8(ascii: "-") { throw fail("is negative or no number") }
    if rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }

    // Underscores stand between two digits or nowhere.
    func takeDigits() throws -> [UInt8] {
      var taken: [UInt8] = []
      var last: UInt8 = UInt8(ascii: "_")
      while let byte = rest.first, byte.isDigit || byte == UInt8(ascii: "_") {
        if byte.isDigit {
          taken.append(byte)
        } else if last == UInt8(ascii: "_") {
          throw fail("has an underscore that is not between two digits")
        }
        last = byte
        rest = rest.dropFirst()
      }
      if !taken.isEmpty, last == UInt8(ascii: "_") {
        throw fail("has an underscore that is not between two digits")
      }
      return taken
    }
    let whole = try takeDigits()
    var fraction: [UInt8] = []
    if rest.first == UInt8(ascii: ".") {
      rest = rest.dropFirst()
      fraction = try takeDigits()
    }
    if whole.isEmpty && fraction.isEmpty { throw fail("is not a number") }
    digits = Array((whole + fraction).drop { $0 == UInt8(ascii: "0") })
    exponent = -fraction.count
    while digits.last == UInt8(ascii: "0") {
      digits.removeLast()
      exponent += 1
    }
    try takeExponent(from: &rest, fail)
    if digits.isEmpty { (digits, exponent) = ([UInt8(ascii: "0")], 0) }
    suffix = String(decoding: rest, as: UTF8.self).lowercased().trimmingCharacters(in: .whitespaces)
  }

  /// Takes `e9`, `E+9`, `e-3`; leaves an `e` that begins a unit alone.
  private mutating func takeExponent(from rest: inout Substring.UTF8View, _ fail: (String) -> NumberError) throws {
    guard rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") else { return }
    var after = rest.dropFirst()
    let negative = after.first == UInt8(ascii: "-")
    if negative || after.first == UInt8(ascii: "+") { after = after.dropFirst() }
    let power = after.prefix(while: \.isDigit)
    if power.isEmpty { return }
    // Beyond 5 digits any number is out of range on either side, so more of them change nothing.
    let size = Int(String(decoding: power.drop { $0 == UInt8(ascii: "0") }.prefix(6), as: UTF8.self)) ?? 0
    exponent += negative ? -size : size
    hasExponent = true
    rest = after.dropFirst(power.count)
  }

  /// The number times its unit, cut off to a whole number; `exact` when nothing was cut off.
  func times(_ units: [String: UInt64], kind: String, accepted: String) throws -> (value: Int, exact: Bool) {
    guard let unit = units[suffix] else {
      throw NumberError(text, "ends in \"\(shownSuffix)\", which is no unit of a \(kind)", accepted: accepted)
    }
    if hasExponent, !suffix.isEmpty {
      throw NumberError(text, "has both an exponent and a unit", accepted: accepted)
    }
    let tooLarge = NumberError(text, "is too large", accepted: accepted)
    guard let mantissa = UInt64(String(decoding: digits, as: UTF8.self)) else {
      // More digits than 64 bits hold: a large number, or a fraction finer than anything it could count.
      throw digits.count + exponent > 18 ? tooLarge : NumberError(text, "has too many digits", accepted: accepted)
    }
    if mantissa == 0 { return (0, true) }
    if exponent > 19 { throw tooLarge }
    if exponent >= 0 {
      var value = mantissa
      for factor in [unit] + Array(repeating: 10, count: exponent) {
        let (product, overflow) = value.multipliedReportingOverflow(by: factor)
        if overflow { throw tooLarge }
        value = product
      }
      guard let value = Int(exactly: value) else { throw tooLarge }
      return (value, true)
    }
    // The product has at most 2^64 · 2^50 < 10^35, so that beyond 19 places below the point two steps do.
    var (value, exact) = (mantissa.multipliedFullWidth(by: unit), true)
    var places = -exponent
    while places > 0 {
      let step = min(places, 19)
      let divisor = (0..<step).reduce(1 as UInt64) { power, _ in power * 10 }
      let upper = value.high.quotientAndRemainder(dividingBy: divisor)
      let lower = divisor.dividingFullWidth((upper.remainder, value.low))
      exact = exact && lower.remainder == 0
      value = (upper.quotient, lower.quotient)
      places -= step
      if value.high == 0, value.low == 0 { break }
    }
    guard value.high == 0, let result = Int(exactly: value.low) else { throw tooLarge }
    return (result, exact)
  }
}

extension UInt8 {
  fileprivate var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
}
