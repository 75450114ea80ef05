/// Methods of dictionaries.
enum DictMethods {
  static let all: [Text: Method] = [
    "items": { try view($1, $2, .items) },
    "keys": { try view($1, $2, .keys) },
    "values": { try view($1, $2, .values) },
    "copy": { _, value, arguments in
      _ = try arguments.positional("copy", 0...0)
      return value
    },
    "get": { _, value, arguments in
      let values = try arguments.positional("get", 1...2)
      guard case .dict(let dict) = value else { return .none }
      return try dict.value(of: values[0]) ?? (values.count > 1 ? values[1] : .none)
    },
    "fromkeys": { interpreter, _, arguments in try fromKeys(interpreter, arguments) },
  ]

  /// What would change a dictionary.
  static let unsafe: Set<Text> = ["clear", "pop", "popitem", "setdefault", "update"]
  static let names = unsafe.union(all.keys)

  private static func view(_ value: Value, _ arguments: Arguments, _ part: Dict.Part) throws -> Value {
    _ = try arguments.positional("a view", 0...0)
    guard case .dict(let dict) = value else { return .none }
    return .view(dict, part)
  }

  static func fromKeys(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let values = try arguments.positional("fromkeys", 1...2)
    let keys = try interpreter.items(values[0])
    try interpreter.budget.take(entries: keys.count)
    return .dict(try Dict(keys.map { ($0, values.count > 1 ? values[1] : .none) }))
  }
}

/// Methods of lists, tuples and ranges.
enum SequenceMethods {
  static let all: [Text: Method] = [
    "count": { interpreter, value, arguments in
      let wanted = try arguments.positional("count", 1...1)[0]
      var count = 0
      for item in try interpreter.items(value) where try interpreter.isEqual(item, wanted) { count += 1 }
      return .int(count)
    },
    "index": { interpreter, value, arguments in
      let wanted = try arguments.positional("index", 1...3)
      let items = try interpreter.items(value)
      func bound(_ index: Int, _ otherwise: Int) throws -> Int {
        guard wanted.count > index else { return otherwise }
        let int = try StringMethods.integer(wanted[index])
        return int < 0 ? max(0, int + items.count) : min(int, items.count)
      }
      for index in Swift.stride(from: try bound(1, 0), to: try bound(2, items.count), by: 1)
      where try interpreter.isEqual(items[index], wanted[0]) {
        return .int(index)
      }
      throw TemplateError.raised("\(try interpreter.repr(wanted[0]).string) is not in list")
    },
    "copy": { _, value, arguments in
      _ = try arguments.positional("copy", 0...0)
      return value
    },
  ]

  /// What would change a list.
  static let unsafe: Set<Text> = ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"]
}

/// Methods of numbers.
enum NumberMethods {
  private static let unsupported: Method = { _, _, _ in
    throw TemplateError.raised("this method of numbers is not supported in templates")
  }

  static let all: [Text: Method] = [
    "as_integer_ratio": unsupported, "conjugate": unsupported,
    "is_integer": { _, value, arguments in
      _ = try arguments.positional("is_integer", 0...0)
      guard case .float(let number) = value else { throw TemplateError.raised("'int' object has no 'is_integer'") }
      return .bool(number.isFinite && number == number.rounded())
    },
    "bit_length": { _, value, arguments in
      _ = try arguments.positional("bit_length", 0...0)
      guard let number = value.bigInt else { throw TemplateError.raised("'float' object has no 'bit_length'") }
      return .int(number.bitCount)
    },
  ]
}

extension Function {
  /// What a function has beyond being called: `dict.fromkeys`.
  var members: [Text: (Interpreter) throws -> Value] {
    guard name == "dict", object == nil else { return [:] }
    return [
      "fromkeys": { _ in .function(try Function("fromkeys") { try DictMethods.fromKeys($0, $1) }) }
    ]
  }
}
