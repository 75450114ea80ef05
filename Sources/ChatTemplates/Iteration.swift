/// One walk over values.
final class Iteration {
  enum Source {
    case list(List)
    case reversedList(List)
    case dict(Dict, Dict.Part)
    case text(Text)
    case range(Span)
    case computed(() throws -> Value?)
  }

  private let source: Source
  /// The next index, or the next offset in bytes.
  private var at = 0
  private var isOver = false
  let depth: Int

  private init(_ source: Source, depth: Int) {
    self.source = source
    self.depth = depth
  }

  convenience init(list: List) { self.init(.list(list), depth: list.depth) }
  convenience init(reversed list: List) { self.init(.reversedList(list), depth: list.depth) }

  /// A generator.
  ///
  /// - Parameter values: what it holds on to.
  convenience init(over values: [Value] = [], _ next: @escaping () throws -> Value?) throws {
    self.init(.computed(next), depth: try List.depth(above: values))
  }

  /// A walk over any value that Python can walk over.
  ///
  /// - Throws: `TemplateError` where it cannot.
  static func over(_ value: Value) throws -> Iteration {
    switch value {
    case .list(let list), .tuple(let list): Iteration(list: list)
    case .dict(let dict): Iteration(.dict(dict, .keys), depth: dict.depth)
    case .view(let dict, let part): Iteration(.dict(dict, part), depth: dict.depth)
    case .text(let text): Iteration(.text(text), depth: 0)
    case .range(let span): Iteration(.range(span), depth: 0)
    case .iterator(let iteration): iteration
    case .loop(let loop):
      try Iteration(over: [value]) { try loop.advance().map { .tuple(try List([$0, .loop(loop)])) } }
    case .undefined: try Iteration { nil }
    default: throw TemplateError.raised("'\(value.type)' object is not iterable")
    }
  }

  /// The next value; nil after the last.
  func next() throws -> Value? {
    switch source {
    case .list(let list):
      guard at < list.items.count else { return nil }
      at += 1
      return list.items[at - 1]
    case .reversedList(let list):
      guard at < list.items.count else { return nil }
      at += 1
      return list.items[list.items.count - at]
    case .dict(let dict, let part):
      guard at < dict.count else { return nil }
      at += 1
      return try dict.entry(at - 1, part)
    case .range(let span):
      guard at < span.count else { return nil }
      at += 1
      return .int(span[at - 1])
    case .text(let text):
      guard at < text.utf8.count else { return nil }
      var end = at + 1
      while end < text.utf8.count, text.utf8[end] & 0xC0 == 0x80 { end += 1 }
      defer { at = end }
      return .text(text.bytes(at..<end).marked(false))
    case .computed(let compute):
      guard !isOver else { return nil }
      // A generator that raised is over.
      isOver = true
      guard let value = try compute() else { return nil }
      isOver = false
      return value
    }
  }
}

extension Interpreter {
  /// All values of a walk.
  func items(_ value: Value) throws -> [Value] {
    switch value {
    case .list(let list), .tuple(let list): return list.items
    default:
      let iteration = try Iteration.over(value)
      var items: [Value] = []
      while let item = try iteration.next() {
        try budget.take(entries: 1)
        items.append(item)
      }
      return items
    }
  }

  /// Python's `list(value)`.
  func list(_ items: [Value]) throws -> Value {
    try budget.take(entries: items.count)
    return .list(try List(items))
  }

  func tuple(_ items: [Value]) throws -> Value {
    try budget.take(entries: items.count)
    return .tuple(try List(items))
  }

  /// Python's `len`.
  func length(_ value: Value) throws -> Int {
    switch value {
    case .undefined: return 0
    case .text(let text):
      if !text.isASCII { try budget.scan(bytes: text.utf8.count) }
      return text.count
    case .list(let list), .tuple(let list): return list.items.count
    case .dict(let dict), .view(let dict, _): return dict.count
    case .range(let span): return span.count
    case .loop(let loop): return try loop.count(self)
    default: throw TemplateError.raised("object of type '\(value.type)' has no len()")
    }
  }
}
