/// The part of YAML that data set cards are written in: block and flow collections, plain and quoted scalars, block scalars,
/// comments. What else there is (anchors and aliases, tags, complex keys, several documents) is an error that says so, which
/// also leaves nothing that could grow.
indirect enum CardYAML: Equatable {
  /// Plain text, in which `true` and `null` mean something.
  case plain(String)
  case quoted(String)
  case list([CardYAML])
  case map([Entry])
  case null

  struct Entry: Equatable {
    let key: String
    let value: CardYAML
  }

  typealias Failure = CardYAMLFailure

  var text: String? {
    switch self {
    case .plain(let text), .quoted(let text): text
    default: nil
    }
  }

  /// The last value of a key, as PyYAML takes it.
  subscript(key: String) -> CardYAML? {
    guard case .map(let entries) = self else { return nil }
    return entries.last { $0.key == key }?.value
  }

  var isNull: Bool { self == .null }
  var isTrue: Bool {
    guard case .plain(let text) = self else { return false }
    return ["true", "yes", "on"].contains(text.lowercased())
  }

  var kind: String {
    switch self {
    case .plain, .quoted: "a text"
    case .list: "a list"
    case .map: "a map"
    case .null: "nothing"
    }
  }

  static let maximumDepth = 32

  /// - Parameters:
  ///   - lines: without their ends.
  ///   - first: the number of the first line, for messages.
  init(lines: [Substring], first: Int = 1) throws(Failure) {
    var parser = CardYAMLParser(lines: lines, first: first)
    self = try parser.document()
  }
}

/// Recursive descent over lines: `at` is the line that is read next, `line` what is left of it.
struct CardYAMLParser {
  typealias Failure = CardYAML.Failure

  let lines: [Substring]
  let first: Int
  private var at = 0
  /// What is left of line `at` where its beginning was taken: `- ` before an entry. Keeps its column.
  private var rest: (column: Int, text: Substring)?

  init(lines: [Substring], first: Int) {
    self.lines = lines
    self.first = first
  }

  private func failure(_ message: String, _ line: Int? = nil) -> Failure {
    Failure(message: message, line: first + min(line ?? at, max(0, lines.count - 1)))
  }

  mutating func document() throws(Failure) -> CardYAML {
    guard try peek() != nil else { return .null }
    let value = try node(above: -1, depth: 0)
    if try peek() != nil { throw failure("it stands where no key or entry can") }
    return value
  }

  /// The next line with something on it: where that begins, and what it is.
  private mutating func peek() throws(Failure) -> (column: Int, text: Substring)? {
    if let rest { return rest }
    while at < lines.count {
      let text = lines[at].drop { $0 == " " }
      if text.isEmpty || text.first == "#" || text.allSatisfy({ $0 == " " || $0 == "\t" }) {
        at += 1
        continue
      }
      if text.first == "\t" { throw failure("a tab indents it, which YAML forbids") }
      return (lines[at].utf8.count - text.utf8.count, text)
    }
    return nil
  }

  private mutating func next() {
    rest = nil
    at += 1
  }

  private func isEntry(_ text: Substring) -> Bool { text == "-" || text.hasPrefix("- ") }

  /// A value that is indented by more than `above`.
  private mutating func node(above: Int, depth: Int) throws(Failure) -> CardYAML {
    guard depth <= CardYAML.maximumDepth else { throw failure("nested deeper than \(CardYAML.maximumDepth) levels") }
    guard let (column, text) = try peek(), column > above else { return .null }
    if isEntry(text) { return try list(column, depth) }
    if try key(text) != nil { return try map(column, depth) }
    return try scalar(text, above: above, depth: depth)
  }

  private mutating func list(_ column: Int, _ depth: Int) throws(Failure) -> CardYAML {
    var items: [CardYAML] = []
    while let (here, text) = try peek(), here == column, isEntry(text) {
      let content = text.dropFirst().drop { $0 == " " }
      if content.isEmpty || content.first == "#" {
        next()
        items.append(try node(above: column, depth: depth + 1))
      } else {
        rest = (here + text.utf8.count - content.utf8.count, content)
        items.append(try node(above: column, depth: depth + 1))
      }
    }
    if let (here, _) = try peek(), here > column { throw failure("it is indented unlike the entries before it") }
    return .list(items)
  }

  private mutating func map(_ column: Int, _ depth: Int) throws(Failure) -> CardYAML {
    var entries: [CardYAML.Entry] = []
    while let (here, text) = try peek(), here == column, !isEntry(text) {
      guard let (name, after) = try key(text) else { throw failure("a key and a colon should be here") }
      let content = after.drop { $0 == " " || $0 == "\t" }
      if content.isEmpty || content.first == "#" {
        next()
        // A list may stand as far left as its key.
        if let (below, entry) = try peek(), below == column, isEntry(entry) {
          entries.append(CardYAML.Entry(key: name, value: try list(column, depth + 1)))
        } else {
          entries.append(CardYAML.Entry(key: name, value: try node(above: column, depth: depth + 1)))
        }
      } else {
        rest = (here + 1, content)
        entries.append(CardYAML.Entry(key: name, value: try scalar(content, above: column, depth: depth + 1)))
      }
    }
    if let (here, _) = try peek(), here > column { throw failure("it is indented unlike the keys before it") }
    return .map(entries)
  }

  /// A key and what is after its colon; nil where the line has none.
  private func key(_ text: Substring) throws(Failure) -> (String, Substring)? {
    if text.hasPrefix("? ") { throw failure("keys that begin with \"?\" are not read") }
    if text.first == "\"" || text.first == "'" {
      var scanner = CardYAMLFlow(text: text)
      guard let name = scanner.quoted(), scanner.rest.first == ":" else { return nil }
      let after = scanner.rest.dropFirst()
      return after.isEmpty || after.first == " " ? (name, after) : nil
    }
    guard let start = text.first, !"[{&*!|>%@`".contains(start) else { return nil }
    var index = text.startIndex
    while let colon = text[index...].firstIndex(of: ":") {
      let after = text[text.index(after: colon)...]
      if after.isEmpty || after.first == " " || after.first == "\t" {
        let name = text[..<colon]
        return name.contains(" #") ? nil : (String(name), after)
      }
      index = text.index(after: colon)
    }
    return nil
  }

  /// What follows a colon or a dash and is no block collection.
  private mutating func scalar(_ text: Substring, above: Int, depth: Int) throws(Failure) -> CardYAML {
    switch text.first {
    case "|", ">": return try block(text, above: above)
    case "&", "*": throw failure("anchors and aliases (\(text.prefix(12))) are not read; write the value out")
    case "!": throw failure("tags (\(text.prefix(12))) are not read")
    case "%", "@", "`": throw failure("a value cannot begin with \"\(text.prefix(1))\"; put it in quotes")
    case "[", "{", "\"", "'": return try flow(text, depth)
    default: break
    }
    // Plain text goes on in lines that are indented further.
    var value = Self.withoutComment(text)
    let hasComment = value.utf8.count < text.utf8.count
    next()
    while !hasComment {
      let last = at
      guard let (column, more) = try peek(), column > above else { break }
      if try key(more) != nil { throw failure("a key stands in the middle of a text; is a quote missing before it?") }
      value += at == last ? " " : String(repeating: "\n", count: at - last)
      value += Self.withoutComment(more)
      next()
    }
    return ["~", "null", "Null", "NULL", ""].contains(value) ? .null : .plain(value)
  }

  private static func withoutComment(_ text: Substring) -> String {
    var end = text.endIndex
    if let comment = text.firstRange(of: " #") { end = comment.lowerBound }
    var value = text[..<end]
    while value.last == " " || value.last == "\t" || value.last == "\r" { value.removeLast() }
    return String(value)
  }

  /// Text that keeps its lines (`|`) or folds them (`>`).
  private mutating func block(_ header: Substring, above: Int) throws(Failure) -> CardYAML {
    next()
    var taken: [Substring] = []
    while at < lines.count {
      let text = lines[at].drop { $0 == " " }
      if !text.isEmpty, lines[at].utf8.count - text.utf8.count <= above { break }
      taken.append(lines[at])
      at += 1
    }
    while let last = taken.last, last.allSatisfy({ $0 == " " }) { taken.removeLast() }
    let indents = taken.compactMap { line -> Int? in
      let text = line.drop { $0 == " " }
      return text.isEmpty ? nil : line.utf8.count - text.utf8.count
    }
    let indent = indents.min() ?? 0
    let text = taken.map { $0.dropFirst(indent) }.joined(separator: header.first == "|" ? "\n" : " ")
    return .quoted(text + (header.contains("-") || text.isEmpty ? "" : "\n"))
  }

  /// Brackets, braces and quotes, over as many lines as they take.
  private mutating func flow(_ text: Substring, _ depth: Int) throws(Failure) -> CardYAML {
    let began = at
    var scanner = CardYAMLFlow(text: text)
    while !scanner.isWhole() {
      rest = nil
      at += 1
      guard at < lines.count else { throw failure("a bracket or a quote is not closed", began) }
      scanner.extend(lines[at])
    }
    let line = first + began
    guard let value = try scanner.value(depth: depth, { Failure(message: $0, line: line) }) else {
      throw failure("a bracket, a quote or an escape is not as it should be", began)
    }
    let after = scanner.rest.drop { $0 == " " || $0 == "\t" }
    guard after.isEmpty || after.first == "#" else { throw failure("text after the end of a value") }
    next()
    return value
  }
}

/// Why a card cannot be read.
struct CardYAMLFailure: Error, Equatable {
  let message: String
  /// From 1.
  let line: Int
}
