/// Filters of lists and dictionaries.
enum SequenceFilters {
  static let all: [String: Filter] = [
    "length": length, "count": length,
    "first": { _, value, arguments in
      _ = try arguments.bound("first", [])
      return try Iteration.over(value).next() ?? .undefined(Undefined("no first item, sequence was empty"))
    },
    "last": { interpreter, value, arguments in
      _ = try arguments.bound("last", [])
      return try reversed(value, interpreter).next() ?? .undefined(Undefined("no last item, sequence was empty"))
    },
    "list": { interpreter, value, arguments in
      _ = try arguments.bound("list", [])
      return try interpreter.list(try interpreter.items(value))
    },
    "reverse": { interpreter, value, arguments in
      _ = try arguments.bound("reverse", [])
      if case .text(let text) = value {
        try interpreter.budget.take(entries: text.utf8.count)
        return .text(Text(text.scalars.reversed()).marked(text.isMarkup))
      }
      if case .iterator = value { return try interpreter.list(try interpreter.items(value).reversed()) }
      return .iterator(try reversed(value, interpreter))
    },
    "items": { _, value, arguments in
      _ = try arguments.bound("items", [])
      guard !value.isUndefined else { return .iterator(try Iteration { nil }) }
      guard case .dict(let dict) = value else {
        // A generator complains when it is asked for its first value.
        return .iterator(try Iteration { throw TemplateError.raised("can only get item pairs from a mapping") })
      }
      let iteration = try Iteration.over(.view(dict, .items))
      return .iterator(try Iteration(over: [value]) { try iteration.next() })
    },
    "join": { interpreter, value, arguments in
      let values = try arguments.bound("join", ["d", "attribute"])
      let attribute = try Attribute(values[1] ?? .none)
      let separator = try interpreter.str(values[0] ?? .text(""))
      let iteration = try Iteration.over(value)
      var (out, isFirst) = ([UInt8](), true)
      while let item = try iteration.next() {
        if !isFirst { out += separator.utf8 }
        isFirst = false
        let text = try interpreter.str(try attribute.value(of: item, interpreter))
        try interpreter.budget.take(bytes: text.utf8.count + separator.utf8.count + 16)
        out += text.utf8
        if out.count > Budget.maximumValue { try interpreter.budget.take(bytes: out.count) }
      }
      return .text(Text(out))
    },
    "dictsort": dictSort,
    "sort": sort,
    "unique": unique,
    "min": { try extreme($0, $1, $2, "min") { try $0.isLess($1, $2) } },
    "max": { try extreme($0, $1, $2, "max") { try $0.isLess($2, $1) } },
    "sum": { interpreter, value, arguments in
      let values = try arguments.bound("sum", ["attribute", "start"])
      let attribute = try Attribute(values[0] ?? .none)
      var sum = values[1] ?? .int(0)
      if case .text = sum { throw TemplateError.raised("sum() can't sum strings [use ''.join(seq) instead]") }
      for item in try interpreter.items(value) {
        sum = try interpreter.apply(.add, sum, try attribute.value(of: item, interpreter))
      }
      return sum
    },
    "map": map,
    "select": { try select($0, $1, $2, byAttribute: false, isWanted: true) },
    "reject": { try select($0, $1, $2, byAttribute: false, isWanted: false) },
    "selectattr": { try select($0, $1, $2, byAttribute: true, isWanted: true) },
    "rejectattr": { try select($0, $1, $2, byAttribute: true, isWanted: false) },
    "batch": batch,
    "slice": slice,
    "groupby": groupBy,
  ]

  private static let length: Filter = { interpreter, value, arguments in
    _ = try arguments.bound("length", [])
    return .int(try interpreter.length(value))
  }

  /// A path into a value: `name`, `name.0.other`, a number.
  struct Attribute {
    private let parts: [Value]

    init(_ value: Value) throws {
      switch value {
      case .none: parts = []
      case .text(let path):
        parts = path.split(".").map { part in
          let isNumber = !part.isEmpty && part.utf8.allSatisfy { (48...57).contains($0) }
          return (isNumber ? BigInt(decimal: part.utf8).map(Value.integer) : nil) ?? .text(part)
        }
      default: parts = [value]
      }
    }

    func value(of item: Value, _ interpreter: Interpreter, default other: Value? = nil) throws -> Value {
      var value = item
      for part in parts {
        try interpreter.budget.step()
        value = try interpreter.item(part, of: value)
        if value.isUndefined, let other, !other.isNone { value = other }
      }
      return value
    }
  }

  /// What is compared: text in lower case, unless case counts.
  static func comparable(_ value: Value, _ isCaseSensitive: Bool) -> Value {
    if !isCaseSensitive, case .text(let text) = value { return .text(text.lowercased()) }
    return value
  }

  static func reversed(_ value: Value, _ interpreter: Interpreter) throws -> Iteration {
    switch value {
    case .list(let list), .tuple(let list): return Iteration(reversed: list)
    case .dict, .view, .range, .text: return Iteration(reversed: try List(try interpreter.items(value)))
    case .undefined: return try Iteration { nil }
    default: throw TemplateError.raised("'\(value.type)' object is not reversible")
    }
  }

  private static let dictSort: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("dictsort", ["case_sensitive", "by", "reverse"])
    let by = try values[1].map(StringMethods.textArgument) ?? "key"
    guard by == "key" || by == "value" else {
      throw TemplateError.raised("you can only sort by either \"key\" or \"value\"")
    }
    guard case .dict(let dict) = value else {
      if case .undefined(let undefined) = value { throw undefined.error }
      throw TemplateError.raised("'\(value.type) object' has no attribute 'items'")
    }
    let keys = (by == "key" ? dict.keys : dict.values).map { comparable($0, values[0]?.isTrue ?? false) }
    let isReversed = values[2]?.isTrue ?? false
    let order = try interpreter.sorted(Array(keys.indices)) { a, b in
      isReversed ? try interpreter.isLess(keys[b], keys[a]) : try interpreter.isLess(keys[a], keys[b])
    }
    return try interpreter.list(try order.map { try dict.entry($0, .items) })
  }

  private static let sort: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("sort", ["reverse", "case_sensitive", "attribute"])
    let isCaseSensitive = values[1]?.isTrue ?? false
    var attributes: [Attribute]
    if case .text(let paths)? = values[2] {
      attributes = try paths.split(",").map { try Attribute(.text($0)) }
    } else {
      attributes = [try Attribute(values[2] ?? .none)]
    }
    let items = try interpreter.items(value)
    let keys = try items.map { item in
      Value.list(
        try List(attributes.map { comparable(try $0.value(of: item, interpreter), isCaseSensitive) }))
    }
    let isReversed = values[0]?.isTrue ?? false
    let order = try interpreter.sorted(Array(items.indices)) { a, b in
      isReversed ? try interpreter.isLess(keys[b], keys[a]) : try interpreter.isLess(keys[a], keys[b])
    }
    return try interpreter.list(order.map { items[$0] })
  }

  private static func extreme(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments, _ name: String,
    _ isBetter: (Interpreter, Value, Value) throws -> Bool
  ) throws -> Value {
    let values = try arguments.bound(name, ["case_sensitive", "attribute"])
    let attribute = try Attribute(values[1] ?? .none)
    let isCaseSensitive = values[0]?.isTrue ?? false
    var best: (item: Value, key: Value)?
    for item in try interpreter.items(value) {
      let key = comparable(try attribute.value(of: item, interpreter), isCaseSensitive)
      if let current = best, !(try isBetter(interpreter, key, current.key)) { continue }
      best = (item, key)
    }
    return best?.item ?? .undefined(Undefined("no aggregated item, sequence was empty"))
  }
}
