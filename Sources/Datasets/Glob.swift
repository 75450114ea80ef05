/// A pattern for paths, in the dialect of `fsspec`, which `datasets` resolves `data_files` with: `*` and `?` within a name,
/// `[a-z]` and `[!a-z]` for one character, `**` alone for any number of directories. No braces.
///
/// Time is at most that of the pattern times the path, whatever they are.
package struct Glob: Sendable {
  private enum Token: Sendable {
    case scalar(Unicode.Scalar)
    /// One character.
    case any
    /// Any number of characters.
    case star
    case ranges([ClosedRange<UInt32>], negated: Bool)

    func matches(_ scalar: Unicode.Scalar) -> Bool {
      switch self {
      case .scalar(let own): own == scalar
      case .any, .star: true
      case .ranges(let ranges, let negated): ranges.contains { $0.contains(scalar.value) } != negated
      }
    }
  }

  private enum Part: Sendable {
    /// `**`.
    case directories
    case name([Token])
  }

  let pattern: String
  /// Whether there is anything in it but plain characters.
  let isPattern: Bool
  /// The longest run of plain characters within a name: paths without it are no match.
  let literal: [UInt8]
  private let parts: [Part]

  /// - Throws: `DatasetError` for what can be no path below a directory.
  package init(_ pattern: String) throws {
    self.pattern = pattern
    isPattern = pattern.unicodeScalars.contains { "*?[".unicodeScalars.contains($0) }
    guard !pattern.hasPrefix("/"), !pattern.contains("://"), !pattern.unicodeScalars.contains("\0") else {
      throw DatasetError("the pattern \"\(pattern)\" names files outside of the data set, which are not read")
    }
    guard pattern.utf8.count <= 4096 else { throw DatasetError("a pattern of \(pattern.utf8.count) bytes is too long") }
    var parts: [Part] = []
    for name in pattern.split(separator: "/") where name != "." {
      guard name != ".." else {
        throw DatasetError("the pattern \"\(pattern)\" leads out of the data set with \"..\", which is not followed")
      }
      guard name == "**" || !name.contains("**") else {
        throw DatasetError("the pattern \"\(pattern)\" has \"**\" in a name; it can only stand for whole directories")
      }
      parts.append(name == "**" ? .directories : .name(Self.tokens(Array(name.unicodeScalars))))
    }
    guard !parts.isEmpty else { throw DatasetError("the pattern \"\(pattern)\" names no file") }
    self.parts = parts
    literal = Self.literal(of: parts)
  }

  private static func literal(of parts: [Part]) -> [UInt8] {
    var longest: [UInt8] = []
    for case .name(let tokens) in parts {
      var run: [UInt8] = []
      for token in tokens {
        if case .scalar(let scalar) = token { run += Array(UTF8.encode(scalar) ?? .init()) } else { run = [] }
        if run.count > longest.count { longest = run }
      }
    }
    return longest
  }

  private static func tokens(_ name: [Unicode.Scalar]) -> [Token] {
    var tokens: [Token] = []
    var at = 0
    while at < name.count {
      let scalar = name[at]
      at += 1
      switch scalar {
      case "*":
        if case .star? = tokens.last { break }
        tokens.append(.star)
      case "?": tokens.append(.any)
      case "[":
        var end = at
        if end < name.count, name[end] == "!" { end += 1 }
        // A bracket that stands first is one of the characters.
        if end < name.count, name[end] == "]" { end += 1 }
        while end < name.count, name[end] != "]" { end += 1 }
        if end == name.count {
          tokens.append(.scalar(scalar))
        } else {
          tokens.append(set(name[at..<end]))
          at = end + 1
        }
      default: tokens.append(.scalar(scalar))
      }
    }
    return tokens
  }

  private static func set(_ content: ArraySlice<Unicode.Scalar>) -> Token {
    let negated = content.first == "!"
    var rest = negated ? content.dropFirst() : content
    var ranges: [ClosedRange<UInt32>] = []
    while let first = rest.popFirst() {
      let after = rest.dropFirst()
      if rest.first == "-", let last = after.first {
        rest = after.dropFirst()
        // A range that runs backwards is empty.
        if first.value <= last.value { ranges.append(first.value...last.value) }
      } else {
        ranges.append(first.value...first.value)
      }
    }
    return .ranges(ranges, negated: negated)
  }

  /// - Parameter path: relative, without empty parts.
  package func matches(_ path: String) -> Bool {
    if parts.count == 1, case .directories = parts[0] { return true }
    let names = path.split(separator: "/").map { Array($0.unicodeScalars) }
    // Of the parts so far: whether they match the first n names.
    var reached = [Bool](repeating: false, count: names.count + 1)
    reached[0] = true
    for (index, part) in parts.enumerated() {
      var next = [Bool](repeating: false, count: names.count + 1)
      switch part {
      case .directories:
        var any = false
        for at in 0...names.count {
          any = any || reached[at]
          next[at] = any
        }
        // At the end it stands for files, of which there is at least one below what is before it.
        if index == parts.count - 1, index > 0 {
          var before = false
          for at in 0...names.count {
            next[at] = before
            before = before || reached[at]
          }
        }
      case .name(let tokens):
        for at in names.indices where reached[at] { next[at + 1] = Self.matches(tokens, names[at]) }
      }
      reached = next
    }
    return reached[names.count]
  }

  /// The last star is the only one that ever needs to take more.
  private static func matches(_ tokens: [Token], _ name: [Unicode.Scalar]) -> Bool {
    var (at, token) = (0, 0)
    var star: (token: Int, at: Int)?
    // `*` alone is a name, which is never empty.
    while at < name.count {
      if token < tokens.count, case .star = tokens[token] {
        star = (token, at)
        token += 1
      } else if token < tokens.count, tokens[token].matches(name[at]) {
        token += 1
        at += 1
      } else if let last = star {
        star = (last.token, last.at + 1)
        token = last.token + 1
        at = last.at + 1
      } else {
        return false
      }
    }
    while token < tokens.count, case .star = tokens[token] { token += 1 }
    return token == tokens.count
  }

  /// Names in the directories of a pattern, for the rules on hidden ones.
  static func count(_ path: String, directoriesOnly: Bool, _ isCounted: (Substring) -> Bool) -> Int {
    var names = path.split(separator: "/").filter { $0 != "." }
    if directoriesOnly { _ = names.popLast() }
    return names.count(where: isCounted)
  }
}
