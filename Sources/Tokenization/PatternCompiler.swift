/// A scalar set made ready for matching: bits for ASCII, a mask for most of the rest, the tree for what remains.
struct MatchSet {
  private let low: UInt64
  private let high: UInt64
  /// When the non-ASCII members are those with a bit of `mask` (or, if `inverted`, without one).
  private let mask: ClassMask
  private let inverted: Bool
  private let tree: ScalarSet?
  /// Parts that have to be asked beyond ASCII, less those that every set has.
  let cost: Int

  init(_ set: ScalarSet) {
    var bits: (UInt64, UInt64) = (0, 0)
    for value in UInt32(0)..<128 where set.contains(value, bits: ScalarClass.bits(of: value)) {
      if value < 64 { bits.0 |= 1 << UInt64(value) } else { bits.1 |= 1 << UInt64(value - 64) }
    }
    (low, high) = bits
    if let simple = MatchSet.simple(set) {
      (mask, inverted) = simple
      tree = nil
    } else {
      (mask, inverted, tree) = (0, false, set)
    }
    cost = tree.map(\.size) ?? 0
  }

  /// The set beyond ASCII as one mask, when it is that simple.
  private static func simple(_ set: ScalarSet) -> (ClassMask, Bool)? {
    switch set {
    case .classes(let mask): return (mask, false)
    case .ranges(let ranges): return ranges.allSatisfy({ $0.upperBound < 128 }) ? (0, false) : nil
    case .union(let sets):
      var mask: ClassMask = 0
      for case let part? in sets.map(simple) {
        if part.1 { return nil }
        mask |= part.0
      }
      return sets.allSatisfy({ simple($0) != nil }) ? (mask, false) : nil
    case .complement(let set): return simple(set).map { ($0.0, !$0.1) }
    case .intersection: return nil
    }
  }

  @inline(__always)
  func containsASCII(_ byte: UInt8) -> Bool {
    (byte < 64 ? low >> UInt64(byte) : high >> UInt64(byte & 63)) & 1 == 1
  }

  @inline(__always)
  func contains(_ value: UInt32) -> Bool {
    if value < 128 { return containsASCII(UInt8(truncatingIfNeeded: value)) }
    let bits = ScalarClass.bits(of: value)
    if let tree { return tree.contains(value, bits: bits) }
    return (bits & mask != 0) != inverted
  }

  /// The bytes a member can start with; for scalars beyond ASCII, any byte that can lead one.
  var firstBytes: ByteSet {
    var bytes = ByteSet(low, high)
    if tree != nil || mask != 0 || inverted { bytes.insertLeads() }
    return bytes
  }
}

/// A set of byte values.
struct ByteSet {
  private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  init() {}
  init(_ low: UInt64, _ high: UInt64) { words = (low, high, 0, 0) }

  mutating func insertLeads() { words.3 = ~0 }

  mutating func formUnion(_ other: ByteSet) {
    words = (
      words.0 | other.words.0, words.1 | other.words.1, words.2 | other.words.2, words.3 | other.words.3
    )
  }

  @inline(__always)
  func contains(_ byte: UInt8) -> Bool {
    switch byte >> 6 {
    case 0: words.0 >> UInt64(byte) & 1 == 1
    case 1: words.1 >> UInt64(byte & 63) & 1 == 1
    case 2: words.2 >> UInt64(byte & 63) & 1 == 1
    default: words.3 >> UInt64(byte & 63) & 1 == 1
    }
  }
}

/// One step of a compiled pattern.
enum PatternStep {
  case set(Int)
  /// Takes between `min` and `max` members of a set, longest first, giving back one at a time unless possessive.
  case setLoop(Int, min: Int, max: Int, possessive: Bool)
  /// Tries `first`, then `second`; each only where the next byte can start it.
  case fork(first: Int, second: Int, firstStarts: Int, secondStarts: Int)
  case jump(Int)
  case anchor(PatternNode.Anchor)
  /// Runs the steps up to `end` apart, from `back` scalars before here (0 for looking ahead).
  case look(end: Int, back: Int, negative: Bool)
  case atomic(end: Int)
  case accept
}

/// Turns a pattern's tree into steps.
struct PatternCompiler {
  static let maximumSteps = 20_000
  private static let maximumVisits = 200_000

  private(set) var steps: [PatternStep] = []
  private(set) var sets: [MatchSet] = []
  private(set) var starts: [ByteSet?] = []
  private var visits = 0

  init(_ node: PatternNode) throws {
    try emit(node)
    try add(.accept)
  }

  private mutating func add(_ step: PatternStep) throws {
    if steps.count >= Self.maximumSteps { throw PatternFailure(message: "the pattern is too large") }
    steps.append(step)
  }

  private mutating func add(_ set: ScalarSet) -> Int {
    sets.append(MatchSet(set))
    return sets.count - 1
  }

  private mutating func add(starts node: PatternNode?) -> Int { add(firsts: node.flatMap(Self.firstBytes)) }

  private mutating func add(firsts bytes: ByteSet?) -> Int {
    starts.append(bytes)
    return starts.count - 1
  }

  /// The bytes a match of this node can start with; nil when it can match nothing.
  static func firstBytes(_ node: PatternNode) -> ByteSet? {
    switch node {
    case .empty, .look, .anchor: return nil
    case .set(let set): return MatchSet(set).firstBytes
    case .sequence(let parts):
      var bytes = ByteSet()
      for part in parts {
        if part.width.min > 0 {
          guard let first = firstBytes(part) else { return nil }
          bytes.formUnion(first)
          return bytes
        }
        guard let first = optionalBytes(part) else { return nil }
        bytes.formUnion(first)
      }
      return nil
    case .alternatives(let parts):
      var bytes = ByteSet()
      for part in parts {
        guard let first = firstBytes(part) else { return nil }
        bytes.formUnion(first)
      }
      return bytes
    case .repeated(let part, let min, _, _): return min > 0 ? firstBytes(part) : nil
    case .atomic(let part): return firstBytes(part)
    }
  }

  /// The first bytes of a part that may also be left out.
  private static func optionalBytes(_ node: PatternNode) -> ByteSet? {
    switch node {
    case .empty, .look, .anchor: ByteSet()
    case .repeated(let part, _, _, _): firstBytes(part)
    default: nil
    }
  }

  private mutating func emit(_ node: PatternNode) throws {
    // Repetitions of what is empty make no steps, and may still have no end.
    visits += 1
    if visits > Self.maximumVisits { throw PatternFailure(message: "the pattern is too large") }
    switch node {
    case .empty: break
    case .set(let set): try add(.set(add(set)))
    case .sequence(let parts): for part in parts { try emit(part) }
    case .alternatives(let parts): try emit(alternatives: parts)
    case .repeated(let part, let min, let max, let greed): try emit(part, min: min, max: max, greed)
    case .atomic(let part):
      let at = steps.count
      try add(.accept)
      try emit(part)
      try add(.accept)
      steps[at] = .atomic(end: steps.count)
    case .look(let part, let ahead, let negative):
      try emit(look: part, ahead: ahead, negative: negative)
    case .anchor(let anchor): try add(.anchor(anchor))
    }
  }

  private mutating func emit(look part: PatternNode, ahead: Bool, negative: Bool) throws {
    let parts = if case .alternatives(let parts) = part { parts } else { [part] }
    let widths = Set(parts.map(\.width.min))
    if !ahead, widths.count > 1 { throw PatternFailure(message: "a look-behind of several lengths") }
    let at = steps.count
    try add(.accept)
    try emit(part)
    try add(.accept)
    steps[at] = .look(end: steps.count, back: ahead ? 0 : widths.first ?? 0, negative: negative)
  }

  private mutating func emit(alternatives parts: [PatternNode]) throws {
    let firsts = parts.map(Self.firstBytes)
    // What the alternatives from each on can start with: nil as soon as one of them can match nothing.
    var rest = firsts
    for at in parts.indices.dropLast().reversed() {
      if var bytes = rest[at], let after = rest[at + 1] {
        bytes.formUnion(after)
        rest[at] = bytes
      } else {
        rest[at] = nil
      }
    }
    var exits: [Int] = []
    for (at, part) in parts.enumerated() {
      guard at + 1 < parts.count else {
        try emit(part)
        break
      }
      let fork = steps.count
      try add(.accept)
      try emit(part)
      exits.append(steps.count)
      try add(.accept)
      steps[fork] = .fork(
        first: fork + 1, second: steps.count, firstStarts: add(firsts: firsts[at]),
        secondStarts: add(firsts: rest[at + 1]))
    }
    for exit in exits { steps[exit] = .jump(steps.count) }
  }

  private mutating func emit(_ part: PatternNode, min: Int, max: Int?, _ greed: PatternNode.Greed) throws {
    if case .set(let set) = part, greed != .lazy {
      return try add(.setLoop(add(set), min: min, max: max ?? Int.max, possessive: greed == .possessive))
    }
    if greed == .possessive { return try emit(.atomic(.repeated(part, min: min, max: max, .greedy))) }
    for _ in 0..<min { try emit(part) }
    func fork(_ at: Int, body: Int, exit: Int, _ compiler: inout PatternCompiler) {
      let inside = compiler.add(starts: part)
      let outside = compiler.add(starts: nil)
      compiler.steps[at] =
        greed == .lazy
        ? .fork(first: exit, second: body, firstStarts: outside, secondStarts: inside)
        : .fork(first: body, second: exit, firstStarts: inside, secondStarts: outside)
    }
    guard let max else {
      let at = steps.count
      try add(.accept)
      try emit(part)
      try add(.jump(at))
      fork(at, body: at + 1, exit: steps.count, &self)
      return
    }
    var forks: [Int] = []
    for _ in min..<Swift.max(min, max) {
      forks.append(steps.count)
      try add(.accept)
      try emit(part)
    }
    for at in forks { fork(at, body: at + 1, exit: steps.count, &self) }
  }
}
