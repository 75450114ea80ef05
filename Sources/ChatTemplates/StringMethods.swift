typealias Method = @Sendable (Interpreter, Value, Arguments) throws -> Value

/// Python's methods of strings.
enum StringMethods {
  static let all: [Text: Method] = [
    "upper": plain("upper") { $0.uppercased() },
    "lower": plain("lower") { $0.lowercased() },
    "casefold": plain("casefold") { $0.caseFolded() },
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
      try interpreter.budget.take(bytes: text.utf8.count)
      return .text(text.hasPrefix(prefix) ? text.bytes(prefix.utf8.count..<text.utf8.count) : text)
    },
    "removesuffix": { interpreter, value, arguments in
      let (text, suffix) = (
        try StringMethods.text(value), try textArgument(arguments.positional("removesuffix", 1...1)[0])
      )
      try interpreter.budget.take(bytes: text.utf8.count)
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
    "isprintable": { interpreter, value, arguments in
      _ = try arguments.positional("isprintable", 0...0)
      try interpreter.budget.take(bytes: try text(value).utf8.count)
      return .bool(try text(value).scalars.allSatisfy(\.isPrintable))
    },
    "islower": { interpreter, value, arguments in
      _ = try arguments.positional("islower", 0...0)
      try interpreter.budget.take(bytes: try text(value).utf8.count)
      return .bool(try text(value).isLower)
    },
    "isupper": { interpreter, value, arguments in
      _ = try arguments.positional("isupper", 0...0)
      try interpreter.budget.take(bytes: try text(value).utf8.count)
      return .bool(try text(value).isUpper)
    },
    "istitle": { interpreter, value, arguments in
      _ = try arguments.positional("istitle", 0...0)
      try interpreter.budget.take(bytes: try text(value).utf8.count)
      return .bool(try text(value).isTitle)
    },
    "isidentifier": { interpreter, value, arguments in
      _ = try arguments.positional("isidentifier", 0...0)
      try interpreter.budget.take(bytes: try text(value).utf8.count)
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

  private static let withoutBytes: Method = { _, _, _ in
    throw TemplateError.raised("bytes and tables of characters are not supported in templates")
  }

  /// Start and end in scalars as offsets in bytes; nil where the start is past the text.
  static func bounds(_ text: Text, _ start: Value?, _ end: Value?) throws -> Range<Int>? {
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
    try interpreter.budget.scan(bytes: text.utf8.count)
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
    try interpreter.budget.scan(bytes: text.utf8.count)
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
}
