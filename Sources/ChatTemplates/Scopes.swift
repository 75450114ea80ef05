/// One function of the code that jinja would make: the template itself, a macro, a recursive loop, a loop's test.
final class FunctionScope {
  let parent: FunctionScope?
  private var indices: [String: Int] = [:]
  var count: Int { indices.count }

  init(_ parent: FunctionScope?) { self.parent = parent }

  /// The index of a variable by its name and the level of the scope that has it.
  func index(_ name: String, _ level: Int) -> Int {
    let key = "\(level) \(name)"
    if let index = indices[key] { return index }
    indices[key] = indices.count
    return indices.count - 1
  }
}

/// A variable while scopes are found out.
struct Variable: Hashable {
  let function: ObjectIdentifier
  let index: Int
}

/// The names that a scope knows, as jinja's `Symbols` has them: which variables they stand for, and what these hold when
/// the scope is entered.
///
/// Jinja finds out scopes before it runs anything, and templates depend on what comes of that: a name that is set
/// anywhere in a scope is that scope's from its first line on.
///
/// Source: `jinja2/idtracking.py` of Jinja 3.1.6.
final class Symbols {
  enum Load {
    case parameter
    case global(String)
    case copy(Variable)
    case nothing
  }

  let level: Int
  let parent: Symbols?
  let function: FunctionScope
  private(set) var references: [String: Variable] = [:]
  private(set) var loads: [Variable: Load] = [:]
  private(set) var stores: Set<String> = []

  init(parent: Symbols?, function: FunctionScope) {
    self.parent = parent
    self.function = function
    level = (parent?.level ?? -1) + 1
  }

  private init(copying other: Symbols) {
    (level, parent, function) = (other.level, other.parent, other.function)
    (references, loads, stores) = (other.references, other.loads, other.stores)
  }

  func copy() -> Symbols { Symbols(copying: self) }

  /// What a copy may cost, in names.
  var size: Int { references.count }

  private func define(_ name: String, _ load: Load) {
    let variable = Variable(function: ObjectIdentifier(function), index: function.index(name, level))
    references[name] = variable
    loads[variable] = load
  }

  func find(_ name: String) -> Variable? { references[name] ?? parent?.find(name) }

  /// A parameter is there as soon as its scope is.
  func declare(_ name: String) -> Int {
    stores.insert(name)
    define(name, .parameter)
    return function.index(name, level)
  }

  func store(_ name: String) {
    stores.insert(name)
    guard references[name] == nil else { return }
    define(name, parent?.find(name).map(Load.copy) ?? .nothing)
  }

  func load(_ name: String) {
    if find(name) == nil { define(name, .global(name)) }
  }

  /// Takes over what the branches of an `if` found out.
  func merge(_ branches: [Symbols]) {
    let new = branches.reduce(into: Set<String>()) { $0.formUnion($1.stores) }.subtracting(stores)
    // Branches begin as copies and only ever gain names: most have nothing new.
    let count = references.count
    for branch in branches where branch.references.count != count || !new.isEmpty {
      references.merge(branch.references) { $1 }
      loads.merge(branch.loads) { $1 }
      stores.formUnion(branch.stores)
    }
    for name in new {
      guard let variable = find(name) else { continue }
      loads[variable] = parent?.find(name).map(Load.copy) ?? .global(name)
    }
  }
}

/// Walks over statements to find out which names a scope reads and sets. Stops at scopes inside of it.
struct SymbolFinder {
  var symbols: Symbols
  var effort: Effort

  /// Work that finding out scopes may take: copies of all names at every `if`.
  final class Effort {
    private var left = 3_000_000
    func spend(_ count: Int) throws {
      left -= count + 1
      if left < 0 { throw TemplateError(.budget, "the template has too many branches and names") }
    }
  }

  mutating func visit(_ statements: [Statement]) throws { for statement in statements { try visit(statement) } }

  mutating func visit(_ statement: Statement) throws {
    switch statement.kind {
    case .output(let pieces): for case .expression(let expression) in pieces { visit(expression) }
    case .loop(let loop): visit(loop.iterable)
    case .condition(let branches, let otherwise):
      guard let first = branches.first else { return }
      visit(first.test)
      let original = symbols
      func inner(_ body: (inout SymbolFinder) throws -> Void) throws -> Symbols {
        try effort.spend(original.size)
        var finder = SymbolFinder(symbols: original.copy(), effort: effort)
        try body(&finder)
        return finder.symbols
      }
      let body = try inner { try $0.visit(first.body) }
      let others = try inner { finder in
        for branch in branches.dropFirst() {
          finder.visit(branch.test)
          try finder.effort.spend(finder.symbols.size)
          var part = SymbolFinder(symbols: finder.symbols.copy(), effort: finder.effort)
          try part.visit(branch.body)
          finder.symbols.merge([part.symbols, finder.symbols.copy(), finder.symbols.copy()])
        }
      }
      let last = try inner { try $0.visit(otherwise) }
      symbols.merge([body, others, last])
    case .macro(let macro): if let name = macro.name { symbols.store(name) }
    case .callBlock(_, let call): visit(call)
    case .filterBlock(let block): visit(block.filter)
    case .assignment(let assignment):
      if case .expression(let expression) = assignment.source { visit(expression) }
      visit(assignment.target)
    case .with(let with): for value in with.values { visit(value) }
    case .generation, .leave, .refusal: break
    }
  }

  mutating func visit(_ target: Target, asParameter: Bool = false) {
    switch target {
    case .name(let name, _): if asParameter { _ = symbols.declare(name) } else { symbols.store(name) }
    case .attribute(let name, _): symbols.load(name.name)
    case .tuple(let targets): for target in targets { visit(target, asParameter: asParameter) }
    }
  }

  func visit(_ expression: Expression) { expression.eachName { symbols.load($0) } }
}

extension Expression {
  /// Expressions right inside of this one, in the order in which jinja's nodes have them.
  var children: [Expression] {
    switch kind {
    case .constant, .name: []
    case .tuple(let items), .list(let items), .concatenation(let items): items
    case .dict(let items): items.flatMap { [$0.key, $0.value] }
    case .conditional(let value, let test, let otherwise): [test, value] + [otherwise].compactMap { $0 }
    case .and(let a, let b), .or(let a, let b), .binary(_, let a, let b), .item(let a, let b): [a, b]
    case .not(let a), .negative(let a), .positive(let a), .attribute(let a, _): [a]
    case .comparison(let first, let others): [first] + others.map(\.1)
    case .slice(let start, let stop, let step): [start, stop, step].compactMap { $0 }
    case .call(let callee, let arguments): [callee] + arguments.all.compactMap { $0 }
    case .filter(let value, let filter): [value].compactMap { $0 } + filter.arguments.all.compactMap { $0 }
    case .test(let value, let test): [value] + test.arguments.all.compactMap { $0 }
    }
  }

  func eachName(_ body: (String) -> Void) {
    if case .name(let name) = kind { return body(name.name) }
    for child in children { child.eachName(body) }
  }
}

/// Which of some names statements read before they set them: how jinja finds out whether a loop needs `loop`, and a
/// macro `caller`, `kwargs` and `varargs`. Goes into scopes inside, too.
struct UndeclaredNames {
  private var wanted: Set<String>
  private(set) var found: Set<String> = []

  static func among(_ names: Set<String>, _ statements: [Statement]) -> Set<String> {
    var finder = UndeclaredNames(wanted: names)
    finder.visit(statements)
    return finder.found
  }

  private init(wanted: Set<String>) { self.wanted = wanted }

  private mutating func set(_ name: String) { if found != wanted { wanted.remove(name) } }

  private mutating func visit(_ expression: Expression?) {
    expression?.eachName { name in if wanted.contains(name) { found.insert(name) } }
  }

  private mutating func visit(_ target: Target) {
    switch target {
    case .name(let name, _): set(name)
    case .attribute: break
    case .tuple(let targets): for target in targets { visit(target) }
    }
  }

  private mutating func visit(_ macro: MacroDefinition) {
    for parameter in macro.parameters { set(parameter.name) }
    for value in macro.defaults { visit(value) }
    visit(macro.body)
  }

  private mutating func visit(_ statements: [Statement]) {
    for statement in statements {
      switch statement.kind {
      case .output(let pieces): for case .expression(let expression) in pieces { visit(expression) }
      case .loop(let loop):
        visit(loop.target)
        visit(loop.iterable)
        visit(loop.body)
        visit(loop.otherwise)
        visit(loop.test)
      case .condition(let branches, let otherwise):
        for branch in branches {
          visit(branch.test)
          visit(branch.body)
        }
        visit(otherwise)
      case .macro(let macro), .generation(let macro): visit(macro)
      case .callBlock(let macro, let call):
        visit(call)
        visit(macro)
      case .filterBlock(let block):
        visit(block.body)
        visit(block.filter)
      case .assignment(let assignment):
        visit(assignment.target)
        switch assignment.source {
        case .expression(let expression): visit(expression)
        case .block(let body, let filter):
          visit(filter)
          visit(body)
        }
      case .with(let with):
        for target in with.targets { visit(target) }
        for value in with.values { visit(value) }
        visit(with.body)
      case .leave, .refusal: break
      }
    }
  }
}
