/// Looking for text in text, and text of a wanted width.
extension StringMethods {
  static func search(
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

  static func found(_ index: Int?) throws -> Value {
    guard let index else { throw TemplateError.raised("substring not found") }
    return .int(index)
  }

  static let count: Method = { interpreter, value, arguments in
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

  static func partition(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments, last: Bool
  ) throws -> Value {
    let text = try text(value)
    let separator = try textArgument(arguments.positional(last ? "rpartition" : "partition", 1...1)[0])
    guard !separator.isEmpty else { throw TemplateError.raised("empty separator") }
    try interpreter.budget.take(bytes: text.utf8.count)
    let empty = Text([], isMarkup: text.isMarkup)
    guard let found = last ? text.findLast(separator) : text.find(separator) else {
      return try interpreter.tuple((last ? [empty, empty, text] : [text, empty, empty]).map(Value.text))
    }
    let after = found + separator.utf8.count
    return try interpreter.tuple(
      [text.bytes(0..<found), text.bytes(found..<after), text.bytes(after..<text.utf8.count)].map(Value.text))
  }

  static func pad(
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
    try interpreter.budget.take(bytes: text.utf8.count)
    let width = max(0, min(width, .max / 2))
    let missing = max(0, width - text.count)
    // As Python does it: an odd space goes to the left of an odd width.
    let left = name == "center" ? missing / 2 + (missing & width & 1) : name == "rjust" ? missing : 0
    let (before, after) = (try interpreter.repeated(fill, left), try interpreter.repeated(fill, missing - left))
    return Text(before.utf8 + text.utf8 + after.utf8, isMarkup: text.isMarkup)
  }

  static let zeroFill: Method = { interpreter, value, arguments in
    let text = try text(value)
    let width = try integer(arguments.positional("zfill", 1...1)[0])
    try interpreter.budget.take(bytes: text.utf8.count)
    let zeros = try interpreter.repeated("0", max(0, max(0, min(width, .max / 2)) - text.count))
    let hasSign = text.utf8.first == UInt8(ascii: "+") || text.utf8.first == UInt8(ascii: "-")
    let sign = hasSign ? 1 : 0
    return .text(Text(Array(text.utf8[..<sign]) + zeros.utf8 + text.utf8[sign...], isMarkup: text.isMarkup))
  }

  static let expandTabs: Method = { interpreter, value, arguments in
    let size = try arguments.bound("expandtabs", ["tabsize"])[0].map(integer) ?? 8
    let text = try text(value)
    try interpreter.budget.take(bytes: text.utf8.count)
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
