/// Jinja's tests: what stands after `is`.
///
/// Source: `jinja2/tests.py` of Jinja 3.1.6.
enum Tests {
  static let all: [String: Test] = [
    "defined": plain { !$0.isUndefined },
    "undefined": plain { $0.isUndefined },
    "none": plain { $0.isNone },
    "boolean": plain { if case .bool = $0 { true } else { false } },
    "true": plain { if case .bool(true) = $0 { true } else { false } },
    "false": plain { if case .bool(false) = $0 { true } else { false } },
    "integer": plain {
      switch $0 {
      case .int, .big: true
      default: false
      }
    },
    "float": plain { if case .float = $0 { true } else { false } },
    "number": plain { $0.double != nil },
    "string": plain { if case .text = $0 { true } else { false } },
    "mapping": plain { if case .dict = $0 { true } else { false } },
    "sequence": plain {
      switch $0 {
      case .text, .list, .tuple, .dict, .range, .undefined: true
      default: false
      }
    },
    "iterable": plain {
      switch $0 {
      case .none, .bool, .int, .big, .float, .namespace, .macro, .function: false
      default: true
      }
    },
    "callable": plain {
      switch $0 {
      case .function, .macro, .loop, .undefined: true
      default: false
      }
    },
    "escaped": plain { $0.text?.isMarkup ?? false },
    "lower": { interpreter, value, arguments in
      _ = try arguments.bound("lower", [])
      let text = try interpreter.str(value)
      try interpreter.budget.take(bytes: text.utf8.count)
      return text.isLower
    },
    "upper": { interpreter, value, arguments in
      _ = try arguments.bound("upper", [])
      let text = try interpreter.str(value)
      try interpreter.budget.take(bytes: text.utf8.count)
      return text.isUpper
    },
    "odd": { try remainder($0, $1, $2.bound("odd", []), .int(2), is: 1) },
    "even": { try remainder($0, $1, $2.bound("even", []), .int(2), is: 0) },
    "divisibleby": { interpreter, value, arguments in
      let number = try arguments.bound("divisibleby", ["num"], required: 1)[0] ?? .none
      return try remainder(interpreter, value, [], number, is: 0)
    },
    "in": { try $0.contains(try $2.bound("in", ["seq"], required: 1)[0] ?? .none, $1) },
    "sameas": { try isSame($0, $1, try $2.bound("sameas", ["other"], required: 1)[0] ?? .none) },
    "filter": { _, value, arguments in
      _ = try arguments.bound("filter", [])
      _ = try Key(value)
      return value.text.map { Filters.all[$0.string] != nil } ?? false
    },
    "test": { _, value, arguments in
      _ = try arguments.bound("test", [])
      _ = try Key(value)
      return value.text.map { isKnown($0.string) } ?? false
    },
    "==": comparison(.equal), "eq": comparison(.equal), "equalto": comparison(.equal),
    "!=": comparison(.unequal), "ne": comparison(.unequal),
    ">": comparison(.greater), "gt": comparison(.greater), "greaterthan": comparison(.greater),
    ">=": comparison(.greaterEqual), "ge": comparison(.greaterEqual),
    "<": comparison(.less), "lt": comparison(.less), "lessthan": comparison(.less),
    "<=": comparison(.lessEqual), "le": comparison(.lessEqual),
  ]

  private static func isKnown(_ name: String) -> Bool { all[name] != nil }

  private static func plain(_ holds: @escaping @Sendable (Value) -> Bool) -> Test {
    { _, value, arguments in
      _ = try arguments.bound("a test", [])
      return holds(value)
    }
  }

  private static func comparison(_ operation: ComparisonOperator) -> Test {
    { interpreter, value, arguments in
      try interpreter.holds(value, operation, try arguments.positional(operation.rawValue, 1...1)[0])
    }
  }

  private static func remainder(
    _ interpreter: Interpreter, _ value: Value, _: [Value?], _ divisor: Value, is expected: Int
  ) throws -> Bool {
    try interpreter.isEqual(try interpreter.apply(.modulo, value, divisor), .int(expected))
  }

  /// Python's `is`, as far as it can be told.
  private static func isSame(_ interpreter: Interpreter, _ a: Value, _ b: Value) throws -> Bool {
    switch (a, b) {
    case (.none, .none): true
    case (.bool(let a), .bool(let b)): a == b
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)): a === b
    case (.dict(let a), .dict(let b)): a === b
    case (.undefined(let a), .undefined(let b)): a === b
    case (.int(let a), .int(let b)): a == b
    case (.text(let a), .text(let b)): a == b && a.isMarkup == b.isMarkup
    case (.namespace, .namespace), (.macro, .macro), (.loop, .loop), (.iterator, .iterator), (.function, .function):
      try interpreter.isEqual(a, b)
    default: false
    }
  }
}
