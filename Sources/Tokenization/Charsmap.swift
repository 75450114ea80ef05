internal import Foundation
internal import JSON

/// SentencePiece's `precompiled_charsmap`: a Darts double array from byte strings to their replacements.
///
/// Layout (sentencepiece `normalizer.cc`): the array's size in bytes as 32 little-endian bits, the array of 32-bit units,
/// then the replacements, each ended by a zero byte.
struct Charsmap: Sendable {
  private let units: [UInt32]
  private let replacements: [UInt8]

  init(_ field: Field) throws {
    guard let data = Data(base64Encoded: try field.string()) else { throw field.error("not valid base64") }
    let bytes = [UInt8](data)
    guard bytes.count >= 4 else { throw field.error("too short for a character map") }
    let size = Int(Self.word(bytes, 0))
    guard size % 4 == 0, size > 0, size <= bytes.count - 4 else {
      throw field.error("a trie of \(size) bytes in a character map of \(bytes.count)")
    }
    units = (0..<size / 4).map { Self.word(bytes, 4 + 4 * $0) }
    replacements = Array(bytes[(4 + size)...])
    guard String(validating: replacements, as: UTF8.self) != nil else {
      throw field.error("replacements that are not UTF-8")
    }
  }

  private static func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
    UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24
  }

  /// The replacement of the shortest prefix of `key` that has one. (The longest would be expected; the oracle and
  /// the models made for it have always taken the shortest.)
  private func replacement(_ key: UnsafeBufferPointer<UInt8>) -> ArraySlice<UInt8>? {
    func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & 1 << 9) >> 6)) }
    var node = offset(units[0])
    for byte in key {
      if byte == 0 { return nil }
      node ^= Int(byte)
      guard units.indices.contains(node) else { return nil }
      let unit = units[node]
      if unit & (1 << 31 | 0xFF) != UInt32(byte) { return nil }
      node ^= offset(unit)
      guard unit >> 8 & 1 == 1 else { continue }
      guard units.indices.contains(node) else { return nil }
      let start = Int(units[node] & (1 << 31 - 1))
      guard start <= replacements.count, start == 0 || start == replacements.count || replacements[start] & 0xC0 != 0x80
      else { return nil }
      return replacements[start...].prefix { $0 != 0 }
    }
    return nil
  }

  /// The text with every grapheme cluster (or, failing that, scalar) replaced that the map knows; nil when none is.
  func normalize(_ text: UnsafeBufferPointer<UInt8>, _ effort: Effort) throws -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var changed = false
    func take(_ start: Int, _ end: Int) throws -> Bool {
      guard let new = replacement(UnsafeBufferPointer(rebasing: text[start..<end])) else { return false }
      out.append(contentsOf: new)
      if new.count > 64 {
        try effort.spend(new.count, "the character map")
        try Limits.check(out.count, from: text.count)
      }
      changed = true
      return true
    }
    var at = 0
    try Graphemes.forEach(in: text) { start, end in
      if end - start < 6, try take(start, end) { return }
      at = start
      while at < end {
        let next = at + scalar(in: text, at: at).length
        if try !take(at, next) { out.append(contentsOf: text[at..<next]) }
        at = next
      }
    }
    return changed ? out : nil
  }
}

/// Extended grapheme clusters.
enum Graphemes {
  static func forEach(in text: UnsafeBufferPointer<UInt8>, _ body: (Int, Int) throws -> Void) rethrows {
    let string = String(decoding: text, as: UTF8.self)
    var start = 0
    for character in string {
      let end = start + character.utf8.count
      try body(start, end)
      start = end
    }
  }
}
