typealias Method = @Sendable (Interpreter, Value, Arguments) throws -> Value

/// Python's methods of strings.
enum StringMethods {
  static let all: [Text: Method] = [
    "upper": plain("upper") { $0.uppercased() },
    "lower": plain("lower") { $0.lowercased() },
    "casefold": plain("casefold") { $0.lowercased() },
    "capitalize": plain("capitalize") { $0.capitalized() },
    "title": plain("title") { $0.titled() },
    "swapcase": plain("swapcase") { $0.caseSwapped() },
    "strip": strip("strip", left: true, right: true),
    "lstrip": strip("lstrip", left: true, right: false),
    "rstrip": strip("rstrip", left: false, right: true),
    "split": { try split($0, $1, $2, fromRight: false) },
    "rsplit": { try split($0, $1, $2, fromRight: true) },
    "splitlines": splitLines,
    "startswith": { try affix($0, $1, $2, "startswith") { $0.hasPrefix($1) } },
    "endswith": { try affix($0, $1, $2, "endswith") { $0.hasSuffix($1) } },
    "replace": replace,
    "join": join,
    "find": { .int(try search($0, $1, $2, "find", last: false) ?? -1) },
    "rfind": { .int(try search($0, $1, $2, "rfind", last: true) ?? -1) },
    "index": { try found(try search($0, $1, $2, "index", last: false)) },
    "rindex": { try found(try search($0, $1, $2, "rindex", last: true)) },
    "count": count,
    "partition": { try partition($0, $1, $2, last: false) },
    "rpartition": { try partition($0, $1, $2, last: true) },
    "removeprefix": { interpreter, value, arguments in
      let (text, prefix) = (
        try StringMethods.text(value), try textArgument(arguments.positional("removeprefix", 1...1)[0])
      )
      return .text(text.hasPrefix(prefix) ? text.bytes(prefix.utf8.count..<text.utf8.count) : text)
    },
    "removesuffix": { interpreter, value, arguments in
      let (text, suffix) = (
        try StringMethods.text(value), try textArgument(arguments.positional("removesuffix", 1...1)[0])
      )
      return .text(text.hasSuffix(suffix) ? text.bytes(0..<text.utf8.count - suffix.utf8.count) : text)
    },
    "center": { try pad($0, $1, $2, "center") },
    "ljust": { try pad($0, $1, $2, "ljust") },
    "rjust": { try pad($0, $1, $2, "rjust") },
    "zfill": zeroFill,
    "expandtabs": expandTabs,
    "format": { interpreter, value, arguments in .text(try interpreter.format(try text(value), arguments)) },
    "format_map": { interpreter, value, arguments in
      guard case .dict(let dict) = try arguments.positional("format_map", 1...1)[0] else {
        throw TemplateError.raised("format_map() wants a mapping")
      }
      var named = Arguments()
      for (key, value) in zip(dict.keys, dict.values) { if let name = key.text { named.named.append((name, value)) } }
      return .text(try interpreter.format(try text(value), named))
    },
    "encode": withoutBytes, "translate": withoutBytes, "maketrans": withoutBytes,
    "isspace": question("isspace") { $0.isSpace },
    "isalpha": question("isalpha") { $0.isAlpha },
    "isdigit": question("isdigit") { $0.isDigit },
    "isdecimal": question("isdecimal") { $0.isDecimal },
    "isnumeric": question("isnumeric") { $0.isNumeric },
    "isalnum": question("isalnum") { $0.isAlphanumeric },
    "isascii": { _, value, arguments in
      _ = try arguments.positional("isascii", 0...0)
      return .bool(try text(value).isASCII)
    },
    "isprintable": { _, value, arguments in
      _ = try arguments.positional("isprintable", 0...0)
      return .bool(try text(value).scalars.allSatisfy(\.isPrintable))
    },
    "islower": { _, value, arguments in
      _ = try arguments.positional("islower", 0...0)
      return .bool(try text(value).isLower)
    },
    "isupper": { _, value, arguments in
      _ = try arguments.positional("isupper", 0...0)
      return .bool(try text(value).isUpper)
    },
    "istitle": { _, value, arguments in
      _ = try arguments.positional("istitle", 0...0)
      return .bool(try text(value).isTitle)
    },
    "isidentifier": { _, value, arguments in
      _ = try arguments.positional("isidentifier", 0...0)
      let scalars = try text(value).scalars
      return .bool(
        (scalars.first?.isIdentifierStart ?? false) && scalars.dropFirst().allSatisfy(\.isIdentifierPart))
    },
  ]

  static func text(_ value: Value) throws -> Text {
    guard case .text(let text) = value else { throw TemplateError.raised("a method of str on '\(value.type)'") }
    return text
  }

  static func textArgument(_ value: Value) throws -> Text {
    switch value {
    case .text(let text): return text
    case .undefined: throw TemplateError.raised("expected str, and the argument is undefined")
    default: throw TemplateError.raised("expected str, not \(value.type)")
    }
  }

  static func integer(_ value: Value) throws -> Int {
    switch value {
    case .big(let big): return big.isNegative ? .min : .max
    case .undefined(let undefined): throw undefined.error
    default:
      guard let int = value.int else {
        throw TemplateError.raised("'\(value.type)' object cannot be interpreted as an integer")
      }
      return int
    }
  }

  private static func plain(_ name: String, _ change: @escaping @Sendable (Text) -> Text) -> Method {
    { interpreter, value, arguments in
      _ = try arguments.positional(name, 0...0)
      let changed = change(try text(value))
      try interpreter.budget.take(bytes: changed.utf8.count * 4)
      return .text(changed)
    }
  }

  private static func question(_ name: String, _ holds: @escaping @Sendable (Unicode.Scalar) -> Bool) -> Method {
    { interpreter, value, arguments in
      _ = try arguments.positional(name, 0...0)
      let text = try text(value)
      try interpreter.budget.step(text.utf8.count >> 4)
      return .bool(!text.isEmpty && text.scalars.allSatisfy(holds))
    }
  }

  private static func strip(_ name: String, left: Bool, right: Bool) -> Method {
    { interpreter, value, arguments in
      let values = try arguments.positional(name, 0...1)
      return .text(try stripped(interpreter, try text(value), values.first, left: left, right: right))
    }
  }

  static func stripped(
    _ interpreter: Interpreter, _ text: Text, _ characters: Value?, left: Bool = true, right: Bool = true
  ) throws -> Text {
    let result: Text
    if let characters, !characters.isNone {
      guard case .text(let set) = characters else {
        throw TemplateError.raised("strip arg must be None or str, not \(characters.type)")
      }
      let scalars = Set(set.scalars)
      result = text.stripped(left: left, right: right) { scalars.contains($0) }
    } else {
      result = text.stripped(left: left, right: right) { $0.isSpace }
    }
    try interpreter.budget.take(bytes: text.utf8.count)
    return result
  }

  private static func split(
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

  private static let withoutBytes: Method = { _, _, _ in
    throw TemplateError.raised("bytes and tables of characters are not supported in templates")
  }

  private static let splitLines: Method = { interpreter, value, arguments in
    let keeps = try arguments.bound("splitlines", ["keepends"])[0]?.isTrue ?? false
    let lines = try StringMethods.lines(try text(value), keepingEnds: keeps)
    try interpreter.budget.take(bytes: try text(value).utf8.count)
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

  /// Start and end in scalars as offsets in bytes; nil where the start is past the text.
  private static func bounds(_ text: Text, _ start: Value?, _ end: Value?) throws -> Range<Int>? {
    let count = text.count
    func bound(_ value: Value?, _ otherwise: Int) throws -> Int {
      guard let value, !value.isNone else { return otherwise }
      let int = try integer(value)
      return int < 0 ? max(0, int + count) : int
    }
    let (first, last) = (try bound(start, 0), min(count, try bound(end, count)))
    guard first <= last else { return nil }
    return text.offset(of: first)..<text.offset(of: last)
  }

  private static func affix(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments, _ name: String,
    _ holds: (Text, Text) -> Bool
  ) throws -> Value {
    let values = try arguments.positional(name, 1...3)
    var text = try text(value)
    if values.count > 1 {
      guard let range = try bounds(text, values[1], values.count > 2 ? values[2] : nil) else { return .bool(false) }
      text = text.bytes(range)
    }
    switch values[0] {
    case .text(let affix): return .bool(holds(text, affix))
    case .tuple(let affixes):
      for affix in affixes.items where holds(text, try textArgument(affix)) { return .bool(true) }
      return .bool(false)
    default:
      throw TemplateError.raised("\(name) first arg must be str or a tuple of str, not \(values[0].type)")
    }
  }

  private static let replace: Method = { interpreter, value, arguments in
    let values = try arguments.positional("replace", 2...3)
    let count = values.count > 2 ? try integer(values[2]) : -1
    let text = try text(value)
    let new = try textArgument(values[1])
    return .text(
      try replaced(interpreter, text, try textArgument(values[0]), text.isMarkup ? new.escaped() : new, count))
  }

  static func replaced(_ interpreter: Interpreter, _ text: Text, _ old: Text, _ new: Text, _ count: Int) throws -> Text
  {
    let limit = count < 0 ? Int.max : count
    var out: [UInt8] = []
    var (start, done) = (0, 0)
    if old.isEmpty {
      // Before every character and at the end.
      while done < limit {
        out += new.utf8
        try interpreter.budget.take(bytes: new.utf8.count + 1)
        done += 1
        guard start < text.utf8.count else { break }
        let width = text.scalar(at: start).width
        out += text.utf8[start..<start + width]
        start += width
      }
      if start < text.utf8.count { out += text.utf8[start...] }
      return Text(out, isMarkup: text.isMarkup)
    }
    while done < limit, let found = text.find(old, from: start) {
      try interpreter.budget.take(bytes: found - start + new.utf8.count + 16)
      out += text.utf8[start..<found]
      out += new.utf8
      start = found + old.utf8.count
      done += 1
      if out.count > Budget.maximumValue { try interpreter.budget.take(bytes: out.count) }
    }
    if done == 0 { return text }
    out += text.utf8[start...]
    try interpreter.budget.take(bytes: out.count)
    return Text(out, isMarkup: text.isMarkup)
  }

  private static let join: Method = { interpreter, value, arguments in
    let separator = try text(value)
    var out: [UInt8] = []
    for (index, item) in try interpreter.items(try arguments.positional("join", 1...1)[0]).enumerated() {
      guard case .text(let text) = item else {
        throw TemplateError.raised("sequence item \(index): expected str instance, \(item.type) found")
      }
      if index > 0 { out += separator.utf8 }
      out += separator.isMarkup ? text.escaped().utf8 : text.utf8
      try interpreter.budget.take(bytes: separator.utf8.count + text.utf8.count)
      if out.count > Budget.maximumValue { try interpreter.budget.take(bytes: out.count) }
    }
    return .text(Text(out, isMarkup: separator.isMarkup))
  }

  private static func search(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments, _ name: String, last: Bool
  ) throws -> Int? {
    let values = try arguments.positional(name, 1...3)
    let text = try text(value)
    let part = try textArgument(values[0])
    try interpreter.budget.step(text.utf8.count >> 4)
    let (start, end) = (values.count > 1 ? values[1] : nil, values.count > 2 ? values[2] : nil)
    guard let range = try bounds(text, start, end) else { return nil }
    let found =
      last
      ? text.findLast(part, from: range.lowerBound, to: range.upperBound)
      : text.find(part, from: range.lowerBound, to: range.upperBound)
    return found.map(text.index(atOffset:))
  }

  private static func found(_ index: Int?) throws -> Value {
    guard let index else { throw TemplateError.raised("substring not found") }
    return .int(index)
  }

  private static let count: Method = { interpreter, value, arguments in
    let values = try arguments.positional("count", 1...3)
    let text = try text(value)
    let part = try textArgument(values[0])
    let (start, end) = (values.count > 1 ? values[1] : nil, values.count > 2 ? values[2] : nil)
    guard let range = try bounds(text, start, end) else { return .int(0) }
    try interpreter.budget.step(text.utf8.count >> 4)
    if part.isEmpty { return .int(text.bytes(range).count + 1) }
    var (count, at) = (0, range.lowerBound)
    while let found = text.find(part, from: at, to: range.upperBound) {
      count += 1
      at = found + part.utf8.count
    }
    return .int(count)
  }

  private static func partition(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments, last: Bool
  ) throws -> Value {
    let text = try text(value)
    let separator = try textArgument(arguments.positional(last ? "rpartition" : "partition", 1...1)[0])
    guard !separator.isEmpty else { throw TemplateError.raised("empty separator") }
    let empty = Text([], isMarkup: text.isMarkup)
    guard let found = last ? text.findLast(separator) : text.find(separator) else {
      return try interpreter.tuple((last ? [empty, empty, text] : [text, empty, empty]).map(Value.text))
    }
    let after = found + separator.utf8.count
    return try interpreter.tuple(
      [text.bytes(0..<found), text.bytes(found..<after), text.bytes(after..<text.utf8.count)].map(Value.text))
  }

  private static func pad(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments, _ name: String
  ) throws -> Value {
    let values = try arguments.positional(name, 1...2)
    var fill: Text = " "
    if values.count > 1 {
      fill = try textArgument(values[1])
      guard fill.count == 1 else { throw TemplateError.raised("the fill character must be exactly one character long") }
    }
    return .text(try padded(interpreter, try text(value), try integer(values[0]), fill, name))
  }

  static func padded(
    _ interpreter: Interpreter, _ text: Text, _ width: Int, _ fill: Text, _ name: String
  ) throws -> Text {
    let missing = max(0, min(width, .max / 2) - text.count)
    // As Python does it: an odd space goes to the left of an odd width.
    let left = name == "center" ? missing / 2 + (missing & min(width, .max / 2) & 1) : name == "rjust" ? missing : 0
    let (before, after) = (try interpreter.repeated(fill, left), try interpreter.repeated(fill, missing - left))
    return Text(before.utf8 + text.utf8 + after.utf8, isMarkup: text.isMarkup)
  }

  private static let zeroFill: Method = { interpreter, value, arguments in
    let text = try text(value)
    let width = try integer(arguments.positional("zfill", 1...1)[0])
    let zeros = try interpreter.repeated("0", max(0, min(width, .max / 2) - text.count))
    let hasSign = text.utf8.first == UInt8(ascii: "+") || text.utf8.first == UInt8(ascii: "-")
    let sign = hasSign ? 1 : 0
    return .text(Text(Array(text.utf8[..<sign]) + zeros.utf8 + text.utf8[sign...], isMarkup: text.isMarkup))
  }

  private static let expandTabs: Method = { interpreter, value, arguments in
    let size = try arguments.bound("expandtabs", ["tabsize"])[0].map(integer) ?? 8
    let text = try text(value)
    var (out, column) = ([UInt8](), 0)
    for scalar in text.scalars {
      if scalar == "\t" {
        let spaces = size > 0 ? size - column % size : 0
        out += try interpreter.repeated(" ", spaces).utf8
        column += spaces
      } else {
        out.append(scalar: scalar)
        column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
      }
    }
    try interpreter.budget.take(bytes: out.count)
    return .text(Text(out, isMarkup: text.isMarkup))
  }
}

extension Text {
  var isLower: Bool {
    var hasCase = false
    for scalar in scalars {
      if scalar.isUpper || scalar.isTitle { return false }
      if scalar.isLower { hasCase = true }
    }
    return hasCase
  }

  var isUpper: Bool {
    var hasCase = false
    for scalar in scalars {
      if scalar.isLower || scalar.isTitle { return false }
      if scalar.isUpper { hasCase = true }
    }
    return hasCase
  }

  fileprivate var isTitle: Bool {
    var (hasCase, isInWord) = (false, false)
    for scalar in scalars {
      if scalar.isUpper || scalar.isTitle {
        if isInWord { return false }
        (hasCase, isInWord) = (true, true)
      } else if scalar.isLower {
        if !isInWord { return false }
        hasCase = true
      } else {
        isInWord = false
      }
    }
    return hasCase
  }

  /// What `escape` makes of it: safe to stand in HTML. Markup is that already.
  func escaped() -> Text {
    if isMarkup { return self }
    var out: [UInt8] = []
    out.reserveCapacity(utf8.count)
    for byte in utf8 {
      switch byte {
      case UInt8(ascii: "&"): out += "&amp;".utf8
      case UInt8(ascii: "<"): out += "&lt;".utf8
      case UInt8(ascii: ">"): out += "&gt;".utf8
      case UInt8(ascii: "'"): out += "&#39;".utf8
      case UInt8(ascii: "\""): out += "&#34;".utf8
      default: out.append(byte)
      }
    }
    return Text(out, isMarkup: true)
  }
}
