/// An integer that does not fit into 64 bits, as JSON schemas have them (`18446744073709551615`).
struct BigInt: Hashable, Sendable {
  /// Digits to the base 2³², the lowest first; the highest is not zero.
  private(set) var digits: [UInt32]
  private(set) var isNegative: Bool

  private init(_ digits: [UInt32], _ isNegative: Bool) {
    var digits = digits
    while digits.last == 0 { digits.removeLast() }
    self.digits = digits
    self.isNegative = isNegative && !digits.isEmpty
  }

  init(_ value: Int) {
    let magnitude = value.magnitude
    self.init([UInt32(truncatingIfNeeded: magnitude), UInt32(truncatingIfNeeded: magnitude >> 32)], value < 0)
  }

  /// More decimal digits than these Python neither reads nor writes.
  static let maximumDigits = 4300
  /// Bits that a result may have: the decimal digits above, with room for what is between.
  static let maximumBits = 1 << 16

  /// The value of decimal digits with an optional sign; nil for anything else.
  init?(decimal: some Collection<UInt8>) {
    var rest = decimal[...]
    let isNegative = rest.first == UInt8(ascii: "-")
    if isNegative || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
    guard !rest.isEmpty, rest.count <= Self.maximumDigits else { return nil }
    var digits: [UInt32] = []
    for byte in rest {
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
      Self.multiplyAdd(&digits, 10, UInt32(byte - UInt8(ascii: "0")))
    }
    self.init(digits, isNegative)
  }

  private static func multiplyAdd(_ digits: inout [UInt32], _ factor: UInt32, _ addend: UInt32) {
    var carry = UInt64(addend)
    for index in digits.indices {
      let value = UInt64(digits[index]) * UInt64(factor) + carry
      digits[index] = UInt32(truncatingIfNeeded: value)
      carry = value >> 32
    }
    if carry > 0 { digits.append(UInt32(truncatingIfNeeded: carry)) }
  }

  /// The value where it fits into 64 bits.
  var int: Int? {
    guard digits.count <= 2 else { return nil }
    var magnitude: UInt = 0
    for (index, digit) in digits.enumerated() { magnitude |= UInt(digit) << UInt(32 * index) }
    if isNegative {
      return magnitude <= UInt(Int.max) + 1 ? Int(truncatingIfNeeded: 0 &- magnitude) : nil
    }
    return Int(exactly: magnitude)
  }

  var double: Double {
    // By its decimal digits, so that the value is rounded once.
    Double(description) ?? (isNegative ? -.infinity : .infinity)
  }

  var bitCount: Int { digits.isEmpty ? 0 : digits.count * 32 - (digits.last?.leadingZeroBitCount ?? 0) }

  static prefix func - (value: BigInt) -> BigInt { BigInt(value.digits, !value.isNegative) }

  static func + (a: BigInt, b: BigInt) -> BigInt {
    if a.isNegative == b.isNegative { return BigInt(sum(a.digits, b.digits), a.isNegative) }
    return isSmaller(a.digits, b.digits)
      ? BigInt(difference(b.digits, a.digits), b.isNegative) : BigInt(difference(a.digits, b.digits), a.isNegative)
  }

  static func - (a: BigInt, b: BigInt) -> BigInt { a + -b }

  static func * (a: BigInt, b: BigInt) -> BigInt {
    var product = [UInt32](repeating: 0, count: a.digits.count + b.digits.count)
    for (i, digit) in a.digits.enumerated() {
      var carry: UInt64 = 0
      for (j, other) in b.digits.enumerated() {
        let value = UInt64(digit) * UInt64(other) + UInt64(product[i + j]) + carry
        product[i + j] = UInt32(truncatingIfNeeded: value)
        carry = value >> 32
      }
      product[i + b.digits.count] = UInt32(truncatingIfNeeded: carry)
    }
    return BigInt(product, a.isNegative != b.isNegative)
  }

  /// Quotient and remainder as Python's `//` and `%`: rounded down. The divisor is not zero.
  static func floorDivide(_ a: BigInt, _ b: BigInt) -> (quotient: BigInt, remainder: BigInt) {
    var quotient = [UInt32](repeating: 0, count: a.digits.count)
    var rest: [UInt32] = []
    // Bit by bit: numbers here have some hundred bits.
    for bit in (0..<a.digits.count * 32).reversed() {
      multiplyAdd(&rest, 2, a.digits[bit / 32] >> UInt32(bit % 32) & 1)
      if !isSmaller(rest, b.digits) {
        rest = difference(rest, b.digits)
        quotient[bit / 32] |= 1 << UInt32(bit % 32)
      }
    }
    var result = (quotient: BigInt(quotient, a.isNegative != b.isNegative), remainder: BigInt(rest, a.isNegative))
    if !result.remainder.digits.isEmpty, a.isNegative != b.isNegative {
      result.quotient = result.quotient - BigInt(1)
      result.remainder = result.remainder + b
    }
    return result
  }

  static func < (a: BigInt, b: BigInt) -> Bool {
    if a.isNegative != b.isNegative { return a.isNegative }
    return a.isNegative ? isSmaller(b.digits, a.digits) : isSmaller(a.digits, b.digits)
  }

  private static func isSmaller(_ a: [UInt32], _ b: [UInt32]) -> Bool {
    let (a, b) = (a[..<significant(a)], b[..<significant(b)])
    if a.count != b.count { return a.count < b.count }
    return a.reversed().lexicographicallyPrecedes(b.reversed())
  }

  private static func significant(_ digits: [UInt32]) -> Int { (digits.lastIndex { $0 != 0 } ?? -1) + 1 }

  private static func sum(_ a: [UInt32], _ b: [UInt32]) -> [UInt32] {
    var (result, carry) = ([UInt32](), UInt64(0))
    for index in 0..<max(a.count, b.count) {
      carry += UInt64(index < a.count ? a[index] : 0) + UInt64(index < b.count ? b[index] : 0)
      result.append(UInt32(truncatingIfNeeded: carry))
      carry >>= 32
    }
    if carry > 0 { result.append(UInt32(truncatingIfNeeded: carry)) }
    return result
  }

  /// a − b, where a is not smaller.
  private static func difference(_ a: [UInt32], _ b: [UInt32]) -> [UInt32] {
    var (result, borrow) = (a, Int64(0))
    for index in a.indices {
      let value = Int64(a[index]) - Int64(index < b.count ? b[index] : 0) + borrow
      result[index] = UInt32(truncatingIfNeeded: value)
      borrow = value >> 32
    }
    while result.last == 0 { result.removeLast() }
    return result
  }
}

extension BigInt: CustomStringConvertible {
  var description: String {
    var (rest, groups) = (digits, [UInt32]())
    while !rest.isEmpty {
      var remainder: UInt64 = 0
      for index in rest.indices.reversed() {
        let value = remainder << 32 | UInt64(rest[index])
        rest[index] = UInt32(truncatingIfNeeded: value / 1_000_000_000)
        remainder = value % 1_000_000_000
      }
      while rest.last == 0 { rest.removeLast() }
      groups.append(UInt32(truncatingIfNeeded: remainder))
    }
    guard let first = groups.last else { return "0" }
    let others = groups.dropLast().reversed().map { group in
      let digits = String(group)
      return String(repeating: "0", count: 9 - digits.count) + digits
    }
    return (isNegative ? "-" : "") + String(first) + others.joined()
  }
}
