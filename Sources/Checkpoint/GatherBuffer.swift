import CCheckpoint

/// Which elements of an axis are kept, as bits, in chunks that fit a buffer.
struct KeptGroups: Sendable {
  /// Bit i of word w stands for element 32 w + i.
  let bits: [UInt32]
  /// Words that are gathered in one call, and how many elements they keep.
  let chunks: [(words: Range<Int>, kept: Int)]
  /// Kept elements after the last whole word.
  let rest: [Int]

  private static let wordsPerChunk = 2048

  /// - Parameter kept: ascending, below `size`.
  init(_ kept: [Int], of size: Int) {
    let words = size / 32
    var bits = [UInt32](repeating: 0, count: words)
    for index in kept where index < words * 32 { bits[index / 32] |= 1 << UInt32(index % 32) }
    self.bits = bits
    rest = kept.filter { $0 >= words * 32 }
    chunks = stride(from: 0, to: words, by: Self.wordsPerChunk).map { start in
      let range = start..<min(start + Self.wordsPerChunk, words)
      return (range, bits[range].reduce(0) { $0 + $1.nonzeroBitCount })
    }
  }
}

/// Collects short pieces before they go to a sink.
struct GatherBuffer {
  private let buffer: UnsafeMutableRawBufferPointer
  private var count = 0

  init(capacity: Int) { buffer = .allocate(byteCount: max(64, capacity), alignment: 64) }

  func deallocate() { buffer.deallocate() }

  mutating func flush(_ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
    if count > 0 { try sink(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
    count = 0
  }

  mutating func append(_ piece: UnsafeRawBufferPointer, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
    if piece.count > buffer.count - count { try flush(sink) }
    guard piece.count < buffer.count / 4 else {
      try flush(sink)
      return try sink(piece)
    }
    UnsafeMutableRawBufferPointer(rebasing: buffer[count..<count + piece.count]).copyMemory(from: piece)
    count += piece.count
  }

  mutating func append(
    words indices: [Int], of size: Int, from source: UnsafeRawBufferPointer, at base: Int,
    _ sink: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    var from = 0
    while from < indices.count {
      if buffer.count - count < size { try flush(sink) }
      let upTo = min(indices.count, from + (buffer.count - count) / size)
      switch size {
      case 1: gather(UInt8.self, indices[from..<upTo], source, base)
      case 2: gather(UInt16.self, indices[from..<upTo], source, base)
      case 4: gather(UInt32.self, indices[from..<upTo], source, base)
      default: gather(UInt64.self, indices[from..<upTo], source, base)
      }
      count += (upTo - from) * size
      from = upTo
    }
  }

  mutating func append(
    _ groups: KeptGroups, of size: Int, from source: UnsafeRawBufferPointer, at base: Int,
    _ sink: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    let gather = size == 2 ? cc_gather16 : cc_gather32
    for chunk in groups.chunks {
      // The last register of a chunk is stored whole.
      if buffer.count - count < chunk.kept * size + 128 { try flush(sink) }
      groups.bits.withUnsafeBufferPointer { bits in
        guard let bits = bits.baseAddress, let from = source.baseAddress, let to = buffer.baseAddress else { return }
        gather(
          from + base + chunk.words.lowerBound * 32 * size, bits + chunk.words.lowerBound, chunk.words.count,
          to + count)
      }
      count += chunk.kept * size
    }
    try append(words: groups.rest, of: size, from: source, at: base, sink)
  }

  private func gather<Word: FixedWidthInteger & BitwiseCopyable>(
    _: Word.Type, _ indices: ArraySlice<Int>, _ source: UnsafeRawBufferPointer, _ base: Int
  ) {
    let size = MemoryLayout<Word>.size
    var to = count
    for index in indices {
      buffer.storeBytes(
        of: source.loadUnaligned(fromByteOffset: base + index * size, as: Word.self), toByteOffset: to, as: Word.self)
      to += size
    }
  }
}
