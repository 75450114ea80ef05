internal import Foundation

/// What scalars decompose into, fully and in canonical order.
///
/// Foundation tells it for one scalar at a time. Longer texts it does not always get right (it leaves U+AC00 U+11A8
/// uncomposed, takes U+F00D4 for U+00D4, and mixes up the order of U+0F7D U+0F81), so putting marks in order and composing
/// are done here, after chapter 3.11 of the Unicode standard.
struct Decompositions: Sendable {
  typealias Entry = (value: UInt32, combining: UInt8)

  static let canonical = Decompositions(\.decomposedStringWithCanonicalMapping)
  static let compatible = Decompositions(\.decomposedStringWithCompatibilityMapping)

  /// Where scalars that decompose are found (syllables of Hangul aside).
  private static let places: [ClosedRange<UInt32>] = [
    0xA0...0x33FF, 0xA600...0xABFF, 0xF900...0xFFFF, 0x11000...0x115FF, 0x1D100...0x1D7FF, 0x1EE00...0x1F2FF,
    0x2F800...0x2FA1F,
  ]

  private(set) var table: [UInt32: [UInt32]] = [:]

  private init(_ decomposed: (String) -> String) {
    for place in Self.places {
      for value in place {
        guard let scalar = Unicode.Scalar(value), ScalarClass.isOlder(scalar, than: 10) else { continue }
        let parts = decomposed(String(Character(scalar))).unicodeScalars.map(\.value)
        if parts != [value] { table[value] = parts }
      }
    }
  }

  /// Appends what a scalar decomposes into; marks are not yet in order among those before them.
  func append(_ value: UInt32, to out: inout [Entry]) {
    if value < 0xA0 { return out.append((value, 0)) }
    if let syllable = Hangul.decompose(value) {
      for part in syllable { out.append((part, 0)) }
    } else if let parts = table[value] {
      for part in parts { out.append((part, Self.combiningClass(part))) }
    } else {
      out.append((value, Self.combiningClass(value)))
    }
  }

  /// Puts every run of marks in the order of their classes; marks of one class keep theirs.
  static func order(_ scalars: inout [Entry]) {
    var start = 0
    while start < scalars.count {
      var end = start
      var isOrdered = true
      while end < scalars.count, scalars[end].combining > 0 {
        if end > start, scalars[end].combining < scalars[end - 1].combining { isOrdered = false }
        end += 1
      }
      if !isOrdered {
        let run = scalars[start..<end].enumerated().sorted {
          ($0.element.combining, $0.offset) < ($1.element.combining, $1.offset)
        }
        scalars.replaceSubrange(start..<end, with: run.map(\.element))
      }
      start = end + 1
    }
  }

  private static func combiningClass(_ value: UInt32) -> UInt8 {
    guard value >= 0x300, let scalar = Unicode.Scalar(value) else { return 0 }
    let combining = scalar.properties.canonicalCombiningClass.rawValue
    return combining > 0 && ScalarClass.isOlder(scalar, than: 10) ? combining : 0
  }
}

/// Syllables of Hangul and their letters, by arithmetic.
enum Hangul {
  private static let first: UInt32 = 0xAC00

  static func decompose(_ value: UInt32) -> [UInt32]? {
    guard value >= first, value < first + 11172 else { return nil }
    let index = value - first
    let (lead, vowel, tail) = (0x1100 + index / 588, 0x1161 + index % 588 / 28, 0x11A7 + index % 28)
    return tail == 0x11A7 ? [lead, vowel] : [lead, vowel, tail]
  }

  static func compose(_ left: UInt32, _ right: UInt32) -> UInt32? {
    if (0x1100...0x1112).contains(left), (0x1161...0x1175).contains(right) {
      return first + (left - 0x1100) * 588 + (right - 0x1161) * 28
    }
    if left >= first, left < first + 11172, (left - first) % 28 == 0, (0x11A8...0x11C2).contains(right) {
      return left + right - 0x11A7
    }
    return nil
  }
}

/// Canonical composition.
enum Composition {
  /// What two scalars compose into, by both as one key.
  private static let pairs: [UInt64: UInt32] = {
    var pairs: [UInt64: UInt32] = [:]
    let table = Decompositions.canonical.table.filter {
      Unicode.Scalar($0.key)?.properties.isFullCompositionExclusion == false
    }
    // A scalar of n parts is that of its first n - 1 and the last, so the short ones come first.
    for (value, parts) in table.sorted(by: { $0.value.count < $1.value.count }) {
      var left = parts.first
      for part in parts.dropFirst().dropLast() { left = left.flatMap { pairs[key($0, part)] } }
      if let left, let right = parts.last, parts.count > 1 { pairs[key(left, right)] = value }
    }
    return pairs
  }()

  private static func key(_ left: UInt32, _ right: UInt32) -> UInt64 { UInt64(left) << 32 | UInt64(right) }

  /// Composes decomposed scalars in place.
  static func compose(_ scalars: inout [Decompositions.Entry]) {
    var starter = -1
    var last: UInt8 = 0
    var count = 0
    for index in scalars.indices {
      let (value, combining) = scalars[index]
      // Blocked when a mark of the same or a higher class, or a starter, stands between.
      let isNext = starter == count - 1
      if starter >= 0, isNext || last < combining,
        let composed = Hangul.compose(scalars[starter].value, value) ?? pairs[key(scalars[starter].value, value)]
      {
        scalars[starter].value = composed
        continue
      }
      scalars[count] = (value, combining)
      if combining == 0 { starter = count }
      last = combining
      count += 1
    }
    scalars.removeLast(scalars.count - count)
  }
}
