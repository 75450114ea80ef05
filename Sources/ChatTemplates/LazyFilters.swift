/// Filters that give out values one by one, as they are asked for.
extension SequenceFilters {
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

  static let map: Filter = { interpreter, value, arguments in
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

  static func select(
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

  static let batch: Filter = { interpreter, value, arguments in
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

  static let slice: Filter = { interpreter, value, arguments in
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

  static let groupBy: Filter = { interpreter, value, arguments in
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

  static let unique: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("unique", ["case_sensitive", "attribute"])
    let attribute = try Attribute(values[1] ?? .none)
    let isCaseSensitive = values[0]?.isTrue ?? false
    let iteration = Lazily { try Iteration.over(value) }
    var seen: Set<Key> = []
    return .iterator(
      try Iteration(over: [value]) { [unowned interpreter] in
        while let item = try iteration.value().next() {
          try interpreter.budget.take(entries: 1)
          let key = comparable(try attribute.value(of: item, interpreter), isCaseSensitive)
          try interpreter.scanKey(key)
          if case .text(let text) = key { try interpreter.budget.take(bytes: text.utf8.count) }
          if seen.insert(try Key(key)).inserted {
            return item
          }
        }
        return nil
      })
  }
}
