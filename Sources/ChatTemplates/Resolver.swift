/// Finds out for every name of a template which variable it is, as jinja's compiler does, and refuses what Python would
/// not compile.
///
/// Source: `jinja2/compiler.py` of Jinja 3.1.6.
struct Resolver {
  /// Where in the code a statement stands.
  private struct Frame {
    var symbols: Symbols
    var function: FunctionScope
    /// In a branch: unknown filters are an error only once they are used.
    var isSoft = false
    /// Whether a loop of this function is around.
    var isInLoop = false
    /// Loops around it in this function: Python compiles twenty, not more.
    var loops = 0

    func inner(_ function: FunctionScope? = nil) -> Frame {
      Frame(
        symbols: Symbols(parent: symbols, function: function ?? self.function), function: function ?? self.function,
        isInLoop: function == nil && isInLoop, loops: function == nil ? loops : 0)
    }

    func soft() -> Frame {
      var frame = self
      frame.isSoft = true
      return frame
    }
  }

  private let effort = SymbolFinder.Effort()

  /// The variables of the template itself.
  ///
  /// - Throws: `TemplateError`, syntax or budget.
  static func resolve(_ statements: [Statement]) throws -> (frame: FrameEntry, slots: Int) {
    let function = FunctionScope(nil)
    let resolver = Resolver()
    let frame = Frame(symbols: Symbols(parent: nil, function: function), function: function)
    try resolver.find(frame) { try $0.visit(statements) }
    let entry = try resolver.entry(frame)
    try resolver.body(statements, frame)
    return (entry, function.count)
  }

  private func find(_ frame: Frame, _ body: (inout SymbolFinder) throws -> Void) throws {
    var finder = SymbolFinder(symbols: frame.symbols, effort: effort)
    try body(&finder)
  }

  private func place(_ variable: Variable, from function: FunctionScope) throws -> Place {
    var (up, scope): (Int, FunctionScope?) = (0, function)
    while let current = scope {
      if ObjectIdentifier(current) == variable.function { return Place(up: up, index: variable.index) }
      up += 1
      scope = current.parent
    }
    throw TemplateError(.syntax, "a variable is used where it cannot be")
  }

  private func entry(_ frame: Frame) throws -> FrameEntry {
    var entry = FrameEntry()
    for (variable, load) in frame.symbols.loads {
      switch load {
      case .parameter: break
      case .global(let name): entry.loads.append(.global(variable.index, Text(name)))
      case .copy(let other): entry.loads.append(.copy(variable.index, try place(other, from: frame.function)))
      case .nothing: entry.loads.append(.nothing(variable.index))
      }
      entry.leaves.append(variable.index)
    }
    return entry
  }

  // MARK: Statements

  private func body(_ statements: [Statement], _ frame: Frame) throws {
    for statement in statements { try resolve(statement, frame) }
  }

  private func resolve(_ statement: Statement, _ frame: Frame) throws {
    switch statement.kind {
    case .output(let pieces): for case .expression(let expression) in pieces { try resolve(expression, frame) }
    case .loop(let loop): try resolve(loop, frame, line: statement.line)
    case .condition(let branches, let otherwise):
      let inner = frame.soft()
      for branch in branches {
        try resolve(branch.test, inner)
        try body(branch.body, inner)
      }
      try body(otherwise, inner)
    case .macro(let macro):
      try resolve(macro, frame, line: statement.line)
      if let name = macro.name { macro.place = try destination(.name(name, line: statement.line), frame) }
    case .callBlock(let macro, let call):
      try resolve(macro, frame, line: statement.line)
      try resolve(call, frame)
    case .generation(let macro): try resolve(macro, frame, line: statement.line)
    case .filterBlock(let block):
      let inner = frame.inner()
      try find(inner) { finder in
        try finder.visit(block.body)
        finder.visit(block.filter)
      }
      block.frame = try entry(inner)
      try body(block.body, inner)
      try resolve(block.filter, inner)
    case .assignment(let assignment):
      switch assignment.source {
      case .expression(let expression):
        assignment.destination = try destination(assignment.target, frame)
        try resolve(expression, frame)
      case .block(let statements, let filter):
        let inner = frame.inner()
        try find(inner) { try $0.visit(statements) }
        assignment.frame = try entry(inner)
        try body(statements, inner)
        assignment.destination = try destination(assignment.target, frame)
        if let filter { try resolve(filter, inner) }
      }
    case .with(let with):
      let inner = frame.inner()
      try find(inner) { finder in
        for target in with.targets { finder.visit(target, asParameter: true) }
        try finder.visit(with.body)
      }
      with.frame = try entry(inner)
      for (target, value) in zip(with.targets, with.values) {
        with.destinations.append(try destination(target, inner))
        try resolve(value, frame)
      }
      try body(with.body, inner)
    case .leave:
      guard frame.isInLoop else {
        throw TemplateError(.syntax, "'break' and 'continue' stand in loops only", line: statement.line)
      }
    case .refusal: break
    }
  }

  private func resolve(_ loop: ForLoop, _ frame: Frame, line: Int) throws {
    try Self.refuseLoopVariable(loop)
    let function = loop.isRecursive ? FunctionScope(frame.function) : nil
    var inner = frame.inner(function)
    let otherwise = frame.inner(function)
    inner.isInLoop = true
    inner.loops += 1
    guard inner.loops <= 20 else { throw TemplateError(.syntax, "more than 20 loops in each other", line: line) }
    if loop.isRecursive || !UndeclaredNames.among(["loop"], loop.body).isEmpty {
      loop.loopVariable = inner.symbols.declare("loop")
    }
    try find(inner) { finder in
      finder.visit(loop.target, asParameter: true)
      try finder.visit(loop.body)
    }
    if !loop.otherwise.isEmpty { try find(otherwise) { try $0.visit(loop.otherwise) } }
    if let test = loop.test {
      let testFunction = FunctionScope(frame.function)
      let testFrame = frame.inner(testFunction)
      try find(testFrame) { finder in
        finder.visit(loop.target, asParameter: true)
        finder.visit(test)
      }
      loop.testFrame = try entry(testFrame)
      loop.testDestination = try destination(loop.target, testFrame)
      try resolve(test, testFrame)
      loop.testSlots = testFunction.count
    }
    loop.destination = try destination(loop.target, inner)
    try resolve(loop.iterable, frame)
    loop.frame = try entry(inner)
    try body(loop.body, inner)
    if !loop.otherwise.isEmpty {
      loop.otherwiseFrame = try entry(otherwise)
      try body(loop.otherwise, otherwise)
    }
    if let function { loop.slots = function.count }
  }

  /// `loop` cannot be set anywhere in a loop.
  private static func refuseLoopVariable(_ loop: ForLoop) throws {
    try refuse(loop.target)
    try refuse(loop.body)
    try refuse(loop.otherwise)
  }

  private static func refuse(_ target: Target) throws {
    switch target {
    case .name("loop", let line): throw TemplateError(.syntax, "'loop' cannot be set in a loop", line: line)
    case .tuple(let targets): for target in targets { try refuse(target) }
    default: break
    }
  }

  private static func refuse(_ statements: [Statement]) throws {
    for statement in statements {
      switch statement.kind {
      case .loop(let loop): try refuseLoopVariable(loop)
      case .condition(let branches, let otherwise):
        for branch in branches { try refuse(branch.body) }
        try refuse(otherwise)
      case .macro(let macro), .callBlock(let macro, _), .generation(let macro): try refuse(macro.body)
      case .filterBlock(let block): try refuse(block.body)
      case .assignment(let assignment):
        try refuse(assignment.target)
        if case .block(let body, _) = assignment.source { try refuse(body) }
      case .with(let with): try refuse(with.body)
      case .output, .leave, .refusal: break
      }
    }
  }

  private func resolve(_ macro: MacroDefinition, _ frame: Frame, line: Int) throws {
    let function = FunctionScope(frame.function)
    let inner = frame.inner(function)
    let explicitCaller = macro.parameters.firstIndex { $0.name == "caller" }
    for parameter in macro.parameters { macro.parameterSlots.append(inner.symbols.declare(parameter.name)) }
    try find(inner) { finder in
      for value in macro.defaults { finder.visit(value) }
      try finder.visit(macro.body)
    }
    let asked = UndeclaredNames.among(["caller", "kwargs", "varargs"], macro.body)
    if asked.contains("caller") {
      if let explicitCaller {
        guard explicitCaller >= macro.parameters.count - macro.defaults.count else {
          throw TemplateError(.syntax, "the parameter 'caller' of a macro wants a default", line: line)
        }
      } else {
        macro.callerSlot = inner.symbols.declare("caller")
      }
    }
    macro.hasExplicitCaller = explicitCaller != nil
    let names = Set(macro.parameters.map(\.name))
    if asked.contains("kwargs"), !names.contains("kwargs") { macro.namedSlot = inner.symbols.declare("kwargs") }
    if asked.contains("varargs"), !names.contains("varargs") { macro.positionalSlot = inner.symbols.declare("varargs") }
    macro.frame = try entry(inner)
    for value in macro.defaults { try resolve(value, inner) }
    try body(macro.body, inner)
    macro.slots = function.count
  }

  private func destination(_ target: Target, _ frame: Frame) throws -> Destination {
    switch target {
    case .name(let name, let line):
      guard let variable = frame.symbols.find(name) else { throw unknown(name, line) }
      return .place(try place(variable, from: frame.function).index)
    case .attribute(let name, let attribute):
      guard let variable = frame.symbols.find(name.name) else { throw unknown(name.name, nil) }
      name.place = try place(variable, from: frame.function)
      return .attribute(of: name, attribute)
    case .tuple(let targets): return .tuple(try targets.map { try destination($0, frame) })
    }
  }

  private func unknown(_ name: String, _ line: Int?) -> TemplateError {
    TemplateError(.syntax, "'\(name)' cannot be used here", line: line)
  }

  // MARK: Expressions

  private func resolve(_ expression: Expression, _ frame: Frame) throws {
    switch expression.kind {
    case .name(let name):
      guard let variable = frame.symbols.find(name.name) else { throw unknown(name.name, expression.line) }
      name.place = try place(variable, from: frame.function)
      return
    case .filter(_, let filter) where filter.operation == nil && !frame.isSoft:
      throw TemplateError(.syntax, "there is no filter '\(filter.name)'", line: expression.line)
    case .test(_, let test) where test.operation == nil && !frame.isSoft:
      throw TemplateError(.syntax, "there is no test '\(test.name)'", line: expression.line)
    case .conditional:
      var soft = frame
      soft.isSoft = true
      for child in expression.children { try resolve(child, soft) }
      return
    default: break
    }
    for child in expression.children { try resolve(child, frame) }
  }
}
