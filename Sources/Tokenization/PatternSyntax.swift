/// A set of scalars as a pattern spells it.
indirect enum ScalarSet: Sendable {
  case classes(ClassMask)
  case ranges([ClosedRange<UInt32>])
  case union([ScalarSet])
  case intersection([ScalarSet])
  case complement(ScalarSet)

  func contains(_ value: UInt32, bits: ClassMask) -> Bool {
    switch self {
    case .classes(let mask): bits & mask != 0
    case .ranges(let ranges): ranges.contains { $0.contains(value) }
    case .union(let sets): sets.contains { $0.contains(value, bits: bits) }
    case .intersection(let sets): sets.allSatisfy { $0.contains(value, bits: bits) }
    case .complement(let set): !set.contains(value, bits: bits)
    }
  }
}

/// What a pattern means.
indirect enum PatternNode {
  enum Greed { case greedy, lazy, possessive }
  enum Anchor { case textStart, textEnd, textEndOrLastLine, lineStart, lineEnd, wordBoundary, notWordBoundary, searchStart }

  case empty
  case set(ScalarSet)
  case sequence([PatternNode])
  case alternatives([PatternNode])
  case repeated(PatternNode, min: Int, max: Int?, Greed)
  case atomic(PatternNode)
  case look(PatternNode, ahead: Bool, negative: Bool)
  case anchor(Anchor)

  /// Lengths in scalars this can match; nil as maximum when there is none.
  var width: (min: Int, max: Int?) {
    switch self {
    case .empty, .look, .anchor: return (0, 0)
    case .set: return (1, 1)
    case .sequence(let parts):
      return parts.reduce((0, 0)) { sum, part in
        let width = part.width
        let max: Int? = if let a = sum.1, let b = width.max { a + b } else { nil }
        return (sum.0 + width.min, max)
      }
    case .alternatives(let parts):
      let widths = parts.map(\.width)
      let unbounded = widths.contains { $0.max == nil }
      return (widths.map(\.min).min() ?? 0, unbounded ? nil : widths.compactMap(\.max).max() ?? 0)
    case .repeated(let part, let min, let max, _):
      let width = part.width
      let low = width.min.multipliedReportingOverflow(by: min).partialValue
      guard let most = width.max, let max else { return (low, nil) }
      return (low, most.multipliedReportingOverflow(by: max).partialValue)
    case .atomic(let part): return part.width
    }
  }
}

/// Reads the regular expressions of tokenizer files: Oniguruma's syntax, which is what the oracle runs them with.
/// In it `^` and `$` are those of lines, `(?m)` lets the dot match a newline, `\h` is a hexadecimal digit.
/// Anything not understood exactly is refused with its name.
struct PatternParser {
  private let scalars: [Unicode.Scalar]
  private var at = 0
  private var ignoreCase = false
  private var dotAll = false
  private var extended = false
  private var depth = 0

  struct Failure: Error { let message: String }

  static func parse(_ pattern: String) throws -> PatternNode {
    var parser = PatternParser(scalars: Array(pattern.unicodeScalars))
    let node = try parser.alternatives()
    if parser.at < parser.scalars.count { throw Failure(message: "an unmatched ')'") }
    return node
  }

  private init(scalars: [Unicode.Scalar]) { self.scalars = scalars }

  private var next: Unicode.Scalar? { at < scalars.count ? scalars[at] : nil }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    at += 1
    return true
  }

  private func follows(_ text: String) -> Bool {
    let wanted = Array(text.unicodeScalars)
    return at + wanted.count <= scalars.count && scalars[at..<at + wanted.count].elementsEqual(wanted)
  }

  private mutating func take(_ text: String) -> Bool {
    guard follows(text) else { return false }
    at += text.unicodeScalars.count
    return true
  }

  private mutating func alternatives() throws -> PatternNode {
    depth += 1
    defer { depth -= 1 }
    if depth > 100 { throw Failure(message: "groups nested deeper than 100") }
    var parts = [try sequence()]
    while take("|") { parts.append(try sequence()) }
    return parts.count == 1 ? parts[0] : .alternatives(parts)
  }

  private mutating func sequence() throws -> PatternNode {
    var parts: [PatternNode] = []
    var literals: [UInt32] = []
    while let scalar = next, scalar != "|", scalar != ")" {
      if extended, scalar.properties.isPatternWhitespace {
        at += 1
        continue
      }
      // An option without a group, (?i), holds to the end of the enclosing group.
      if scalar == "(", try option() {
        let rest = try alternatives()
        parts.append(rest)
        break
      }
      let start = at
      let atom = try atom()
      if ignoreCase, at == start + 1 { literals.append(scalar.value) } else { literals = [] }
      try refuseFolding(literals)
      parts.append(try quantified(atom))
    }
    return parts.count == 1 ? parts[0] : parts.isEmpty ? .empty : .sequence(parts)
  }

  /// Oniguruma lets one scalar match several when ignoring case ("ss" and U+00DF); refused rather than differing.
  private func refuseFolding(_ literals: [UInt32]) throws {
    guard literals.count > 1 else { return }
    let pair = literals.suffix(2).compactMap(Unicode.Scalar.init).map { $0.properties.lowercaseMapping }.joined()
    if ["ss", "st", "ff", "fi", "fl"].contains(pair) {
      throw Failure(message: "\"\(pair)\" ignoring case (ligatures would match it) is not supported")
    }
  }

  /// Reads `(?i)`, `(?-i)` and the like; false when something else stands here.
  private mutating func option() throws -> Bool {
    let start = at
    guard take("(?") else { return false }
    let saved = (ignoreCase, dotAll, extended)
    if try flags(), take(")") { return true }
    at = start
    (ignoreCase, dotAll, extended) = saved
    return false
  }

  private mutating func flags() throws -> Bool {
    var on = true
    var any = false
    while let scalar = next {
      switch scalar {
      case "-": on = false
      case "i": ignoreCase = on
      case "m": dotAll = on
      case "x": extended = on
      default: return any
      }
      any = true
      at += 1
    }
    return any
  }

  private mutating func quantified(_ atom: PatternNode) throws -> PatternNode {
    var node = atom
    while let scalar = next {
      var bounds: (Int, Int?)
      var interval = false
      switch scalar {
      case "?": bounds = (0, 1)
      case "*": bounds = (0, nil)
      case "+": bounds = (1, nil)
      case "{":
        guard let read = try braces() else { return node }
        bounds = read
        interval = true
      default: return node
      }
      if !interval { at += 1 }
      var greed = PatternNode.Greed.greedy
      if interval {
        // {n}? and {n,m}+ are two quantifiers in Oniguruma's own syntax; {n,m}? is a lazy one.
        if bounds.0 != bounds.1, take("?") { greed = .lazy }
      } else if take("?") {
        greed = .lazy
      } else if take("+") {
        greed = .possessive
      }
      if bounds.1 != 0, node.width.min == 0, bounds.1 ?? 2 > 1 {
        throw Failure(message: "a repeated group that can match nothing is not supported")
      }
      node = .repeated(node, min: bounds.0, max: bounds.1, greed)
    }
    return node
  }

  /// `{n}`, `{n,}`, `{n,m}`, `{,m}`; nil when the brace is an ordinary character.
  private mutating func braces() throws -> (Int, Int?)? {
    let start = at
    at += 1
    let low = digits()
    var high = low
    if take(",") { high = digits() } else if low == nil { high = nil }
    let comma = scalars[start..<at].contains(",")
    guard take("}"), low != nil || (comma && high != nil) else {
      at = start
      return nil
    }
    let bounds = (low ?? 0, comma ? high : low)
    if bounds.0 > 1000 || bounds.1 ?? 0 > 1000 { throw Failure(message: "a repetition over 1000") }
    if let high = bounds.1, high < bounds.0 { throw Failure(message: "a repetition from more to fewer") }
    return bounds
  }

  private mutating func digits() -> Int? {
    var value: Int?
    while let scalar = next, (0x30...0x39).contains(scalar.value), value ?? 0 < 100_000 {
      value = (value ?? 0) * 10 + Int(scalar.value - 0x30)
      at += 1
    }
    return value
  }

  private mutating func atom() throws -> PatternNode {
    guard let scalar = next else { return .empty }
    switch scalar {
    case "(": return try group()
    case "[":
      at += 1
      return .set(try bracket(depth: 0))
    case ".":
      at += 1
      return .set(.complement(.ranges(dotAll ? [] : [0x0A...0x0A])))
    case "^":
      at += 1
      return .anchor(.lineStart)
    case "$":
      at += 1
      return .anchor(.lineEnd)
    case "*", "+", "?": throw Failure(message: "a '\(scalar)' with nothing to repeat")
    case "\\":
      if let anchor = try anchorEscape() { return anchor }
      return .set(try escape(inBracket: false))
    default:
      at += 1
      return .set(literal(scalar.value))
    }
  }

  private mutating func anchorEscape() throws -> PatternNode? {
    guard at + 1 < scalars.count else { throw Failure(message: "a backslash at the end") }
    let anchor: PatternNode
    switch scalars[at + 1] {
    case "A": anchor = .anchor(.textStart)
    case "z": anchor = .anchor(.textEnd)
    case "Z": anchor = .anchor(.textEndOrLastLine)
    case "b": anchor = .anchor(.wordBoundary)
    case "B": anchor = .anchor(.notWordBoundary)
    case "G": anchor = .anchor(.searchStart)
    case "R":
      let newlines: ScalarSet = .ranges([0x0A...0x0D, 0x85...0x85, 0x2028...0x2029])
      let crlf: PatternNode = .sequence([.set(.ranges([0x0D...0x0D])), .set(.ranges([0x0A...0x0A]))])
      anchor = .atomic(.alternatives([crlf, .set(newlines)]))
    default: return nil
    }
    at += 2
    return anchor
  }

  private mutating func group() throws -> PatternNode {
    at += 1
    let saved = (ignoreCase, dotAll, extended)
    defer { (ignoreCase, dotAll, extended) = saved }
    func close(_ parser: inout PatternParser, _ node: PatternNode) throws -> PatternNode {
      guard parser.take(")") else { throw Failure(message: "a '(' without its ')'") }
      return node
    }
    guard take("?") else { return try close(&self, try alternatives()) }
    if take(":") { return try close(&self, try alternatives()) }
    if take(">") { return try close(&self, .atomic(try alternatives())) }
    for (spelling, ahead, negative) in [("=", true, false), ("!", true, true), ("<=", false, false), ("<!", false, true)]
    where take(spelling) {
      let node = try alternatives()
      if !ahead { try checkLookbehind(node) }
      return try close(&self, .look(node, ahead: ahead, negative: negative))
    }
    if take("#") {
      while let scalar = next, scalar != ")" { if scalar == "\\" { at += 2 } else { at += 1 } }
      return try close(&self, .empty)
    }
    if next == "<", let end = scalars[at...].firstIndex(of: ">") {
      at = end + 1
      return try close(&self, try alternatives())
    }
    if try flags(), take(":") { return try close(&self, try alternatives()) }
    throw Failure(message: "a group that starts with \"(?\(next.map(String.init) ?? "")\" is not supported")
  }

  private func checkLookbehind(_ node: PatternNode) throws {
    let parts = if case .alternatives(let parts) = node { parts } else { [node] }
    for part in parts where part.width.max != part.width.min || part.width.min > 255 {
      throw Failure(message: "a look-behind of varying length")
    }
  }

  private func literal(_ value: UInt32) -> ScalarSet { ignoreCase ? PatternClasses.folded(value) : .ranges([value...value]) }

  // MARK: Escapes and brackets

  private mutating func escape(inBracket: Bool) throws -> ScalarSet {
    at += 1
    guard let scalar = next else { throw Failure(message: "a backslash at the end") }
    at += 1
    if let set = PatternClasses.escaped(scalar) { return set }
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
    case "0": return .ranges([0...0])
    default:
      if scalar.isASCII, scalar.properties.isAlphabetic || (0x30...0x39).contains(scalar.value) {
        throw Failure(message: "\"\\\(scalar)\" is not supported")
      }
      return literal(scalar.value)
    }
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
      throw Failure(message: "\"\\\(kind)\" without the digits of a character")
    }
    return value
  }

  private mutating func property(negated: Bool) throws -> ScalarSet {
    guard take("{") else { throw Failure(message: "\"\\p\" without a name in braces") }
    let inverse = take("^")
    guard let end = scalars[at...].firstIndex(of: "}") else { throw Failure(message: "\"\\p{\" without its '}'") }
    let name = String(String.UnicodeScalarView(scalars[at..<end]))
    at = end + 1
    guard let set = PatternClasses.property(name) else {
      throw Failure(message: "the character property \"\(name)\" is not supported")
    }
    if ignoreCase { throw Failure(message: "a character property ignoring case is not supported") }
    return negated != inverse ? .complement(set) : set
  }

  /// Reads a bracket up to and with its `]`; the `[` is behind us.
  private mutating func bracket(depth: Int) throws -> ScalarSet {
    if depth > 20 { throw Failure(message: "brackets nested deeper than 20") }
    let negated = take("^")
    var operands: [ScalarSet] = []
    var items: [ScalarSet] = []
    var isFirst = true
    while true {
      guard let scalar = next else { throw Failure(message: "a '[' without its ']'") }
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
      if next == "[" { throw Failure(message: "a range in brackets that ends in a bracket") }
      let high = try bracketItem()
      guard let from = low.single, let to = high.single else {
        throw Failure(message: "a range in brackets whose end is a class")
      }
      guard from <= to else { throw Failure(message: "a range in brackets that runs backwards") }
      items.append(try range(from...to))
    }
    operands.append(.union(items))
    let set: ScalarSet = operands.count == 1 ? operands[0] : .intersection(operands)
    if negated, ignoreCase { throw Failure(message: "an inverted bracket ignoring case is not supported") }
    return negated ? .complement(set) : set
  }

  private func range(_ range: ClosedRange<UInt32>) throws -> ScalarSet {
    guard ignoreCase else { return .ranges([range]) }
    guard range.count <= 256 else { throw Failure(message: "a wide range ignoring case is not supported") }
    return .union(range.map(PatternClasses.folded))
  }

  private mutating func bracketItem() throws -> (set: ScalarSet, single: UInt32?) {
    guard let scalar = next else { throw Failure(message: "a '[' without its ']'") }
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
    while let scalar = next, scalar != ":" { at += 1; if at - start > 10 || scalar == "]" { break } }
    let name = String(String.UnicodeScalarView(scalars[start..<at]))
    guard take(":]"), let set = PatternClasses.posix(name) else {
      throw Failure(message: "the bracket class \"[:\(name):]\" is not supported")
    }
    return inverse ? .complement(set) : set
  }
}
