/// Text and the words in it, while the pre-tokenizers work on it.
struct Pieces {
  struct Piece {
    var start: Int
    var end: Int
  }

  /// The text the pieces lie in, when it is no longer the one that came in.
  var buffer: [UInt8]?
  var pieces: [Piece]
  /// Whether the first piece starts where the input starts.
  var atOrigin: Bool

  init(count: Int, atOrigin: Bool) {
    pieces = count > 0 ? [Piece(start: 0, end: count)] : []
    self.atOrigin = atOrigin
  }

  mutating func apply(_ step: PreTokenizer, to text: UnsafeBufferPointer<UInt8>, _ effort: Effort) throws {
    try effort.spend(pieces.count + (buffer?.count ?? text.count), "the pre-tokenizer")
    switch step {
    case .sequence(let steps):
      for step in steps { try apply(step, to: text, effort) }
    case .split(let pattern, let behavior, let invert):
      try split(text, behavior, invert: invert) { try pattern.matches(in: $0, effort, $1) }
    case .scalars(let belongs, let behavior):
      try split(text, behavior, invert: false) { text, body in
        var at = 0
        while at < text.count {
          let (value, length) = scalar(in: text, at: at)
          if belongs(value) { try body(at, at + length) }
          at += length
        }
      }
    case .fixedLength(let length):
      try split(text, .isolated, invert: false) { text, body in
        var at = 0
        while at < text.count {
          let start = at
          var count = 0
          while count < length, at < text.count {
            at += scalar(in: text, at: at).length
            count += 1
          }
          try body(start, at)
        }
      }
    case .byteLevel(let addPrefixSpace, let pattern):
      if addPrefixSpace { rewrite(text, Self.prefixSpace) }
      if let pattern { try split(text, .isolated, invert: false) { try pattern.matches(in: $0, effort, $1) } }
    case .metaspace(let replacement, let scheme, let splits):
      let first = atOrigin
      var index = 0
      rewrite(text) { piece, out in
        let prepends = scheme == .always || (scheme == .first && first && index == 0)
        index += 1
        Self.metaspace(piece, replacement, prepends: prepends, &out)
      }
      if splits {
        let pattern = TextPattern.literal(replacement)
        try split(text, .mergedWithNext, invert: false) { try pattern.matches(in: $0, effort, $1) }
      }
    }
  }

  /// Spells every piece in GPT-2's byte characters.
  mutating func mapBytes(_ text: UnsafeBufferPointer<UInt8>) {
    rewrite(text) { piece, out in for byte in piece { appendScalar(ByteAlphabet.scalars[Int(byte)], to: &out) } }
  }

  private static func prefixSpace(_ piece: UnsafeBufferPointer<UInt8>, _ out: inout [UInt8]) {
    if piece.first != 0x20 { out.append(0x20) }
    out.append(contentsOf: piece)
  }

  private static func metaspace(
    _ piece: UnsafeBufferPointer<UInt8>, _ replacement: [UInt8], prepends: Bool, _ out: inout [UInt8]
  ) {
    let starts = piece.first == 0x20 || (piece.count >= replacement.count && piece.starts(with: replacement))
    if prepends, !starts { out.append(contentsOf: replacement) }
    for byte in piece { if byte == 0x20 { out.append(contentsOf: replacement) } else { out.append(byte) } }
  }

  /// Runs `body` with the text the pieces lie in.
  func withText<R>(
    _ text: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<UInt8>) throws -> R
  ) rethrows -> R {
    if let buffer { try buffer.withUnsafeBufferPointer(body) } else { try body(text) }
  }

  /// Writes every piece anew.
  private mutating func rewrite(
    _ text: UnsafeBufferPointer<UInt8>, _ each: (UnsafeBufferPointer<UInt8>, inout [UInt8]) -> Void
  ) {
    var out: [UInt8] = []
    var moved: [Piece] = []
    moved.reserveCapacity(pieces.count)
    withText(text) { text in
      out.reserveCapacity(text.count + text.count / 2)
      for piece in pieces {
        let start = out.count
        each(UnsafeBufferPointer(rebasing: text[piece.start..<piece.end]), &out)
        moved.append(Piece(start: start, end: out.count))
      }
    }
    buffer = out
    pieces = moved
  }

  private mutating func split(
    _ text: UnsafeBufferPointer<UInt8>, _ behavior: SplitBehavior, invert: Bool,
    _ matches: (UnsafeBufferPointer<UInt8>, (Int, Int) throws -> Void) throws -> Void
  ) throws {
    var splitter = Splitter(behavior: behavior, invert: invert)
    splitter.out.reserveCapacity(text.count / 4)
    let firstStart = pieces.first?.start
    try withText(text) { text in
      for piece in pieces {
        splitter.base = piece.start
        let part = UnsafeBufferPointer(rebasing: text[piece.start..<piece.end])
        var last = 0
        try matches(part) { start, end in
          if start > last { splitter.add(last, start, isMatch: false) }
          splitter.add(start, end, isMatch: true)
          last = end
        }
        if last < part.count { splitter.add(last, part.count, isMatch: false) }
        splitter.finish()
      }
    }
    pieces = splitter.out
    if pieces.first?.start != firstStart { atOrigin = false }
  }
}

/// Joins and drops the stretches of one piece as the behavior says.
private struct Splitter {
  let behavior: SplitBehavior
  let invert: Bool
  var base = 0
  var out: [Pieces.Piece] = []
  private var waiting: (start: Int, end: Int)?
  private var last = false
  private var isFirst = true
  /// Stretches of this piece, kept for `mergedWithNext`, which is decided from the right.
  private var stretches: [(start: Int, end: Int, isMatch: Bool)] = []

  init(behavior: SplitBehavior, invert: Bool) {
    self.behavior = behavior
    self.invert = invert
  }

  private mutating func emit(_ start: Int, _ end: Int) {
    if end > start { out.append(Pieces.Piece(start: base + start, end: base + end)) }
  }

  @inline(__always)
  mutating func add(_ start: Int, _ end: Int, isMatch plain: Bool) {
    let isMatch = plain != invert
    switch behavior {
    case .isolated: emit(start, end)
    case .removed: if !isMatch { emit(start, end) }
    case .contiguous:
      if let before = waiting, isMatch == last {
        waiting = (before.start, end)
      } else {
        flush()
        waiting = (start, end)
      }
      last = isMatch
    case .mergedWithPrevious:
      if isMatch, !last, let before = waiting {
        waiting = (before.start, end)
      } else {
        flush()
        waiting = (start, end)
      }
      last = isMatch
    case .mergedWithNext: stretches.append((start, end, isMatch))
    }
  }

  private mutating func flush() {
    if let (start, end) = waiting { emit(start, end) }
    waiting = nil
  }

  mutating func finish() {
    flush()
    last = false
    guard behavior == .mergedWithNext else { return }
    var joined: [(Int, Int)] = []
    var last = false
    for (start, end, isMatch) in stretches.reversed() {
      if isMatch, !last, let next = joined.last {
        joined[joined.count - 1] = (start, next.1)
      } else {
        joined.append((start, end))
      }
      last = isMatch
    }
    for (start, end) in joined.reversed() { emit(start, end) }
    stretches.removeAll(keepingCapacity: true)
  }
}
