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

  private mutating func primary() throws -> Expression {
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

  // MARK: What comes after a value

  private mutating func postfix(_ start: Expression) throws -> Expression {
    var node = start
    while true {
      if isSymbol(".") || isSymbol("[") {
        node = try subscripted(node)
      } else if isSymbol("(") {
        node = try call(node)
      } else {
        return node
      }
    }
  }

  private mutating func filterChain(_ start: Expression) throws -> Expression {
    var node = start
    while true {
      if isSymbol("|") {
        node = try filters(node)
      } else if isName("is") {
        node = try test(node)
      } else if isSymbol("(") {
        node = try call(node)
      } else {
        return node
      }
    }
  }

  private mutating func subscripted(_ node: Expression) throws -> Expression {
    let line = self.line
    if skip(symbol: ".") {
      switch current.kind {
      case .name(let name):
        advance()
        return try Expression(.attribute(node, Text(name)), [node], line: line)
      case .integer(let value):
        advance()
        let index = try Expression(.constant(.integer(value)), [], line: line)
        return try Expression(.item(node, index), [node, index], line: line)
      default: throw unexpected("a name or a number after '.'")
      }
    }
    advance()
    var indices: [Expression] = []
    while !isSymbol("]") {
      if !indices.isEmpty { try expect(symbol: ",") }
      indices.append(try nested { try $0.index() })
    }
    try expect(symbol: "]")
    if indices.count == 1 { return try Expression(.item(node, indices[0]), [node, indices[0]], line: line) }
    for case .slice in indices.map(\.kind) { throw error("a slice among several indices", line: line) }
    let index = try Expression(.tuple(indices), indices, line: line)
    return try Expression(.item(node, index), [node, index], line: line)
  }

  private mutating func index() throws -> Expression {
    let line = self.line
    var (start, stop, step): (Expression?, Expression?, Expression?)
    if !isSymbol(":") {
      let first = try expression()
      guard isSymbol(":") else { return first }
      start = first
    }
    try expect(symbol: ":")
    if !isSymbol(":"), !isSymbol("]"), !isSymbol(",") { stop = try expression() }
    if skip(symbol: ":"), !isSymbol("]"), !isSymbol(",") { step = try expression() }
    return try Expression(.slice(start, stop, step), [start, stop, step], line: line)
  }

  private mutating func call(_ node: Expression) throws -> Expression {
    let line = self.line
    let arguments = try arguments()
    return try Expression(.call(node, arguments), [node] + arguments.all, line: line)
  }

  private mutating func arguments() throws -> CallArguments {
    let line = self.line
    var arguments = CallArguments()
    func ensure(_ condition: Bool) throws {
      if !condition { throw error("invalid order of arguments in a call", line: line) }
    }
    try expect(symbol: "(")
    var isFirst = true
    while !isSymbol(")") {
      if !isFirst {
        try expect(symbol: ",")
        if isSymbol(")") { break }
      }
      isFirst = false
      if skip(symbol: "*") {
        try ensure(arguments.list == nil && arguments.dict == nil)
        arguments.list = try expression()
      } else if skip(symbol: "**") {
        try ensure(arguments.dict == nil)
        arguments.dict = try expression()
      } else if case .name(let name) = current.kind, next.kind == .symbol("=") {
        try ensure(arguments.dict == nil)
        guard !arguments.named.contains(where: { $0.name == Text(name) }) else {
          throw error("the argument '\(name)' stands there twice")
        }
        advance()
        advance()
        arguments.named.append((Text(name), try expression()))
      } else {
        try ensure(arguments.list == nil && arguments.dict == nil && arguments.named.isEmpty)
        arguments.positional.append(try expression())
      }
    }
    try expect(symbol: ")")
    return arguments
  }

  private mutating func dottedName() throws -> String {
    var name = try expectName()
    while skip(symbol: ".") { name += "." + (try expectName()) }
    return name
  }

  /// Filters on a value, or on what a block holds (nil). With `isInline` the first has no `|` before it.
  mutating func filters(_ start: Expression?, isInline: Bool = false) throws -> Expression {
    var (node, isInline) = (start, isInline)
    while isInline || isSymbol("|") {
      if !isInline { advance() }
      isInline = false
      let line = self.line
      let name = try dottedName()
      let arguments = isSymbol("(") ? try arguments() : .none
      node = try Expression(
        .filter(node, Application(name, arguments, Filters.all[name])), [node] + arguments.all, line: line)
    }
    guard let node else { throw unexpected("a filter") }
    return node
  }

  private mutating func test(_ node: Expression) throws -> Expression {
    let line = self.line
    advance()
    let isNegated = skip(name: "not")
    let name = try dottedName()
    var arguments = CallArguments.none
    if isSymbol("(") {
      arguments = try self.arguments()
    } else if startsOperand {
      guard !isName("is") else { throw error("tests cannot be chained with 'is'") }
      arguments.positional = [try postfix(try primary())]
    }
    let test = try Expression(
      .test(node, Application(name, arguments, Tests.all[name])), [node] + arguments.all, line: line)
    return isNegated ? try Expression(.not(test), [test], line: line) : test
  }

  private var startsOperand: Bool {
    switch current.kind {
    case .name(let name): name != "else" && name != "or" && name != "and"
    case .string, .integer, .float, .symbol("("), .symbol("["), .symbol("{"): true
    default: false
    }
  }
}
