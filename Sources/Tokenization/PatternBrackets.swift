/// Escapes and brackets.
extension PatternParser {
  mutating func escape(inBracket: Bool) throws -> ScalarSet {
    at += 1
    guard let scalar = next else { throw PatternFailure(message: "a backslash at the end") }
    at += 1
    if let set = PatternClasses.escaped(scalar, inBracket: inBracket) { return set }
    switch scalar {
    case "p", "P": return try property(negated: scalar == "P")
    case "x", "u": return literal(try hexadecimal(scalar))
    case "n": return .ranges([0x0A...0x0A])
    case "t": return .ranges([0x09...0x09])
    case "r": return .ranges([0x0D...0x0D])
    case "f": return .ranges([0x0C...0x0C])
    case "v": return .ranges([0x0B...0x0B])
    case "a": return .ranges([0x07...0x07])
    case "e": return .ranges([0x1B...0x1B])
    case "b" where inBracket: return .ranges([0x08...0x08])
    case "0": return literal(octal())
    default:
      if scalar.isASCII, scalar.properties.isAlphabetic || (0x30...0x39).contains(scalar.value) {
        throw PatternFailure(message: "\"\\\(scalar)\" is not supported")
      }
      return literal(scalar.value)
    }
  }

  /// Up to two digits after `\0`.
  private mutating func octal() -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<2 {
      guard let digit = next, ("0"..."7").contains(digit) else { break }
      value = value << 3 | (digit.value - 0x30)
      at += 1
    }
    return value
  }

  private mutating func hexadecimal(_ kind: Unicode.Scalar) throws -> UInt32 {
    let braced = kind == "x" && take("{")
    var value: UInt32 = 0
    var count = 0
    let most = braced ? 8 : kind == "x" ? 2 : 4
    while count < most, let digit = next.flatMap({ Character($0).hexDigitValue }) {
      value = value << 4 | UInt32(digit)
      at += 1
      count += 1
    }
    guard count > 0, !braced || take("}"), kind == "x" || count == 4, Unicode.Scalar(value) != nil else {
      throw PatternFailure(message: "\"\\\(kind)\" without the digits of a character")
    }
    return value
  }

  private mutating func property(negated: Bool) throws -> ScalarSet {
    guard take("{") else { throw PatternFailure(message: "\"\\p\" without a name in braces") }
    let inverse = take("^")
    guard let end = scalars[at...].firstIndex(of: "}") else {
      throw PatternFailure(message: "\"\\p{\" without its '}'")
    }
    let name = String(String.UnicodeScalarView(scalars[at..<end]))
    at = end + 1
    guard let set = PatternClasses.property(name) else {
      throw PatternFailure(message: "the character property \"\(name)\" is not supported")
    }
    if ignoreCase { throw PatternFailure(message: "a character property ignoring case is not supported") }
    return negated != inverse ? .complement(set) : set
  }

  /// Reads a bracket up to and with its `]`; the `[` has been read.
  mutating func bracket(depth: Int) throws -> ScalarSet {
    if depth > 20 { throw PatternFailure(message: "brackets nested deeper than 20") }
    let negated = take("^")
    var operands: [ScalarSet] = []
    var items: [ScalarSet] = []
    var isFirst = true
    while true {
      guard let scalar = next else { throw PatternFailure(message: "a '[' without its ']'") }
      if scalar == "]", !isFirst {
        at += 1
        break
      }
      isFirst = false
      if take("&&") {
        operands.append(.union(items))
        items = []
        continue
      }
      if scalar == "[" {
        if follows("[:") {
          items.append(try posix())
        } else {
          at += 1
          items.append(try bracket(depth: depth + 1))
        }
        continue
      }
      let low = try bracketItem()
      guard next == "-", at + 1 < scalars.count, scalars[at + 1] != "]" else {
        items.append(low.set)
        continue
      }
      at += 1
      if next == "[" { throw PatternFailure(message: "a range in brackets that ends in a bracket") }
      let high = try bracketItem()
      guard let from = low.single, let to = high.single else {
        throw PatternFailure(message: "a range in brackets whose end is a class")
      }
      guard from <= to else { throw PatternFailure(message: "a range in brackets that runs backwards") }
      items.append(try range(from...to))
    }
    operands.append(.union(items))
    let set: ScalarSet = operands.count == 1 ? operands[0] : .intersection(operands)
    if negated, ignoreCase { throw PatternFailure(message: "an inverted bracket ignoring case is not supported") }
    return negated ? .complement(set) : set
  }

  private func range(_ range: ClosedRange<UInt32>) throws -> ScalarSet {
    guard ignoreCase else { return .ranges([range]) }
    guard range.count <= 256 else { throw PatternFailure(message: "a wide range ignoring case is not supported") }
    return .union(range.map(PatternClasses.folded))
  }

  private mutating func bracketItem() throws -> (set: ScalarSet, single: UInt32?) {
    guard let scalar = next else { throw PatternFailure(message: "a '[' without its ']'") }
    if scalar == "\\" {
      let saved = ignoreCase
      let set = try escape(inBracket: true)
      ignoreCase = saved
      if case .ranges(let ranges) = set, ranges.count == 1, let only = ranges.first, only.count == 1 {
        return (set, only.lowerBound)
      }
      return (set, nil)
    }
    at += 1
    return (literal(scalar.value), scalar.value)
  }

  private mutating func posix() throws -> ScalarSet {
    at += 2
    let inverse = take("^")
    let start = at
    while let scalar = next, scalar != ":", scalar != "]" { at += 1 }
    let name = String(String.UnicodeScalarView(scalars[start..<at]))
    guard take(":]"), let set = PatternClasses.posix(name) else {
      throw PatternFailure(message: "the bracket class \"[:\(name):]\" is not supported")
    }
    return inverse ? .complement(set) : set
  }
}
