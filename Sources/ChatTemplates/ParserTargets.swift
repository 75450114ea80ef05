/// What values are given to.
extension Parser {
  private static let constants: Set<String> = ["true", "false", "none", "True", "False", "None"]

  mutating func expectAssignable() throws -> String {
    let line = self.line
    let name = try expectName()
    guard !Self.constants.contains(name) else { throw error("cannot assign to '\(name)'", line: line) }
    return name
  }

  /// One target, or several with commas between them.
  mutating func target(withNamespace: Bool = false, end: String? = nil) throws -> Target {
    try nested { parser in
      var (targets, isTuple) = ([Target](), false)
      while true {
        if !targets.isEmpty { try parser.expect(symbol: ",") }
        if parser.isTupleEnd(end) { break }
        targets.append(try parser.singleTarget(withNamespace))
        guard parser.isSymbol(",") else { break }
        isTuple = true
      }
      if isTuple { return .tuple(targets) }
      guard let only = targets.first else { throw parser.unexpected("a name to assign to") }
      return only
    }
  }

  private mutating func singleTarget(_ withNamespace: Bool) throws -> Target {
    if skip(symbol: "(") {
      // In parentheses jinja parses an expression, of which only names and tuples can be assigned to.
      let inner = try parenthesizedTargets()
      try expect(symbol: ")")
      return inner
    }
    let line = self.line
    let name = try expectAssignable()
    if withNamespace, skip(symbol: ".") { return .attribute(of: Name(name), Text(try expectName())) }
    return .name(name, line: line)
  }

  private mutating func parenthesizedTargets() throws -> Target {
    try nested { parser in
      var (targets, isTuple) = ([Target](), false)
      while true {
        if !targets.isEmpty { try parser.expect(symbol: ",") }
        if parser.isTupleEnd(nil) { break }
        targets.append(try parser.singleTarget(false))
        guard parser.isSymbol(",") else { break }
        isTuple = true
      }
      if !isTuple, let only = targets.first { return only }
      return .tuple(targets)
    }
  }

  func isTupleEnd(_ end: String?) -> Bool {
    switch current.kind {
    case .variableEnd, .blockEnd, .symbol(")"): true
    case .name(let name): name == end
    default: false
    }
  }
}
