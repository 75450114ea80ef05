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
  private static func comparable(_ value: Value, _ isCaseSensitive: Bool) -> Value {
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

  private static let unique: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("unique", ["case_sensitive", "attribute"])
    let attribute = try Attribute(values[1] ?? .none)
    let isCaseSensitive = values[0]?.isTrue ?? false
    let iteration = Lazily { try Iteration.over(value) }
    var seen: Set<Key> = []
    return .iterator(
      try Iteration(over: [value]) { [unowned interpreter] in
        while let item = try iteration.value().next() {
          try interpreter.budget.take(entries: 1)
          if seen.insert(try Key(comparable(try attribute.value(of: item, interpreter), isCaseSensitive))).inserted {
            return item
          }
        }
        return nil
      })
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

  /// What a generator makes once it is asked for its first value.
  final class Lazily<Made> {
    private var made: Made?
    private let make: () throws -> Made
    init(_ make: @escaping () throws -> Made) { self.make = make }
    func value() throws -> Made {
      if let made { return made }
      let value = try make()
      made = value
      return value
    }
  }

  private static let map: Filter = { interpreter, value, arguments in
    let change = Lazily<(Value) throws -> Value> { [unowned interpreter] in
      var rest = arguments
      if rest.positional.isEmpty, let path = rest.take("attribute") {
        let other = rest.take("default")
        if let unknown = rest.named.first {
          throw TemplateError.raised("map() got an unexpected keyword argument '\(unknown.name.string)'")
        }
        let attribute = try Attribute(path)
        return { try attribute.value(of: $0, interpreter, default: other) }
      }
      guard let name = rest.positional.first else { throw TemplateError.raised("map requires a filter argument") }
      rest.positional.removeFirst()
      guard case .text(let name) = name, let filter = all(name.string) else {
        throw TemplateError.raised("there is no filter '\(try interpreter.str(name).string)'")
      }
      return { [rest] in try filter(interpreter, $0, rest) }
    }
    let iteration = Lazily { try Iteration.over(value) }
    return .iterator(
      try Iteration(over: [value] + arguments.positional) { [unowned interpreter] in
        guard value.isTrue else { return nil }
        let change = try change.value()
        try interpreter.budget.step()
        return try iteration.value().next().map(change)
      })
  }

  private static func all(_ name: String) -> Filter? { Filters.all[name] }

  private static func select(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments, byAttribute: Bool, isWanted: Bool
  ) throws -> Value {
    let condition = Lazily<(Value) throws -> Bool> { [unowned interpreter] in
      var rest = arguments
      var attribute = try Attribute(.none)
      if byAttribute {
        guard let path = rest.positional.first else {
          throw TemplateError.raised("missing parameter for attribute name")
        }
        attribute = try Attribute(path)
        rest.positional.removeFirst()
      }
      guard let name = rest.positional.first else {
        return { [attribute] in try attribute.value(of: $0, interpreter).isTrue }
      }
      rest.positional.removeFirst()
      return { [attribute, rest] in
        // An unknown test is found out by the first value that asks for it.
        guard case .text(let name) = name, let test = Tests.all[name.string] else {
          throw TemplateError.raised("there is no test '\(try interpreter.str(name).string)'")
        }
        return try test(interpreter, try attribute.value(of: $0, interpreter), rest)
      }
    }
    let iteration = Lazily { try Iteration.over(value) }
    return .iterator(
      try Iteration(over: [value] + arguments.positional) { [unowned interpreter] in
        guard value.isTrue else { return nil }
        let condition = try condition.value()
        while let item = try iteration.value().next() {
          try interpreter.budget.step()
          if try condition(item) == isWanted { return item }
        }
        return nil
      })
  }

  private static let batch: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("batch", ["linecount", "fill_with"], required: 1)
    let count = values[0] ?? .none
    let fill = values[1].flatMap { $0.isNone ? nil : $0 }
    let iteration = Lazily { try Iteration.over(value) }
    var (pending, isOver) = ([Value](), false)
    return .iterator(
      try Iteration(over: [value]) { [unowned interpreter] in
        while !isOver {
          guard let item = try iteration.value().next() else {
            isOver = true
            guard !pending.isEmpty else { return nil }
            if let fill, let size = count.int, pending.count < size {
              try interpreter.budget.take(entries: size)
              pending += Array(repeating: fill, count: size - pending.count)
            }
            return try interpreter.list(pending)
          }
          if try interpreter.isEqual(.int(pending.count), count) {
            let full = pending
            pending = [item]
            return try interpreter.list(full)
          }
          pending.append(item)
          try interpreter.budget.step()
        }
        return nil
      })
  }

  private static let slice: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("slice", ["slices", "fill_with"], required: 1)
    let count = try StringMethods.integer(values[0] ?? .none)
    let fill = values[1].flatMap { $0.isNone ? nil : $0 }
    let items = try interpreter.items(value)
    guard count != 0 else { throw TemplateError.raised("integer division or modulo by zero") }
    var (number, offset) = (0, 0)
    return .iterator(
      try Iteration(over: [value]) { [unowned interpreter] in
        guard number < count else { return nil }
        let (size, extra) = (items.count / count, items.count % count)
        let start = offset + number * size
        if number < extra { offset += 1 }
        var part = Array(items[start..<(offset + (number + 1) * size)])
        if let fill, number >= extra { part.append(fill) }
        number += 1
        return try interpreter.list(part)
      })
  }

  private static let groupBy: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("groupby", ["attribute", "default", "case_sensitive"], required: 1)
    let attribute = try Attribute(values[0] ?? .none)
    let isCaseSensitive = values[2]?.isTrue ?? false
    let items = try interpreter.items(value)
    let names = try items.map { try attribute.value(of: $0, interpreter, default: values[1]) }
    let keys = names.map { comparable($0, isCaseSensitive) }
    let order = try interpreter.sorted(Array(items.indices)) { try interpreter.isLess(keys[$0], keys[$1]) }
    var groups: [(first: Int, items: [Value])] = []
    for index in order {
      if let last = groups.last, try interpreter.isEqual(keys[last.first], keys[index]) {
        groups[groups.count - 1].items.append(items[index])
      } else {
        groups.append((index, [items[index]]))
      }
    }
    return try interpreter.list(
      try groups.map { group in try interpreter.tuple([names[group.first], try interpreter.list(group.items)]) })
  }
}
