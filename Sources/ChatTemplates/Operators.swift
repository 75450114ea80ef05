#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Python's arithmetic.
extension Interpreter {
  func apply(_ operation: BinaryOperator, _ a: Value, _ b: Value) throws -> Value {
    if case .undefined(let undefined) = a {
      // A string on the left of % is asked first, and writes what is undefined as nothing.
      throw undefined.error
    }
    if case .undefined(let undefined) = b {
      if operation == .modulo, case .text(let format) = a { return .text(try percentFormat(format, b)) }
      throw undefined.error
    }
    if operation == .modulo, case .text(let format) = a { return .text(try percentFormat(format, b)) }
    if let a = a.int, let b = b.int, let value = try integers(operation, a, b) { return value }
    if let a = a.bigInt, let b = b.bigInt { return try bigIntegers(operation, a, b) }
    if let x = a.double, let y = b.double { return try floats(operation, x, y) }
    switch (operation, a, b) {
    case (.add, .text(let a), .text(let b)): return .text(try joined(a, b))
    case (.add, .list(let a), .list(let b)): return try list(a.items + b.items)
    case (.add, .tuple(let a), .tuple(let b)): return try tuple(a.items + b.items)
    case (.multiply, .text(let text), _) where b.int != nil: return .text(try repeated(text, b.int ?? 0))
    case (.multiply, _, .text(let text)) where a.int != nil: return .text(try repeated(text, a.int ?? 0))
    case (.multiply, .list(let values), _) where b.int != nil: return try list(try repeated(values.items, b.int ?? 0))
    case (.multiply, _, .list(let values)) where a.int != nil: return try list(try repeated(values.items, a.int ?? 0))
    case (.multiply, .tuple(let values), _) where b.int != nil:
      return try tuple(try repeated(values.items, b.int ?? 0))
    case (.multiply, _, .tuple(let values)) where a.int != nil:
      return try tuple(try repeated(values.items, a.int ?? 0))
    default:
      throw TemplateError.raised(
        "unsupported operand type(s) for \(operation.rawValue): '\(a.type)' and '\(b.type)'")
    }
  }

  /// Text after text; beside markup the other one is escaped.
  private func joined(_ a: Text, _ b: Text) throws -> Text {
    let isMarkup = a.isMarkup || b.isMarkup
    let (a, b) = isMarkup ? (a.escaped(), b.escaped()) : (a, b)
    try budget.take(bytes: a.utf8.count + b.utf8.count)
    return Text(a.utf8 + b.utf8, isMarkup: isMarkup)
  }

  func repeated(_ text: Text, _ count: Int) throws -> Text {
    let (bytes, overflow) = text.utf8.count.multipliedReportingOverflow(by: max(0, count))
    try budget.take(bytes: overflow ? .max : bytes)
    guard bytes > 0 else { return Text([], isMarkup: text.isMarkup) }
    if text.utf8.count == 1 { return Text(Array(repeating: text.utf8[0], count: count), isMarkup: text.isMarkup) }
    try budget.step(count >> 3)
    var out: [UInt8] = []
    out.reserveCapacity(bytes)
    for _ in 0..<count { out += text.utf8 }
    return Text(out, isMarkup: text.isMarkup)
  }

  private func repeated(_ items: [Value], _ count: Int) throws -> [Value] {
    let (entries, overflow) = items.count.multipliedReportingOverflow(by: max(0, count))
    try budget.take(entries: overflow ? .max : entries)
    var out: [Value] = []
    if entries > 0 { for _ in 0..<count { out += items } }
    return out
  }

  /// Nil where the result needs more than 64 bits.
  private func integers(_ operation: BinaryOperator, _ a: Int, _ b: Int) throws -> Value? {
    func checked(_ result: (partialValue: Int, overflow: Bool)) -> Value? {
      result.overflow ? nil : .int(result.partialValue)
    }
    switch operation {
    case .add: return checked(a.addingReportingOverflow(b))
    case .subtract: return checked(a.subtractingReportingOverflow(b))
    case .multiply: return checked(a.multipliedReportingOverflow(by: b))
    case .divide:
      guard b != 0 else { throw TemplateError.raised("division by zero") }
      return .float(Double(a) / Double(b))
    case .floorDivide, .modulo:
      guard b != 0 else { throw TemplateError.raised("integer division or modulo by zero") }
      guard b != -1 else { return operation == .modulo ? .int(0) : checked((0 as Int).subtractingReportingOverflow(a)) }
      let (quotient, remainder) = a.quotientAndRemainder(dividingBy: b)
      let isBelow = remainder != 0 && (remainder < 0) != (b < 0)
      return .int(operation == .modulo ? (isBelow ? remainder + b : remainder) : (isBelow ? quotient - 1 : quotient))
    case .power:
      guard b >= 0 else {
        guard a != 0 else { throw TemplateError.raised("0.0 cannot be raised to a negative power") }
        return .float(pow(Double(a), Double(b)))
      }
      var (result, base, exponent) = (1, a, b)
      while exponent > 0 {
        if exponent & 1 == 1 {
          let product = result.multipliedReportingOverflow(by: base)
          if product.overflow { return nil }
          result = product.partialValue
        }
        exponent >>= 1
        if exponent > 0 {
          let square = base.multipliedReportingOverflow(by: base)
          if square.overflow { return nil }
          base = square.partialValue
        }
      }
      return .int(result)
    }
  }

  private func bigIntegers(_ operation: BinaryOperator, _ a: BigInt, _ b: BigInt) throws -> Value {
    func charge(_ bits: Int) throws {
      guard bits <= BigInt.maximumBits else {
        throw TemplateError(.budget, "the template makes an integer of more than \(BigInt.maximumBits) bits")
      }
    }
    try charge(max(a.bitCount, b.bitCount))
    try budget.step((a.digits.count + b.digits.count) >> 2)
    let work = (a.digits.count + 1) * (b.digits.count + 1)
    switch operation {
    case .add: return .integer(a + b)
    case .subtract: return .integer(a - b)
    case .multiply:
      try budget.step(work)
      return .integer(a * b)
    case .divide:
      guard !b.digits.isEmpty else { throw TemplateError.raised("division by zero") }
      let quotient = a.double / b.double
      guard quotient.isFinite else { throw TemplateError.raised("integer division result too large for a float") }
      return .float(quotient)
    case .floorDivide, .modulo:
      guard !b.digits.isEmpty else { throw TemplateError.raised("integer division or modulo by zero") }
      try budget.step(work * 32)
      let (quotient, remainder) = BigInt.floorDivide(a, b)
      return .integer(operation == .modulo ? remainder : quotient)
    case .power:
      guard let exponent = b.int else { throw TemplateError(.budget, "the exponent of ** is too large") }
      guard exponent >= 0 else { return .float(pow(a.double, b.double)) }
      let (bits, overflow) = a.bitCount.multipliedReportingOverflow(by: exponent)
      try charge(overflow ? .max : bits)
      var result = BigInt(1)
      for _ in 0..<exponent {
        try budget.step(result.digits.count + 1)
        result = result * a
      }
      return .integer(result)
    }
  }

  private func floats(_ operation: BinaryOperator, _ a: Double, _ b: Double) throws -> Value {
    switch operation {
    case .add: return .float(a + b)
    case .subtract: return .float(a - b)
    case .multiply: return .float(a * b)
    case .divide:
      guard b != 0 else { throw TemplateError.raised("float division by zero") }
      return .float(a / b)
    case .floorDivide, .modulo:
      guard b != 0 else { throw TemplateError.raised("float floor division or modulo by zero") }
      var remainder = fmod(a, b)
      var quotient = (a - remainder) / b
      if remainder != 0 {
        if (b < 0) != (remainder < 0) {
          remainder += b
          quotient -= 1
        }
      } else {
        remainder = b < 0 ? -0.0 : 0.0
      }
      if operation == .modulo { return .float(remainder) }
      guard quotient != 0 else { return .float((a / b).sign == .minus ? -0.0 : 0.0) }
      let whole = quotient.rounded(.down)
      return .float(quotient - whole > 0.5 ? whole + 1 : whole)
    case .power:
      if a == 0, b < 0 { throw TemplateError.raised("0.0 cannot be raised to a negative power") }
      let result = pow(a, b)
      if a.isFinite, b.isFinite, result.isInfinite { throw TemplateError.raised("numerical result out of range") }
      if a < 0, a.isFinite, result.isNaN { throw TemplateError.raised("complex numbers are not supported") }
      return .float(result)
    }
  }

  func negate(_ value: Value) throws -> Value {
    if case .undefined(let undefined) = value { throw undefined.error }
    if let int = value.int { return int == .min ? .integer(-BigInt(int)) : .int(-int) }
    switch value {
    case .big(let value): return .integer(-value)
    case .float(let value): return .float(-value)
    default: throw TemplateError.raised("bad operand type for unary -: '\(value.type)'")
    }
  }
}
