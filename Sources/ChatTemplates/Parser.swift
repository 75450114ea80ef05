/// Makes statements of tokens, as jinja's parser does.
///
/// Source: `jinja2/parser.py` of Jinja 3.1.6 for the grammar.
struct Parser {
  let tokens: [Token]
  var at = 0
  /// Statements in statements, expressions in expressions: each takes some of the stack.
  private var level = 0
  private var openTags: [String] = []
  static let maximumLevel = 100

  init(_ tokens: [Token]) { self.tokens = tokens }

  /// - Throws: `TemplateError`, syntax or budget.
  static func parse(_ source: [UInt8]) throws -> [Statement] {
    var parser = Parser(try Lexer.tokens(source))
    return try parser.statements(until: [])
  }

  // MARK: Tokens

  var current: Token { tokens[min(at, tokens.count - 1)] }
  var next: Token { tokens[min(at + 1, tokens.count - 1)] }
  var line: Int { current.line }

  func error(_ message: String, line: Int? = nil) -> TemplateError {
    TemplateError(.syntax, message, line: line ?? self.line)
  }

  mutating func advance() { if at < tokens.count - 1 { at += 1 } }

  func isName(_ name: String) -> Bool { current.kind == .name(name) }
  func isSymbol(_ symbol: String) -> Bool { current.kind == .symbol(symbol) }

  mutating func skip(name: String) -> Bool {
    guard isName(name) else { return false }
    advance()
    return true
  }

  mutating func skip(symbol: String) -> Bool {
    guard isSymbol(symbol) else { return false }
    advance()
    return true
  }

  mutating func expect(symbol: String) throws {
    guard skip(symbol: symbol) else { throw unexpected("'\(symbol)'") }
  }

  mutating func expectName() throws -> String {
    guard case .name(let name) = current.kind else { throw unexpected("a name") }
    advance()
    return name
  }

  mutating func expect(_ kind: Token.Kind, _ description: String) throws {
    guard current.kind == kind else { throw unexpected(description) }
    advance()
  }

  func unexpected(_ expected: String) -> TemplateError { error("expected \(expected), found \(description)") }

  /// The current token for messages.
  var description: String {
    switch current.kind {
    case .data: "text"
    case .blockBegin: "'{%'"
    case .blockEnd: "'%}'"
    case .variableBegin: "'{{'"
    case .variableEnd: "'}}'"
    case .name(let name): "'\(name)'"
    case .string: "a string"
    case .integer, .float: "a number"
    case .symbol(let symbol): "'\(symbol)'"
    case .end: "the end of the template"
    }
  }

  mutating func nested<Result>(_ body: (inout Parser) throws -> Result) throws -> Result {
    level += 1
    defer { level -= 1 }
    guard level <= Self.maximumLevel else { throw error("nested deeper than \(Self.maximumLevel) levels") }
    return try body(&self)
  }

  // MARK: Statements

  /// Statements up to one of the tags in `end`, which is the current token then.
  mutating func statements(until end: Set<String>) throws -> [Statement] {
    try nested { try $0.unguardedStatements(until: end) }
  }

  private mutating func unguardedStatements(until end: Set<String>) throws -> [Statement] {
    var (body, pieces, piecesLine) = ([Statement](), [Statement.Piece](), line)
    func flush() {
      if !pieces.isEmpty { body.append(Statement(.output(pieces), line: piecesLine)) }
      pieces = []
    }
    while true {
      if pieces.isEmpty { piecesLine = line }
      switch current.kind {
      case .data(let text):
        pieces.append(.data(text))
        advance()
      case .variableBegin:
        advance()
        pieces.append(.expression(try tuple()))
        try expect(.variableEnd, "'}}'")
      case .blockBegin:
        flush()
        advance()
        if case .name(let name) = current.kind, end.contains(name) { return body }
        body.append(try statement())
        try expect(.blockEnd, "'%}'")
      case .end:
        flush()
        guard end.isEmpty else {
          let tag = openTags.last.map { " of '\($0)'" } ?? ""
          throw error("the template ends before the end\(tag): expected \(end.sorted().joined(separator: " or "))")
        }
        return body
      default: throw unexpected("text or a tag")
      }
    }
  }

  /// The body of a tag and the name of the tag after it, which is passed.
  private mutating func body(until end: Set<String>) throws -> (body: [Statement], end: String) {
    _ = skip(symbol: ":")
    try expect(.blockEnd, "'%}'")
    let body = try statements(until: end)
    return (body, try expectName())
  }

  private mutating func statement() throws -> Statement {
    let line = self.line
    guard case .name(let tag) = current.kind else { throw unexpected("the name of a tag") }
    openTags.append(tag)
    defer { openTags.removeLast() }
    advance()
    switch tag {
    case "for": return Statement(.loop(try forLoop()), line: line)
    case "if": return try condition(line)
    case "set": return Statement(.assignment(try assignment()), line: line)
    case "macro":
      let name = try expectAssignable()
      return Statement(.macro(try macro(name, end: "endmacro")), line: line)
    case "call":
      let signature = isSymbol("(") ? try signature() : ([], [])
      let call = try expression()
      guard case .call = call.kind else { throw error("expected a call", line: line) }
      let body = try body(until: ["endcall"]).body
      return Statement(.callBlock(MacroDefinition(nil, signature.0, signature.1, body), call), line: line)
    case "generation":
      return Statement(.generation(MacroDefinition(nil, [], [], try body(until: ["endgeneration"]).body)), line: line)
    case "filter":
      let filter = try filters(nil, isInline: true)
      return Statement(.filterBlock(FilterBlock(filter, try body(until: ["endfilter"]).body)), line: line)
    case "with": return Statement(.with(try with()), line: line)
    case "print":
      var pieces: [Statement.Piece] = []
      while current.kind != .blockEnd {
        if !pieces.isEmpty { try expect(symbol: ",") }
        pieces.append(.expression(try expression()))
      }
      return Statement(.output(pieces), line: line)
    case "break": return Statement(.leave(.leavesLoop), line: line)
    case "continue": return Statement(.leave(.nextRound), line: line)
    case "include", "import", "from", "extends":
      while current.kind != .blockEnd {
        guard current.kind != .end else { throw unexpected("'%}'") }
        advance()
      }
      return Statement(.refusal("'\(tag)' would need other templates, and a chat template has none"), line: line)
    case "block", "autoescape":
      throw error("the tag '\(tag)' is not supported: chat templates have no use for it", line: line)
    default:
      throw error("unknown tag '\(tag)'\(openTags.dropLast().last.map { " in '\($0)'" } ?? "")", line: line)
    }
  }

  private mutating func forLoop() throws -> ForLoop {
    let target = try target(end: "in")
    guard skip(name: "in") else { throw unexpected("'in'") }
    let iterable = try tuple(withConditional: false, end: "recursive")
    let test = skip(name: "if") ? try expression() : nil
    let isRecursive = skip(name: "recursive")
    var (body, end) = try body(until: ["endfor", "else"])
    var otherwise: [Statement] = []
    if end == "else" { (otherwise, end) = try self.body(until: ["endfor"]) }
    return ForLoop(target, iterable, test: test, isRecursive: isRecursive, body: body, otherwise: otherwise)
  }

  private mutating func condition(_ line: Int) throws -> Statement {
    var branches: [(test: Expression, body: [Statement])] = []
    while true {
      let test = try tuple(withConditional: false)
      let (body, end) = try body(until: ["elif", "else", "endif"])
      branches.append((test, body))
      if end == "elif" { continue }
      let otherwise = end == "else" ? try self.body(until: ["endif"]).body : []
      return Statement(.condition(branches, otherwise: otherwise), line: line)
    }
  }

  private mutating func assignment() throws -> Assignment {
    let target = try target(withNamespace: true)
    if skip(symbol: "=") { return Assignment(target, .expression(try tuple())) }
    let filter = isSymbol("|") ? try filters(nil) : nil
    return Assignment(target, .block(try body(until: ["endset"]).body, filter: filter))
  }

  private mutating func with() throws -> With {
    var (targets, values) = ([Target](), [Expression]())
    while current.kind != .blockEnd {
      if !targets.isEmpty { try expect(symbol: ",") }
      targets.append(try target())
      try expect(symbol: "=")
      values.append(try expression())
    }
    return With(targets, values, try body(until: ["endwith"]).body)
  }

  private mutating func macro(_ name: String, end: String) throws -> MacroDefinition {
    let (parameters, defaults) = try signature()
    return MacroDefinition(name, parameters, defaults, try body(until: [end]).body)
  }

  private mutating func signature() throws -> ([(name: String, line: Int)], [Expression]) {
    var (parameters, defaults) = ([(name: String, line: Int)](), [Expression]())
    try expect(symbol: "(")
    while !isSymbol(")") {
      if !parameters.isEmpty { try expect(symbol: ",") }
      let line = self.line
      let name = try expectAssignable()
      guard !parameters.contains(where: { $0.name == name }) else {
        throw error("the parameter '\(name)' stands there twice", line: line)
      }
      if skip(symbol: "=") {
        defaults.append(try expression())
      } else if !defaults.isEmpty {
        throw error("a parameter without a default after one that has it")
      }
      parameters.append((name, line))
    }
    try expect(symbol: ")")
    return (parameters, defaults)
  }
}
