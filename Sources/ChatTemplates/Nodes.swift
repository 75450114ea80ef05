/// An expression of a template.
final class Expression {
  enum Kind {
    case constant(Value)
    case name(Name)
    case tuple([Expression])
    case list([Expression])
    case dict([(key: Expression, value: Expression)])
    case conditional(Expression, test: Expression, otherwise: Expression?)
    case and(Expression, Expression)
    case or(Expression, Expression)
    case not(Expression)
    case negative(Expression)
    case positive(Expression)
    case binary(BinaryOperator, Expression, Expression)
    case concatenation([Expression])
    case comparison(Expression, [(ComparisonOperator, Expression)])
    case attribute(Expression, Text)
    case item(Expression, Expression)
    /// `start:stop:step`, which stands nowhere but in brackets.
    case slice(Expression?, Expression?, Expression?)
    case call(Expression, CallArguments)
    case filter(Expression?, Application<Filter>)
    case test(Expression, Application<Test>)
  }

  let kind: Kind
  let line: Int
  let depth: Int

  /// Operators in operators in operators: Python's own parser gives up at 200.
  static let maximumDepth = 200

  init(_ kind: Kind, _ children: [Expression?], line: Int) throws {
    self.kind = kind
    self.line = line
    var deepest = 0
    for child in children { deepest = max(deepest, child?.depth ?? 0) }
    depth = deepest + 1
    guard depth <= Self.maximumDepth else {
      throw TemplateError(.syntax, "an expression nested deeper than \(Self.maximumDepth) levels", line: line)
    }
  }
}

/// A variable that is read, and where it is: found out by the `Resolver`.
final class Name {
  let name: String
  var place = Place()
  init(_ name: String) { self.name = name }
}

/// A variable at run time: `up` functions out, at `index`.
struct Place {
  var up = 0
  var index = 0
}

enum BinaryOperator: String {
  case add = "+", subtract = "-", multiply = "*", divide = "/", floorDivide = "//", modulo = "%", power = "**"
}

enum ComparisonOperator: String {
  case equal = "==", unequal = "!=", less = "<", lessEqual = "<=", greater = ">", greaterEqual = ">=", isIn = "in",
    isNotIn = "not in"
}

/// What stands in the parentheses of a call.
struct CallArguments {
  var positional: [Expression] = []
  var named: [(name: Text, value: Expression)] = []
  /// `*list`
  var list: Expression?
  /// `**dict`
  var dict: Expression?

  var all: [Expression?] { positional + named.map(\.value) + [list, dict] }
  static var none: CallArguments { CallArguments() }
}

/// A filter or a test by its name with its arguments.
final class Application<Operation> {
  let name: String
  let arguments: CallArguments
  /// Nil for a name that is unknown, which is an error once it is used.
  let operation: Operation?

  init(_ name: String, _ arguments: CallArguments, _ operation: Operation?) {
    self.name = name
    self.arguments = arguments
    self.operation = operation
  }
}

/// What a value is given to: `a`, `a, (b, c)`, `ns.a`.
indirect enum Target {
  case name(String, line: Int)
  case attribute(of: Name, Text)
  case tuple([Target])
}

/// A target whose places are known.
indirect enum Destination {
  case place(Int)
  case attribute(of: Name, Text)
  case tuple([Destination])
}

/// A statement of a template.
final class Statement {
  enum Kind {
    case output([Piece])
    case loop(ForLoop)
    case condition([(test: Expression, body: [Statement])], otherwise: [Statement])
    case macro(MacroDefinition)
    /// `call` with its body, which the called finds as `caller`.
    case callBlock(MacroDefinition, Expression)
    /// `generation`: marks what an assistant wrote; a macro that is called at once.
    case generation(MacroDefinition)
    case filterBlock(FilterBlock)
    case assignment(Assignment)
    case with(With)
    /// `break`, `continue`
    case leave(Flow)
    /// What stops the template where it gets there: `include`, `import`, `extends`.
    case refusal(String)
  }

  enum Piece {
    case data(Text)
    case expression(Expression)
  }

  let kind: Kind
  let line: Int

  init(_ kind: Kind, line: Int) {
    self.kind = kind
    self.line = line
  }
}

/// How a row of statements ended.
enum Flow { case normal, leavesLoop, nextRound }

final class ForLoop {
  let target: Target
  let iterable: Expression
  let test: Expression?
  let isRecursive: Bool
  let body: [Statement]
  let otherwise: [Statement]

  /// Where `loop` is, in loops that ask for it.
  var loopVariable: Int?
  var destination = Destination.tuple([])
  var frame = FrameEntry()
  var otherwiseFrame = FrameEntry()
  /// The test has variables of its own.
  var testDestination = Destination.tuple([])
  var testFrame = FrameEntry()
  var testSlots = 0
  /// Variables of the function that a recursive loop is.
  var slots = 0

  init(
    _ target: Target, _ iterable: Expression, test: Expression?, isRecursive: Bool, body: [Statement],
    otherwise: [Statement]
  ) {
    self.target = target
    self.iterable = iterable
    self.test = test
    self.isRecursive = isRecursive
    self.body = body
    self.otherwise = otherwise
  }
}

final class MacroDefinition {
  let name: String?
  let parameters: [(name: String, line: Int)]
  /// Defaults of the last parameters.
  let defaults: [Expression]
  let body: [Statement]

  var place = Destination.tuple([])
  var slots = 0
  var frame = FrameEntry()
  var parameterSlots: [Int] = []
  /// Where the macro finds what it asks for beyond its parameters.
  var callerSlot: Int?
  var namedSlot: Int?
  var positionalSlot: Int?
  var hasExplicitCaller = false

  init(_ name: String?, _ parameters: [(name: String, line: Int)], _ defaults: [Expression], _ body: [Statement]) {
    self.name = name
    self.parameters = parameters
    self.defaults = defaults
    self.body = body
  }
}

final class FilterBlock {
  let filter: Expression
  let body: [Statement]
  var frame = FrameEntry()
  init(_ filter: Expression, _ body: [Statement]) {
    self.filter = filter
    self.body = body
  }
}

final class Assignment {
  enum Source {
    case expression(Expression)
    /// A `set` block, with its filters.
    case block([Statement], filter: Expression?)
  }
  let target: Target
  let source: Source
  var destination = Destination.tuple([])
  var frame = FrameEntry()
  init(_ target: Target, _ source: Source) {
    self.target = target
    self.source = source
  }
}

final class With {
  let targets: [Target]
  let values: [Expression]
  let body: [Statement]
  var destinations: [Destination] = []
  var frame = FrameEntry()
  init(_ targets: [Target], _ values: [Expression], _ body: [Statement]) {
    self.targets = targets
    self.values = values
    self.body = body
  }
}

/// What happens to variables where a scope is entered, and which are gone where it is left.
struct FrameEntry {
  enum Load {
    /// A variable that the conversation or the interpreter has, or none.
    case global(Int, Text)
    /// A copy of the variable of an outer scope.
    case copy(Int, Place)
    case nothing(Int)
  }
  var loads: [Load] = []
  var leaves: [Int] = []
}
