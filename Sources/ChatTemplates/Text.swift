#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A string as Python has it: a row of Unicode scalars, kept as UTF-8. Swift's `String` would merge scalars into
/// characters, and call strings equal that are not.
struct Text: Hashable, Sendable, ExpressibleByStringLiteral {
  let utf8: [UInt8]
  let isASCII: Bool
  /// What `safe` and `escape` make: text that escapes what is joined to it.
  let isMarkup: Bool

  init(_ utf8: [UInt8], isMarkup: Bool = false) {
    self.utf8 = utf8
    var any: UInt8 = 0
    for byte in utf8 { any |= byte }
    isASCII = any < 0x80
    self.isMarkup = isMarkup
  }

  init(_ utf8: some Sequence<UInt8>) { self.init(Array(utf8)) }
  init(_ string: String) { self.init(Array(string.utf8)) }
  init(stringLiteral value: String) { self.init(value) }

  init(_ scalars: some Sequence<Unicode.Scalar>) {
    var bytes: [UInt8] = []
    for scalar in scalars { bytes.append(scalar: scalar) }
    self.init(bytes)
  }

  static func == (a: Text, b: Text) -> Bool { a.utf8 == b.utf8 }
  func hash(into hasher: inout Hasher) { hasher.combine(utf8) }

  var string: String { String(decoding: utf8, as: UTF8.self) }
  var isEmpty: Bool { utf8.isEmpty }
  func marked(_ isMarkup: Bool) -> Text { isMarkup == self.isMarkup ? self : Text(utf8, isMarkup: isMarkup) }

  /// Scalars in order.
  var scalars: String.UnicodeScalarView { string.unicodeScalars }

  /// Python's `len`.
  var count: Int {
    if isASCII { return utf8.count }
    var count = 0
    for byte in utf8 where byte & 0xC0 != 0x80 { count += 1 }
    return count
  }

  /// The offset in bytes of a scalar by its number, which may be that of the end.
  func offset(of scalar: Int) -> Int {
    if isASCII { return Swift.min(scalar, utf8.count) }
    var left = scalar
    var at = 0
    while at < utf8.count {
      if utf8[at] & 0xC0 != 0x80 {
        if left == 0 { return at }
        left -= 1
      }
      at += 1
    }
    return utf8.count
  }

  /// The number of the scalar at an offset in bytes.
  func index(atOffset offset: Int) -> Int {
    if isASCII { return offset }
    var count = 0
    for byte in utf8[..<offset] where byte & 0xC0 != 0x80 { count += 1 }
    return count
  }

  /// Scalars from `start` up to `end`.
  func part(_ start: Int, _ end: Int) -> Text {
    guard start < end else { return Text([], isMarkup: isMarkup) }
    let first = offset(of: start)
    let last = isASCII ? Swift.min(end, utf8.count) : offset(of: end)
    return Text(Array(utf8[first..<last]), isMarkup: isMarkup)
  }

  func bytes(_ range: Range<Int>) -> Text { Text(Array(utf8[range]), isMarkup: isMarkup) }

  /// The offset of the first `needle` at or after `start`.
  func find(_ needle: Text, from start: Int = 0, to end: Int? = nil) -> Int? {
    let end = end ?? utf8.count
    guard start <= end, needle.utf8.count <= end - start else { return nil }
    if needle.isEmpty { return start }
    return utf8.withUnsafeBufferPointer { hay in
      needle.utf8.withUnsafeBufferPointer {
        Search.find($0, in: UnsafeBufferPointer(rebasing: hay[..<end]), from: start)
      }
    }
  }

  /// The offset of the last `needle` that ends at or before `end`.
  func findLast(_ needle: Text, from start: Int = 0, to end: Int? = nil) -> Int? {
    let end = end ?? utf8.count
    if needle.utf8.count > 16 {
      // Backwards, so that no text makes it slow.
      let hay = Text(utf8[start..<end].reversed())
      return hay.find(Text(needle.utf8.reversed())).map { end - $0 - needle.utf8.count }
    }
    var at = end - needle.utf8.count
    while at >= start {
      if utf8[at..<at + needle.utf8.count].elementsEqual(needle.utf8) { return at }
      at -= 1
    }
    return nil
  }

  func contains(_ needle: Text) -> Bool { find(needle) != nil }
  func hasPrefix(_ prefix: Text) -> Bool { utf8.starts(with: prefix.utf8) }
  func hasSuffix(_ suffix: Text) -> Bool {
    utf8.count >= suffix.utf8.count && utf8[(utf8.count - suffix.utf8.count)...].elementsEqual(suffix.utf8)
  }

  /// The order of scalars, which is that of bytes.
  func isBefore(_ other: Text) -> Bool {
    let common = Swift.min(utf8.count, other.utf8.count)
    let order = utf8.withUnsafeBytes { a in other.utf8.withUnsafeBytes { b in compare(a, b, common) } }
    return order == 0 ? utf8.count < other.utf8.count : order < 0
  }

  private func compare(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer, _ count: Int) -> Int32 {
    guard count > 0, let a = a.baseAddress, let b = b.baseAddress else { return 0 }
    return memcmp(a, b, count)
  }

  /// Pieces between occurrences of `separator`, which is not empty; at most `limit` cuts.
  func split(_ separator: Text, limit: Int = .max) -> [Text] {
    var pieces: [Text] = []
    var start = 0
    while pieces.count < limit, let found = find(separator, from: start) {
      pieces.append(bytes(start..<found))
      start = found + separator.utf8.count
    }
    pieces.append(bytes(start..<utf8.count))
    return pieces
  }
}

extension [UInt8] {
  mutating func append(scalar: Unicode.Scalar) {
    if scalar.value < 0x80 {
      append(UInt8(truncatingIfNeeded: scalar.value))
    } else {
      append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
    }
  }
}
