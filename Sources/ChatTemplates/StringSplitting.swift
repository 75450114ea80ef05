/// Text cut into pieces.
extension StringMethods {
  static func split(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments, fromRight: Bool
  ) throws -> Value {
    let values = try arguments.bound(fromRight ? "rsplit" : "split", ["sep", "maxsplit"])
    let text = try text(value)
    let most = try values[1].map(integer) ?? -1
    let limit = most < 0 ? Int.max : most
    try interpreter.budget.take(bytes: text.utf8.count)
    var pieces: [Text]
    if let separator = values[0], !separator.isNone {
      let separator = try textArgument(separator)
      guard !separator.isEmpty else { throw TemplateError.raised("empty separator") }
      pieces = fromRight ? splitFromRight(text, separator, limit) : text.split(separator, limit: limit)
    } else {
      pieces = words(text, limit, fromRight: fromRight)
    }
    return try interpreter.list(pieces.map(Value.text))
  }

  private static func splitFromRight(_ text: Text, _ separator: Text, _ limit: Int) -> [Text] {
    var (pieces, end) = ([Text](), text.utf8.count)
    while pieces.count < limit, let found = text.findLast(separator, to: end) {
      pieces.append(text.bytes(found + separator.utf8.count..<end))
      end = found
    }
    pieces.append(text.bytes(0..<end))
    return pieces.reversed()
  }

  /// Words between spaces.
  static func words(_ text: Text, _ limit: Int = .max, fromRight: Bool = false) -> [Text] {
    var ranges: [Range<Int>] = []
    var (at, start) = (0, Int?.none)
    while at < text.utf8.count {
      let (scalar, width) = text.scalar(at: at)
      if scalar.isSpace {
        if let begin = start { ranges.append(begin..<at) }
        start = nil
      } else if start == nil {
        start = at
      }
      at += width
    }
    if let start { ranges.append(start..<text.utf8.count) }
    guard ranges.count > limit else { return ranges.map(text.bytes) }
    if fromRight {
      let rest = text.bytes(0..<ranges[ranges.count - limit - 1].upperBound)
      return [rest] + ranges.suffix(limit).map(text.bytes)
    }
    let rest = text.bytes(ranges[limit].lowerBound..<text.utf8.count)
    return ranges.prefix(limit).map(text.bytes) + [rest]
  }

  static let splitLines: Method = { interpreter, value, arguments in
    let keeps = try arguments.bound("splitlines", ["keepends"])[0]?.isTrue ?? false
    try interpreter.budget.take(bytes: try text(value).utf8.count)
    let lines = try StringMethods.lines(try text(value), keepingEnds: keeps)
    return try interpreter.list(lines.map(Value.text))
  }

  static func lines(_ text: Text, keepingEnds: Bool = false) throws -> [Text] {
    var lines: [Text] = []
    var (at, start) = (0, 0)
    while at < text.utf8.count {
      let (scalar, width) = text.scalar(at: at)
      guard scalar.isLineBreak else {
        at += width
        continue
      }
      var next = at + width
      if scalar == "\r", next < text.utf8.count, text.utf8[next] == 0x0A { next += 1 }
      lines.append(text.bytes(start..<(keepingEnds ? next : at)))
      (at, start) = (next, next)
    }
    if start < text.utf8.count { lines.append(text.bytes(start..<text.utf8.count)) }
    return lines
  }
}
