/// Python's comparisons.
extension Interpreter {
  func holds(_ a: Value, _ operation: ComparisonOperator, _ b: Value) throws -> Bool {
    switch operation {
    case .equal: try isEqual(a, b)
    case .unequal: !(try isEqual(a, b))
    case .less: try isLess(a, b)
    case .lessEqual: try isLess(a, b, orEqual: true)
    case .greater: try isLess(b, a, symbol: ">", (a, b))
    case .greaterEqual: try isLess(b, a, orEqual: true, symbol: ">=", (a, b))
    case .isIn: try contains(b, a)
    case .isNotIn: !(try contains(b, a))
    }
  }

  func isEqual(_ a: Value, _ b: Value) throws -> Bool {
    try budget.step()
    switch (a, b) {
    case (.text(let a), .text(let b)):
      if a.utf8.count == b.utf8.count { try budget.scan(bytes: a.utf8.count) }
      return a == b
    case (.int(let a), .int(let b)): return a == b
    case (.none, .none), (.undefined, .undefined): return true
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)): return try isEqual(a, b)
    case (.dict(let a), .dict(let b)):
      if a === b { return true }
      guard a.count == b.count else { return false }
      for (key, value) in zip(a.keys, a.values) {
        guard let other = try b.value(of: key), try isSame(value, other) else { return false }
      }
      return true
    case (.view(let a, let part), .view(let b, let other)):
      if case .values = part { return a === b && other == .values }
      guard part == other, a.count == b.count else { return false }
      for index in 0..<a.count where !(try contains(.view(b, part), try a.entry(index, part))) { return false }
      return true
    case (.range(let a), .range(let b)):
      return a.count == b.count && (a.count == 0 || a.start == b.start && (a.count == 1 || a.step == b.step))
    case (.namespace(let a), .namespace(let b)): return a === b
    case (.macro(let a), .macro(let b)): return a === b
    case (.loop(let a), .loop(let b)): return a === b
    case (.iterator(let a), .iterator(let b)): return a === b
    case (.function(let a), .function(let b)): return a === b
    default: break
    }
    if let a = a.int, let b = b.int { return a == b }
    if let a = a.bigInt, let b = b.bigInt { return a == b }
    guard let x = a.double, let y = b.double else { return false }
    guard a.bigInt != nil || b.bigInt != nil else { return x == y }
    // An integer and a float: exactly, as Python has it.
    return try Key(a) == Key(b)
  }

  private func isEqual(_ a: List, _ b: List) throws -> Bool {
    if a === b { return true }
    guard a.items.count == b.items.count else { return false }
    for (a, b) in zip(a.items, b.items) where !(try isSame(a, b)) { return false }
    return true
  }

  /// Equal or the very same, as containers ask: a NaN is not equal to itself, but found.
  private func isSame(_ a: Value, _ b: Value) throws -> Bool { try isEqual(a, b) }

  /// - Parameter shown: the operands as the template has them, for the message.
  func isLess(
    _ a: Value, _ b: Value, orEqual: Bool = false, symbol: String? = nil, _ shown: (Value, Value)? = nil
  ) throws -> Bool {
    try budget.step()
    switch (a, b) {
    case (.undefined(let undefined), _), (_, .undefined(let undefined)): throw undefined.error
    case (.text(let a), .text(let b)):
      try budget.scan(bytes: min(a.utf8.count, b.utf8.count))
      return orEqual ? !b.isBefore(a) : a.isBefore(b)
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      for (x, y) in zip(a.items, b.items) where !(try isSame(x, y)) { return try isLess(x, y, orEqual: orEqual) }
      return orEqual ? a.items.count <= b.items.count : a.items.count < b.items.count
    default: break
    }
    if let a = a.int, let b = b.int { return orEqual ? a <= b : a < b }
    if let a = a.bigInt, let b = b.bigInt { return orEqual ? !(b < a) : a < b }
    if let x = a.double, let y = b.double { return orEqual ? x <= y : x < y }
    let (left, right) = shown ?? (a, b)
    throw TemplateError.raised(
      "'\(symbol ?? (orEqual ? "<=" : "<"))' not supported between instances of '\(left.type)' and '\(right.type)'")
  }

  /// Python's `value in container`.
  func contains(_ container: Value, _ value: Value) throws -> Bool {
    switch container {
    case .text(let text):
      guard case .text(let part) = value else {
        throw TemplateError.raised("'in <string>' requires string as left operand, not \(value.type)")
      }
      try budget.scan(bytes: text.utf8.count)
      return text.contains(part)
    case .dict(let dict), .view(let dict, .keys):
      try scanKey(value)
      return try dict.value(of: value) != nil
    case .range(let span):
      if let number = value.int {
        guard span.count > 0 else { return false }
        let last = span[span.count - 1]
        let (low, high) = (min(span.start, last), max(span.start, last))
        guard number >= low, number <= high else { return false }
        let (distance, overflow) = number.subtractingReportingOverflow(span.start)
        if !overflow { return distance.remainderReportingOverflow(dividingBy: span.step).partialValue == 0 }
      }
    case .none, .bool, .int, .big, .float, .namespace, .macro, .function:
      throw TemplateError.raised("argument of type '\(container.type)' is not iterable")
    default: break
    }
    let iteration = try Iteration.over(container)
    while let item = try iteration.next() {
      if try isSame(item, value) { return true }
    }
    return false
  }

  /// Counts the hash of a key.
  func scanKey(_ value: Value) throws { if case .text(let text) = value { try budget.scan(bytes: text.utf8.count) } }

  /// A stable sort, like Python's; the order may throw.
  func sorted<Element>(_ items: [Element], _ isBefore: (Element, Element) throws -> Bool) throws -> [Element] {
    try budget.take(entries: items.count)
    var (source, target) = (items, items)
    var width = 1
    while width < source.count {
      var start = 0
      while start < source.count {
        let middle = min(start + width, source.count)
        let end = min(middle + width, source.count)
        var (left, right, index) = (start, middle, start)
        while left < middle || right < end {
          try budget.step()
          let takesRight = try left >= middle || right < end && isBefore(source[right], source[left])
          target[index] = source[takesRight ? right : left]
          if takesRight { right += 1 } else { left += 1 }
          index += 1
        }
        start = end
      }
      swap(&source, &target)
      width *= 2
    }
    return source
  }
}
