import Models
import Torch

// Batches as numbers for another process: little-endian int32, each list with its length before it.
extension TokenBatch {
  /// - Throws: `ModelError` for numbers that do not fit.
  public static func encoded(_ batches: [TokenBatch]) throws -> [UInt8] {
    var numbers = Numbers()
    try numbers.put(batches.count)
    for batch in batches {
      try numbers.put(batch.width)
      try numbers.put(batch.rows.count)
      for row in batch.rows { try numbers.put(row.map(Int.init)) }
      try numbers.put(batch.microBatches)
      try numbers.put(batch.packing == nil ? 0 : 1)
      guard let packing = batch.packing else { continue }
      try numbers.put(packing.positions)
      try numbers.put(packing.segments.flatMap { [$0.query, $0.queries, $0.prefix, $0.prefixKeys, $0.own, $0.keys] })
      for number in [packing.carried, packing.kept.lowerBound, packing.kept.upperBound] { try numbers.put(number) }
      try numbers.put(packing.wanted)
    }
    return numbers.bytes
  }

  /// Reads what `encoded` wrote.
  ///
  /// - Throws: `ModelError` when it is anything else.
  public static func decoded(_ bytes: some Collection<UInt8>) throws -> [TokenBatch] {
    var numbers = NumberReader(bytes: Array(bytes))
    let batches = try (0..<numbers.count()).map { _ in
      let width = try numbers.next()
      let rows = try (0..<numbers.count()).map { _ in try numbers.list().map { Int32(truncatingIfNeeded: $0) } }
      let microBatches = try numbers.list()
      guard try numbers.next() == 1 else { return TokenBatch(rows: rows, width: width, microBatches: microBatches) }
      var packing = Packing()
      packing.positions = try numbers.list()
      let facts = try numbers.list()
      guard facts.count % 6 == 0 else { throw NumberReader.damaged }
      packing.segments = stride(from: 0, to: facts.count, by: 6).map {
        AttentionSegment(
          query: facts[$0], queries: facts[$0 + 1], prefix: facts[$0 + 2], prefixKeys: facts[$0 + 3],
          own: facts[$0 + 4],
          keys: facts[$0 + 5])
      }
      packing.carried = try numbers.next()
      let (start, end) = (try numbers.next(), try numbers.next())
      guard start <= end, let row = rows.first else { throw NumberReader.damaged }
      packing.kept = start..<end
      packing.wanted = try numbers.list()
      return TokenBatch(packed: row, packing)
    }
    guard numbers.isAtEnd else { throw NumberReader.damaged }
    return batches
  }
}

private struct Numbers {
  var bytes: [UInt8] = []

  mutating func put(_ number: Int) throws {
    guard let number = Int32(exactly: number) else {
      throw ModelError("\(number) is too large a number to be sent to another process")
    }
    withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func put(_ list: [Int]) throws {
    try put(list.count)
    for number in list { try put(number) }
  }
}

private struct NumberReader {
  static let damaged = ModelError("what another process sent is no list of batches")

  let bytes: [UInt8]
  var at = 0

  var isAtEnd: Bool { at == bytes.count }

  mutating func next() throws -> Int {
    guard bytes.count - at >= 4 else { throw Self.damaged }
    defer { at += 4 }
    let number = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + $1]) << UInt32(8 * $1) }
    return Int(Int32(bitPattern: number))
  }

  /// How many follow, which is no more than there is room for.
  mutating func count() throws -> Int {
    let count = try next()
    guard count >= 0, count <= (bytes.count - at) / 4 else { throw Self.damaged }
    return count
  }

  mutating func list() throws -> [Int] { try (0..<count()).map { _ in try next() } }
}
