/// A set of scalars as a pattern spells it.
indirect enum ScalarSet: Sendable {
  case classes(ClassMask)
  case ranges([ClosedRange<UInt32>])
  case union([ScalarSet])
  case intersection([ScalarSet])
  case complement(ScalarSet)

  /// Parts that `contains` may have to look at.
  var size: Int {
    switch self {
    case .classes: 1
    case .ranges(let ranges): ranges.count
    case .union(let sets), .intersection(let sets): sets.reduce(1) { $0 + $1.size }
    case .complement(let set): set.size
    }
  }

  func contains(_ value: UInt32, bits: ClassMask) -> Bool {
    switch self {
    case .classes(let mask): bits & mask != 0
    case .ranges(let ranges): ranges.contains { $0.contains(value) }
    case .union(let sets): sets.contains { $0.contains(value, bits: bits) }
    case .intersection(let sets): sets.allSatisfy { $0.contains(value, bits: bits) }
    case .complement(let set): !set.contains(value, bits: bits)
    }
  }
}

/// What a pattern means.
indirect enum PatternNode {
  enum Greed { case greedy, lazy, possessive }
  enum Anchor {
    case textStart, textEnd, textEndOrLastLine, lineStart, lineEnd, wordBoundary, notWordBoundary, searchStart
  }

  case empty
  case set(ScalarSet)
  case sequence([PatternNode])
  case alternatives([PatternNode])
  case repeated(PatternNode, min: Int, max: Int?, Greed)
  case atomic(PatternNode)
  case look(PatternNode, ahead: Bool, negative: Bool)
  case anchor(Anchor)

  /// Longer than any text; what lengths stop at, so that sums and products cannot overflow.
  private static let longest = 1 << 30

  /// Lengths in scalars this can match; nil as maximum when there is none.
  var width: (min: Int, max: Int?) {
    func capped(_ length: Int) -> Int { Swift.min(length, Self.longest) }
    switch self {
    case .empty, .look, .anchor: return (0, 0)
    case .set: return (1, 1)
    case .sequence(let parts):
      var sum: (min: Int, max: Int?) = (0, 0)
      for part in parts {
        let width = part.width
        let most: Int? = if let a = sum.max, let b = width.max { capped(a + b) } else { nil }
        sum = (capped(sum.min + width.min), most)
      }
      return sum
    case .alternatives(let parts):
      let widths = parts.map(\.width)
      let unbounded = widths.contains { $0.max == nil }
      return (widths.map(\.min).min() ?? 0, unbounded ? nil : widths.compactMap(\.max).max() ?? 0)
    case .repeated(let part, let min, let max, _):
      let width = part.width
      guard let most = width.max, let max else { return (capped(width.min * min), nil) }
      return (capped(width.min * min), capped(most * max))
    case .atomic(let part): return part.width
    }
  }
}

/// Why a regular expression cannot be used.
package struct PatternFailure: Error {
  package let message: String
}
