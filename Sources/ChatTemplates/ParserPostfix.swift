/// What comes after a value: subscripts, calls, filters, tests.
extension Parser {
  mutating func postfix(_ start: Expression) throws -> Expression {
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

  mutating func filterChain(_ start: Expression) throws -> Expression {
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
