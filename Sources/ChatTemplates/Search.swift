#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Looks for bytes in bytes, in time that grows with their number alone.
enum Search {
  static func find(_ needle: UnsafeBufferPointer<UInt8>, in hay: UnsafeBufferPointer<UInt8>, from start: Int) -> Int? {
    guard let first = needle.first, let base = hay.baseAddress, let pin = needle.baseAddress else { return start }
    var at = start
    // Bytes compared in vain; with too many of them the text is of the kind that needs the other search.
    var wasted = 0
    let last = hay.count - needle.count
    while at <= last {
      guard let found = memchr(base + at, Int32(first), last - at + 1) else { return nil }
      at = UnsafeRawPointer(found) - UnsafeRawPointer(base)
      if memcmp(base + at, pin, needle.count) == 0 { return at }
      wasted += min(needle.count, 64)
      if needle.count > 64, wasted > 1 << 14 { return carefully(needle, in: hay, from: at + 1) }
      at += 1
    }
    return nil
  }

  /// Knuth, Morris and Pratt: no byte is looked at twice.
  private static func carefully(
    _ needle: UnsafeBufferPointer<UInt8>, in hay: UnsafeBufferPointer<UInt8>, from start: Int
  ) -> Int? {
    var borders = [Int](repeating: 0, count: needle.count)
    var length = 0
    for index in 1..<needle.count {
      while length > 0, needle[index] != needle[length] { length = borders[length - 1] }
      if needle[index] == needle[length] { length += 1 }
      borders[index] = length
    }
    length = 0
    for index in start..<max(start, hay.count) {
      while length > 0, hay[index] != needle[length] { length = borders[length - 1] }
      if hay[index] == needle[length] { length += 1 }
      if length == needle.count { return index - length + 1 }
    }
    return nil
  }
}
