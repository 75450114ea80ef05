/// A compiled regular expression over UTF-8: leftmost match, alternatives in order, backtracking.
///
/// Own rather than Foundation's: the oracle's character classes are of one Unicode version and Foundation's of
/// another, its `\s` and `\h` mean other sets, and it works on UTF-16.
package final class Pattern: Sendable {
  private let steps: [PatternStep]
  private let sets: [MatchSet]
  private let starts: [ByteSet?]
  private let first: ByteSet?

  /// As many steps back as the oracle's engine takes in one match before it gives up. All matches of a text together
  /// are bounded by `Effort`.
  static let maximumBacktracks = 10_000_000

  /// - Throws: `PatternFailure` for a pattern that is wrong, or uses what is not supported.
  package init(_ pattern: String) throws {
    let node = try PatternParser.parse(pattern)
    let compiler = try PatternCompiler(node)
    steps = compiler.steps
    sets = compiler.sets
    starts = compiler.starts
    first = PatternCompiler.firstBytes(node)
  }

  /// Calls `body` with the range of every match, from left to right; empty matches directly after another are none.
  func matches(
    in text: UnsafeBufferPointer<UInt8>, _ effort: Effort, _ body: (Int, Int) throws -> Void
  ) throws {
    var matcher = Matcher(pattern: self, text: text, effort: effort)
    defer { effort.set(left: matcher.left) }
    var at = 0
    var lastEnd = -1
    while at <= text.count {
      guard let (start, end) = try matcher.search(from: at) else { return }
      if start == end, end == lastEnd {
        at = end < text.count ? end + scalar(in: text, at: end).length : end + 1
        continue
      }
      try body(start, end)
      at = end
      lastEnd = end
    }
  }

  /// The matches in a text.
  package func matches(in text: String) throws -> [String] {
    let bytes = Array(text.utf8)
    return try bytes.withUnsafeBufferPointer { buffer in
      var found: [String] = []
      try matches(in: buffer, Effort(bytes: bytes.count, file: "pattern")) {
        found.append(String(decoding: buffer[$0..<$1], as: UTF8.self))
      }
      return found
    }
  }

  private struct Matcher {
    let text: UnsafeBufferPointer<UInt8>
    let steps: [PatternStep]
    let sets: [MatchSet]
    let starts: [ByteSet?]
    let first: ByteSet?
    var stack: [(step: Int, at: Int, least: Int)] = []
    var searchStart = 0
    var backtracks = 0
    /// Steps that this text may still take.
    var left: Int
    let effort: Effort

    init(pattern: Pattern, text: UnsafeBufferPointer<UInt8>, effort: Effort) {
      self.text = text
      self.effort = effort
      left = effort.left
      steps = pattern.steps
      sets = pattern.sets
      starts = pattern.starts
      first = pattern.first
    }

    mutating func search(from: Int) throws -> (Int, Int)? {
      searchStart = from
      backtracks = 0
      var at = from
      while true {
        if let first {
          while at < text.count, !first.contains(text[at]) { at += 1 }
          if at == text.count { return nil }
        }
        if let end = try run(0, at) { return (at, end) }
        if at >= text.count { return nil }
        at += scalar(in: text, at: at).length
      }
    }

    /// Runs steps from `step` at `at`; the end of the match, or nil.
    private mutating func run(_ step: Int, _ at: Int) throws -> Int? {
      let base = stack.count
      defer { stack.removeLast(stack.count - base) }
      var step = step
      var at = at
      // Counted here, and held against the limit wherever a pattern could go on for ever: after steps back, at the end
      // of a loop's round, and after patterns that run apart. Straight runs of single sets count when they end.
      let begin = at
      var spent = 1
      defer { left -= spent }
      while true {
        var failed = false
        switch steps[step] {
        case .set(let index):
          if at < text.count {
            let (value, length) = scalar(in: text, at: at)
            spent += sets[index].cost
            if sets[index].contains(value) {
              at += length
              step += 1
              continue
            }
          }
          failed = true
        case .setLoop(let index, let min, let max, let possessive):
          var count = 0
          var least = at
          let from = at
          while count < max, at < text.count {
            let byte = text[at]
            if byte < 0x80 {
              if !sets[index].containsASCII(byte) { break }
              at += 1
            } else {
              let (value, length) = scalar(in: text, at: at)
              if !sets[index].contains(value) { break }
              at += length
            }
            count += 1
            if count == min { least = at }
          }
          spent += 1 + (at - from) * (1 + sets[index].cost)
          if count < min {
            failed = true
          } else {
            step += 1
            if at > least, !possessive { stack.append((step, at, least)) }
          }
        case .fork(let first, let second, let firstStarts, let secondStarts):
          if !canStart(firstStarts, at) {
            step = second
          } else {
            if canStart(secondStarts, at) { stack.append((second, at, -1)) }
            step = first
            spent += 1
          }
        case .jump(let target):
          step = target
          spent += 1
          if spent > left { throw effort.exceeded("a pattern of the tokenizer") }
        case .anchor(let anchor):
          if holds(anchor, at) { step += 1 } else { failed = true }
        case .look(let end, let back, let negative):
          spent += back
          if try look(step + 1, at, back) == negative { failed = true } else { step = end }
          if spent > left { throw effort.exceeded("a pattern of the tokenizer") }
        case .atomic(let end):
          let stop = try run(step + 1, at)
          if spent > left { throw effort.exceeded("a pattern of the tokenizer") }
          if let stop {
            at = stop
            step = end
          } else {
            failed = true
          }
        case .accept:
          spent += at - begin
          return at
        }
        if failed {
          guard stack.count > base, let top = stack.popLast() else {
            spent += at - begin
            return nil
          }
          spent += 1 + at - top.at
          if spent > left { throw effort.exceeded("a pattern of the tokenizer") }
          backtracks += 1
          if backtracks > Pattern.maximumBacktracks {
            throw effort.ranBack(Pattern.maximumBacktracks)
          }
          step = top.step
          at = top.at
          if top.least >= 0 {
            at = scalarStart(in: text, before: at)
            if at > top.least { stack.append((step, at, top.least)) }
          }
        }
      }
    }

    @inline(__always)
    private func canStart(_ index: Int, _ at: Int) -> Bool {
      guard let set = starts[index] else { return true }
      return at < text.count && set.contains(text[at])
    }

    private mutating func look(_ step: Int, _ at: Int, _ back: Int) throws -> Bool {
      var start = at
      for _ in 0..<back {
        if start == 0 { return false }
        start = scalarStart(in: text, before: start)
      }
      return try run(step, start) != nil
    }

    private func holds(_ anchor: PatternNode.Anchor, _ at: Int) -> Bool {
      let newline = UInt8(ascii: "\n")
      switch anchor {
      case .textStart: return at == 0
      case .textEnd: return at == text.count
      case .textEndOrLastLine: return at == text.count || (at == text.count - 1 && text[at] == newline)
      case .lineStart: return at == 0 || (text[at - 1] == newline && at < text.count)
      case .lineEnd: return at == text.count || text[at] == newline
      case .searchStart: return at == searchStart
      case .wordBoundary: return isWord(before: at) != isWord(at)
      case .notWordBoundary: return isWord(before: at) == isWord(at)
      }
    }

    private static let word = MatchSet(PatternClasses.word)

    private func isWord(_ at: Int) -> Bool { at < text.count && Self.word.contains(scalar(in: text, at: at).value) }

    private func isWord(before at: Int) -> Bool { at > 0 && isWord(scalarStart(in: text, before: at)) }
  }
}
