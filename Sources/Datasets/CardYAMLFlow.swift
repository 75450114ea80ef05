/// Values in brackets, braces and quotes, which may go on over several lines.
struct CardYAMLFlow {
  typealias Failure = CardYAMLFailure

  private var whole: [Unicode.Scalar]
  private var at = 0
  // How far brackets and quotes were looked at, to know when the value is whole.
  private var looked = 0
  private var open = 0
  private var quote: Unicode.Scalar?
  // Blank lines since the last one with text.
  private var blank = 0

  init(text: Substring) { whole = Array(text.unicodeScalars) }

  /// Whether every bracket and quote is closed. Looks at each character once, however many lines are added.
  mutating func isWhole() -> Bool {
    while looked < whole.count {
      let scalar = whole[looked]
      if let mark = quote {
        if scalar == "\\", mark == "\"" { looked += 1 } else if scalar == mark { quote = nil }
      } else {
        switch scalar {
        case "[", "{": open += 1
        case "]", "}": open -= 1
        case "\"", "'": if startsValue(looked) { quote = scalar }
        default: break
        }
      }
      looked += 1
    }
    return quote == nil && open <= 0
  }

  /// Quotes in the middle of plain text are plain.
  private func startsValue(_ index: Int) -> Bool {
    var before = index - 1
    while before >= 0, whole[before] == " " { before -= 1 }
    return before < 0 || "[{,:'\"".unicodeScalars.contains(whole[before])
  }

  /// What comes after the value that was read.
  var rest: Substring {
    var text = String.UnicodeScalarView()
    text.append(contentsOf: whole[min(at, whole.count)...])
    return Substring(String(text))
  }

  /// Another line, folded into the text as YAML does it: a line's end is a space, blank lines are line feeds, and a
  /// backslash in double quotes joins two lines.
  mutating func extend(_ line: Substring) {
    let text = line.drop { $0 == " " || $0 == "\t" }
    if text.isEmpty {
      blank += 1
      return
    }
    let backslashes = whole.reversed().prefix { $0 == "\\" }.count
    if quote == "\"", backslashes % 2 == 1 {
      whole.removeLast()
    } else {
      while whole.last == " " || whole.last == "\t" { whole.removeLast() }
      if blank == 0 { whole.append(" ") }
    }
    looked = min(looked, whole.count)
    whole.append(contentsOf: repeatElement("\n", count: blank))
    blank = 0
    let isComment = quote == nil && text.first == "#"
    if !isComment { whole.append(contentsOf: text.unicodeScalars) }
  }

  /// The value from the start; nil where the text ends before it does.
  mutating func value(depth: Int, _ failure: (String) -> Failure) throws(Failure) -> CardYAML? {
    at = 0
    return try element(depth, failure)
  }

  private mutating func skipSpace() {
    while at < whole.count, " \t\n".unicodeScalars.contains(whole[at]) { at += 1 }
  }

  private mutating func element(_ depth: Int, _ failure: (String) -> Failure) throws(Failure) -> CardYAML? {
    guard depth <= CardYAML.maximumDepth else {
      throw failure("nested deeper than \(CardYAML.maximumDepth) levels")
    }
    skipSpace()
    guard at < whole.count else { return nil }
    switch whole[at] {
    case "[": return try list(depth, failure)
    case "{": return try map(depth, failure)
    case "\"", "'": return quoted().map { .quoted($0) }
    case "&", "*", "!": throw failure("anchors, aliases and tags are not read; write the value out")
    default:
      guard let text = plain() else { return nil }
      return ["~", "null", "Null", "NULL", ""].contains(text) ? .null : .plain(text)
    }
  }

  private mutating func list(_ depth: Int, _ failure: (String) -> Failure) throws(Failure) -> CardYAML? {
    at += 1
    var items: [CardYAML] = []
    while true {
      skipSpace()
      guard at < whole.count else { return nil }
      if whole[at] == "]" {
        at += 1
        return .list(items)
      }
      guard let item = try element(depth + 1, failure) else { return nil }
      items.append(item)
      guard let isMore = try separator("]", failure) else { return nil }
      if !isMore { return .list(items) }
    }
  }

  private mutating func map(_ depth: Int, _ failure: (String) -> Failure) throws(Failure) -> CardYAML? {
    at += 1
    var entries: [CardYAML.Entry] = []
    while true {
      skipSpace()
      guard at < whole.count else { return nil }
      if whole[at] == "}" {
        at += 1
        return .map(entries)
      }
      guard let key = try element(depth + 1, failure) else { return nil }
      guard let name = key.text else { throw failure("a key that is \(key.kind)") }
      skipSpace()
      guard at < whole.count else { return nil }
      var value = CardYAML.null
      if whole[at] == ":" {
        at += 1
        skipSpace()
        guard at < whole.count else { return nil }
        if whole[at] != ",", whole[at] != "}" {
          guard let read = try element(depth + 1, failure) else { return nil }
          value = read
        }
      }
      entries.append(CardYAML.Entry(key: name, value: value))
      guard let isMore = try separator("}", failure) else { return nil }
      if !isMore { return .map(entries) }
    }
  }

  /// Whether a comma comes, or the end; nil where the text ends.
  private mutating func separator(
    _ end: Unicode.Scalar, _ failure: (String) -> Failure
  ) throws(Failure) -> Bool? {
    skipSpace()
    guard at < whole.count else { return nil }
    guard whole[at] == "," || whole[at] == end else { throw failure("expected ',' or '\(end)'") }
    at += 1
    return whole[at - 1] == ","
  }

  /// Up to a mark of a flow collection; nil where the text ends first.
  private mutating func plain() -> String? {
    let start = at
    while at < whole.count {
      let isColon = whole[at] == ":" && (at + 1 == whole.count || ",[]{} ".unicodeScalars.contains(whole[at + 1]))
      if ",[]{}".unicodeScalars.contains(whole[at]) || isColon { break }
      at += 1
    }
    guard at < whole.count else { return nil }
    var text = String.UnicodeScalarView()
    text.append(contentsOf: whole[start..<at])
    while text.last == " " || text.last == "\t" { text.removeLast() }
    return String(text)
  }

  /// A text in quotes; nil where its end is missing or an escape means nothing.
  mutating func quoted() -> String? {
    guard at < whole.count else { return nil }
    let quote = whole[at]
    var text = String.UnicodeScalarView()
    var index = at + 1
    while index < whole.count {
      let scalar = whole[index]
      index += 1
      if scalar == quote {
        guard quote == "'", index < whole.count, whole[index] == "'" else {
          at = index
          return String(text)
        }
        text.append("'")
        index += 1
      } else if scalar == "\\", quote == "\"" {
        guard index < whole.count else { return nil }
        guard let escaped = escape(&index) else { return nil }
        text.append(escaped)
      } else {
        text.append(scalar)
      }
    }
    return nil
  }

  private func escape(_ index: inout Int) -> Unicode.Scalar? {
    let kind = whole[index]
    index += 1
    switch kind {
    case "\\", "\"", "/", " ", "\t": return kind
    case "x", "u", "U":
      let length = kind == "x" ? 2 : kind == "u" ? 4 : 8
      guard index + length <= whole.count else { return nil }
      var digits = String.UnicodeScalarView()
      digits.append(contentsOf: whole[index..<index + length])
      index += length
      return UInt32(String(digits), radix: 16).flatMap(Unicode.Scalar.init)
    default: return Self.escapes[kind]
    }
  }

  private static let escapes: [Unicode.Scalar: Unicode.Scalar] = [
    "0": "\0", "a": "\u{7}", "b": "\u{8}", "t": "\t", "n": "\n", "v": "\u{B}", "f": "\u{C}", "r": "\r", "e": "\u{1B}",
    "N": "\u{85}", "_": "\u{A0}", "L": "\u{2028}", "P": "\u{2029}",
  ]
}
