/// What a template computes with: Python's values, as far as templates can have them.
enum Value {
  case undefined(Undefined)
  case none
  case bool(Bool)
  case int(Int)
  /// Only what does not fit into `int`.
  case big(BigInt)
  case float(Double)
  case text(Text)
  case list(List)
  case tuple(List)
  case dict(Dict)
  case range(Span)
  /// `keys()`, `values()`, `items()`.
  case view(Dict, Dict.Part)
  /// What Python calls a generator or an iterator: to be walked once.
  case iterator(Iteration)
  case namespace(Namespace)
  case macro(Macro)
  case loop(Loop)
  case function(Function)
  /// An integer of any size.
  static func integer(_ value: BigInt) -> Value { value.int.map(Value.int) ?? .big(value) }
  static func text(_ string: String) -> Value { .text(Text(string)) }
}

/// Nothing where something was looked for. Prints as empty; anything further with it is an error.
final class Undefined {
  let message: String
  init(_ message: String) { self.message = message }
  convenience init(name: String) { self.init("'\(name)' is undefined") }
  var error: TemplateError { .raised(message) }
}

/// Something of Coppice's own that a template can call: a global function, or a method with its object.
final class Function {
  let name: String
  /// The object of a method.
  let object: Value?
  let depth: Int
  let call: (Interpreter, Arguments) throws -> Value

  init(_ name: String, object: Value? = nil, _ call: @escaping (Interpreter, Arguments) throws -> Value) throws {
    self.name = name
    self.object = object
    self.call = call
    depth = try object.map { try List.depth(above: CollectionOfOne($0)) } ?? 1
  }
}

extension Value {
  /// Levels of values in this one.
  var depth: Int {
    switch self {
    case .list(let list), .tuple(let list): list.depth
    case .dict(let dict), .view(let dict, _): dict.depth
    case .iterator(let iteration): iteration.depth
    case .loop(let loop): loop.depth
    case .function(let function): function.depth
    default: 0
    }
  }

  /// Python's name of the type, for messages.
  var type: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .bool: "bool"
    case .int, .big: "int"
    case .float: "float"
    case .text(let text): text.isMarkup ? "Markup" : "str"
    case .list: "list"
    case .tuple: "tuple"
    case .dict: "dict"
    case .range: "range"
    case .view(_, .keys): "dict_keys"
    case .view(_, .values): "dict_values"
    case .view(_, .items): "dict_items"
    case .iterator: "generator"
    case .namespace: "Namespace"
    case .macro: "Macro"
    case .loop: "LoopContext"
    case .function: "function"
    }
  }

  /// What jinja calls it where something is missing in it.
  var description: String {
    switch self {
    case .none: "None"
    case .undefined: "undefined"
    default: "\(type) object"
    }
  }

  /// Python's truth.
  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .int(let value): value != 0
    case .big: true
    case .float(let value): value != 0
    case .text(let text): !text.isEmpty
    case .list(let list), .tuple(let list): !list.items.isEmpty
    case .dict(let dict), .view(let dict, _): dict.count > 0
    case .range(let span): span.count > 0
    case .iterator, .namespace, .macro, .loop, .function: true
    }
  }

  /// The number of an int or a bool.
  var int: Int? {
    switch self {
    case .int(let value): value
    case .bool(let value): value ? 1 : 0
    default: nil
    }
  }

  var bigInt: BigInt? {
    switch self {
    case .big(let value): value
    default: int.map { BigInt($0) }
    }
  }

  /// A number as a float.
  var double: Double? {
    switch self {
    case .float(let value): value
    case .big(let value): value.double
    default: int.map(Double.init)
    }
  }

  var text: Text? { if case .text(let text) = self { text } else { nil } }
  var isUndefined: Bool { if case .undefined = self { true } else { false } }
  var isNone: Bool { if case .none = self { true } else { false } }
}
