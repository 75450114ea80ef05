internal import JSON

/// The `pattern` of a `Split` or `Replace`: a literal string or a regular expression.
enum TextPattern: Sendable {
  case literal([UInt8])
  case expression(Pattern)

  init(_ field: Field) throws {
    if let text = field.value.text {
      self = .literal(text.utf8)
    } else if let literal = try field.optional("String") {
      self = .literal(try literal.bytes())
    } else if let expression = try field.optional("Regex") {
      let source = try expression.string()
      do {
        self = .expression(try Pattern(source))
      } catch let failure as PatternFailure {
        throw expression.error("the regular expression \"\(source)\" cannot be used: \(failure.message)")
      }
    } else {
      throw field.error("expected {\"String\": …} or {\"Regex\": …}")
    }
  }

  /// Calls `body` with every match from left to right.
  func matches(in text: UnsafeBufferPointer<UInt8>, _ effort: Effort, _ body: (Int, Int) throws -> Void) throws {
    switch self {
    case .expression(let pattern): try pattern.matches(in: text, effort, body)
    case .literal(let literal):
      guard let first = literal.first else {
        // An empty string matches between all scalars, and at both ends.
        var at = 0
        while at < text.count {
          try body(at, at)
          at += scalar(in: text, at: at).length
        }
        return try body(at, at)
      }
      var at = 0
      while at + literal.count <= text.count {
        if text[at] == first {
          var same = 1
          while same < literal.count, text[at + same] == literal[same] { same += 1 }
          if same > 64 { try effort.spend(same, "a pattern of the tokenizer") }
          if same == literal.count {
            try body(at, at + literal.count)
            at += literal.count
            continue
          }
        }
        at += 1
      }
    }
  }

  /// The text with every match replaced; nil when there is none.
  func replace(
    in text: UnsafeBufferPointer<UInt8>, with content: [UInt8], atOrigin: inout Bool, _ effort: Effort
  ) throws -> [UInt8]? {
    var out: [UInt8] = []
    var last = 0
    var any = false
    try matches(in: text, effort) { start, end in
      if start == 0, end > 0, content.isEmpty || end > scalar(in: text, at: 0).length { atOrigin = false }
      any = true
      out.append(contentsOf: text[last..<start])
      out.append(contentsOf: content)
      try effort.spend(content.count, "replacing text")
      try Limits.check(out.count, from: text.count)
      last = end
    }
    guard any else { return nil }
    out.append(contentsOf: text[last...])
    return out
  }
}
