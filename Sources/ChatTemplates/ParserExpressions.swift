extension Parser {
  /// An expression, or several with commas between them: a tuple.
  mutating func tuple(
    withConditional: Bool = true, end: String? = nil, mayBeEmpty: Bool = false
  ) throws -> Expression {
    let line = self.line
    var (items, isTuple) = ([Expression](), false)
    while true {
      if !items.isEmpty { try expect(symbol: ",") }
      if isTupleEnd(end) { break }
      items.append(withConditional ? try expression() : try disjunction())
      guard isSymbol(",") else { break }
      isTuple = true
    }
    if !isTuple {
      if let only = items.first { return only }
      guard mayBeEmpty else { throw unexpected("an expression") }
    }
    return try Expression(.tuple(items), items, line: line)
  }

  /// `a if b else c` and everything that binds more closely.
  mutating func expression() throws -> Expression { try nested { try $0.conditional() } }

  private mutating func conditional() throws -> Expression {
    var result = try disjunction()
    while case let line = self.line, skip(name: "if") {
      let test = try disjunction()
      let otherwise = skip(name: "else") ? try expression() : nil
      result = try Expression(
        .conditional(result, test: test, otherwise: otherwise), [result, test, otherwise], line: line)
    }
    return result
  }

  mutating func disjunction() throws -> Expression {
    var left = try conjunction()
    while case let line = self.line, skip(name: "or") {
      let right = try conjunction()
      left = try Expression(.or(left, right), [left, right], line: line)
    }
    return left
  }

  private mutating func conjunction() throws -> Expression {
    var left = try negation()
    while case let line = self.line, skip(name: "and") {
      let right = try negation()
      left = try Expression(.and(left, right), [left, right], line: line)
    }
    return left
  }

  private mutating func negation() throws -> Expression {
    let line = self.line
    guard skip(name: "not") else { return try comparison() }
    let operand = try nested { try $0.negation() }
    return try Expression(.not(operand), [operand], line: line)
  }

  private mutating func comparison() throws -> Expression {
    let line = self.line
    let first = try sum()
    var others: [(ComparisonOperator, Expression)] = []
    while true {
      if case .symbol(let symbol) = current.kind, let comparison = ComparisonOperator(rawValue: symbol) {
        advance()
        others.append((comparison, try sum()))
      } else if skip(name: "in") {
        others.append((.isIn, try sum()))
      } else if isName("not"), next.kind == .name("in") {
        advance()
        advance()
        others.append((.isNotIn, try sum()))
      } else {
        break
      }
    }
    return others.isEmpty ? first : try Expression(.comparison(first, others), [first] + others.map(\.1), line: line)
  }

  private mutating func sum() throws -> Expression {
    try chain(["+", "-"]) { try $0.concatenation() }
  }

  private mutating func concatenation() throws -> Expression {
    let line = self.line
    var parts = [try product()]
    while skip(symbol: "~") { parts.append(try product()) }
    return parts.count == 1 ? parts[0] : try Expression(.concatenation(parts), parts, line: line)
  }

  private mutating func product() throws -> Expression {
    try chain(["*", "/", "//", "%"]) { try $0.power() }
  }

  private mutating func power() throws -> Expression {
    // From the left, where Python would bind from the right.
    try chain(["**"]) { try $0.unary() }
  }

  private mutating func chain(
    _ symbols: Set<String>, _ operand: (inout Parser) throws -> Expression
  ) throws -> Expression {
    var left = try operand(&self)
    while case .symbol(let symbol) = current.kind, symbols.contains(symbol),
      let operation = BinaryOperator(rawValue: symbol)
    {
      let line = self.line
      advance()
      let right = try operand(&self)
      left = try Expression(.binary(operation, left, right), [left, right], line: line)
    }
    return left
  }

  private mutating func unary(withFilters: Bool = true) throws -> Expression {
    let line = self.line
    var node: Expression
    if skip(symbol: "-") {
      let operand = try nested { try $0.unary(withFilters: false) }
      node = try Expression(.negative(operand), [operand], line: line)
    } else if skip(symbol: "+") {
      let operand = try nested { try $0.unary(withFilters: false) }
      node = try Expression(.positive(operand), [operand], line: line)
    } else {
      node = try primary()
    }
    node = try postfix(node)
    return withFilters ? try filterChain(node) : node
  }

  mutating func primary() throws -> Expression {
    let line = self.line
    func constant(_ value: Value) throws -> Expression { try Expression(.constant(value), [], line: line) }
    switch current.kind {
    case .name(let name):
      advance()
      switch name {
      case "true", "True": return try constant(.bool(true))
      case "false", "False": return try constant(.bool(false))
      case "none", "None": return try constant(.none)
      default: return try Expression(.name(Name(name)), [], line: line)
      }
    case .string(let text):
      advance()
      guard case .string = current.kind else { return try constant(.text(text)) }
      var bytes = text.utf8
      while case .string(let more) = current.kind {
        bytes += more.utf8
        advance()
      }
      return try constant(.text(Text(bytes)))
    case .integer(let value):
      advance()
      return try constant(.integer(value))
    case .float(let value):
      advance()
      return try constant(.float(value))
    case .symbol("("):
      advance()
      let inner = try nested { try $0.tuple(mayBeEmpty: true) }
      try expect(symbol: ")")
      return inner
    case .symbol("["):
      let items = try entries("]") { try $0.expression() }
      return try Expression(.list(items), items, line: line)
    case .symbol("{"):
      let items = try entries("}") { parser in
        let key = try parser.expression()
        try parser.expect(symbol: ":")
        return (key: key, value: try parser.expression())
      }
      return try Expression(.dict(items), items.flatMap { [$0.key, $0.value] }, line: line)
    default: throw error("unexpected \(description)")
    }
  }

  private mutating func entries<Entry>(
    _ close: String, _ entry: (inout Parser) throws -> Entry
  ) throws -> [Entry] {
    advance()
    var entries: [Entry] = []
    while !isSymbol(close) {
      if !entries.isEmpty { try expect(symbol: ",") }
      if isSymbol(close) { break }
      entries.append(try entry(&self))
    }
    try expect(symbol: close)
    return entries
  }
}
