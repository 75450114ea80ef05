/// Reads the regular expressions of tokenizer files: Oniguruma's syntax, which is what the oracle runs them with.
/// In it `^` and `$` are those of lines, `(?m)` lets the dot match a newline, `\h` is a hexadecimal digit.
/// Anything not understood exactly is refused with its name.
struct PatternParser {
  let scalars: [Unicode.Scalar]
  var at = 0
  var ignoreCase = false
  private var dotAll = false
  private var extended = false
  private var depth = 0

  /// Published patterns have at most some thousand characters.
  private static let maximumLength = 1 << 16

  static func parse(_ pattern: String) throws -> PatternNode {
    let scalars = Array(pattern.unicodeScalars)
    guard scalars.count <= maximumLength else { throw PatternFailure(message: "the pattern is too large") }
    var parser = PatternParser(scalars: scalars)
    let node = try parser.alternatives()
    if parser.at < parser.scalars.count { throw PatternFailure(message: "an unmatched ')'") }
    return node
  }

  private init(scalars: [Unicode.Scalar]) { self.scalars = scalars }

  var next: Unicode.Scalar? { at < scalars.count ? scalars[at] : nil }

  mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next == scalar else { return false }
    at += 1
    return true
  }

  func follows(_ text: String) -> Bool {
    let wanted = Array(text.unicodeScalars)
    return at + wanted.count <= scalars.count && scalars[at..<at + wanted.count].elementsEqual(wanted)
  }

  mutating func take(_ text: String) -> Bool {
    guard follows(text) else { return false }
    at += text.unicodeScalars.count
    return true
  }

  private mutating func alternatives() throws -> PatternNode {
    depth += 1
    defer { depth -= 1 }
    if depth > 100 { throw PatternFailure(message: "groups nested deeper than 100") }
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
    // So are letters whose capital is several characters, and the iotas, which equal marks as well.
    if let last = literals.last.flatMap(Unicode.Scalar.init), !last.isASCII,
      last.properties.uppercaseMapping.unicodeScalars.count > 1
        || "\u{1E9E}ιΙ\u{345}\u{1FBE}".unicodeScalars.contains(last)
    {
      throw PatternFailure(message: "\"\(last)\" ignoring case is not supported")
    }
    guard literals.count > 1 else { return }
    let pair = literals.suffix(2).compactMap(Unicode.Scalar.init).map { $0.properties.lowercaseMapping }.joined()
    if ["ss", "st", "ff", "fi", "fl"].contains(pair) {
      throw PatternFailure(message: "\"\(pair)\" ignoring case (ligatures would match it) is not supported")
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
        throw PatternFailure(message: "a repeated group that can match nothing is not supported")
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
    if bounds.0 > 1000 || bounds.1 ?? 0 > 1000 { throw PatternFailure(message: "a repetition over 1000") }
    if let high = bounds.1, high < bounds.0 { throw PatternFailure(message: "a repetition from more to fewer") }
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
    case "*", "+", "?": throw PatternFailure(message: "a '\(scalar)' with nothing to repeat")
    case "\\":
      if let anchor = try anchorEscape() { return anchor }
      return .set(try escape(inBracket: false))
    default:
      at += 1
      return .set(literal(scalar.value))
    }
  }

  private mutating func anchorEscape() throws -> PatternNode? {
    guard at + 1 < scalars.count else { throw PatternFailure(message: "a backslash at the end") }
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
      guard parser.take(")") else { throw PatternFailure(message: "a '(' without its ')'") }
      return node
    }
    guard take("?") else { return try close(&self, try alternatives()) }
    if take(":") { return try close(&self, try alternatives()) }
    if take(">") { return try close(&self, .atomic(try alternatives())) }
    for (spelling, ahead, negative) in [
      ("=", true, false), ("!", true, true), ("<=", false, false), ("<!", false, true),
    ]
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
    throw PatternFailure(message: "a group that starts with \"(?\(next.map(String.init) ?? "")\" is not supported")
  }

  private func checkLookbehind(_ node: PatternNode) throws {
    let parts = if case .alternatives(let parts) = node { parts } else { [node] }
    for part in parts where part.width.max != part.width.min || part.width.min > 255 {
      throw PatternFailure(message: "a look-behind of varying length")
    }
  }

  func literal(_ value: UInt32) -> ScalarSet {
    ignoreCase ? PatternClasses.folded(value) : .ranges([value...value])
  }
}
