internal import JSON

/// Which pairs of tokens merge, in what order, into what.
struct MergeTable: Sendable {
  private var map: IntMap

  /// Reads a list of `"a b"` or `["a", "b"]`; later duplicates count.
  init(_ field: Field, _ vocabulary: Vocabulary, prefix: [UInt8]) throws {
    guard let items = field.value.array else { throw field.error("expected a list, found \(field.value.kind)") }
    map = IntMap(capacity: items.count)
    var rank = 0
    for (index, item) in items.enumerated() {
      func failure(_ message: String) -> TokenizerError { field.error("merge \(index): \(message)") }
      let left: [UInt8]
      let right: [UInt8]
      if let line = item.text?.utf8 {
        if line.starts(with: "#version".utf8) { continue }
        let parts = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw failure("expected two tokens with a space between them") }
        (left, right) = (Array(parts[0]), Array(parts[1]))
      } else if let pair = item.array {
        guard pair.count == 2, let first = pair[0].text, let second = pair[1].text else {
          throw failure("expected two tokens")
        }
        (left, right) = (first.utf8, second.utf8)
      } else {
        throw failure("expected a string or a list of two, found \(item.kind)")
      }
      func id(_ token: [UInt8]) throws -> UInt64 {
        guard let id = vocabulary.id(of: token) else {
          throw failure("\"\(String(decoding: token, as: UTF8.self))\" is not in the vocabulary")
        }
        return UInt64(id)
      }
      let (a, b) = (try id(left), try id(right))
      guard right.count >= prefix.count else {
        throw failure("the second token is shorter than continuing_subword_prefix")
      }
      let merged = try id(left + right.dropFirst(prefix.count))
      map.insert(a << 32 | b, UInt64(rank) << 32 | merged)
      rank += 1
    }
  }

  /// Rank in the upper 32 bits, the merged id in the lower; `.max` when the pair does not merge.
  @inline(__always)
  func find(_ left: Int32, _ right: Int32) -> UInt64 {
    map.find(UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))) ?? .max
  }
}

/// Merges the symbols of one word in place.
struct MergeScratch {
  var symbols: [Int32] = []
  private var pairs: [UInt64] = []
  private var next: [Int32] = []
  private var previous: [Int32] = []
  private var heap: [(key: UInt64, id: Int32)] = []

  mutating func merge(_ table: MergeTable) {
    if symbols.count < 2 { return }
    if symbols.count <= 24 { mergeShort(table) } else { mergeLong(table) }
  }

  /// Few symbols: look at all pairs each time.
  private mutating func mergeShort(_ table: MergeTable) {
    pairs.removeAll(keepingCapacity: true)
    for index in 1..<symbols.count { pairs.append(table.find(symbols[index - 1], symbols[index])) }
    while true {
      var best = UInt64.max
      var at = -1
      for index in pairs.indices where pairs[index] < best {
        best = pairs[index]
        at = index
      }
      if at < 0 { return }
      symbols[at] = Int32(truncatingIfNeeded: best & 0xFFFF_FFFF)
      symbols.remove(at: at + 1)
      pairs.remove(at: at)
      if at > 0 { pairs[at - 1] = table.find(symbols[at - 1], symbols[at]) }
      if at < pairs.count { pairs[at] = table.find(symbols[at], symbols[at + 1]) }
    }
  }

  /// Many symbols: a linked list, and a heap of pairs by rank, then place. A pair that has changed since it went
  /// into the heap is passed over.
  private mutating func mergeLong(_ table: MergeTable) {
    let count = symbols.count
    next = (0..<count).map { $0 + 1 < count ? Int32($0 + 1) : -1 }
    previous = (0..<count).map { Int32($0 - 1) }
    heap.removeAll(keepingCapacity: true)
    func entry(_ found: UInt64, _ at: Int) -> (UInt64, Int32) {
      (found & 0xFFFF_FFFF_0000_0000 | UInt64(at), Int32(truncatingIfNeeded: found & 0xFFFF_FFFF))
    }
    for index in 1..<count {
      let found = table.find(symbols[index - 1], symbols[index])
      if found != .max { push(entry(found, index - 1)) }
    }
    while let top = pop() {
      let at = Int(top.key & 0xFFFF_FFFF)
      guard symbols[at] >= 0, next[at] >= 0 else { continue }
      let right = Int(next[at])
      let found = table.find(symbols[at], symbols[right])
      guard found != .max, Int32(truncatingIfNeeded: found & 0xFFFF_FFFF) == top.id else { continue }
      symbols[at] = top.id
      symbols[right] = -1
      next[at] = next[right]
      if next[at] >= 0 {
        let after = Int(next[at])
        previous[after] = Int32(at)
        let found = table.find(symbols[at], symbols[after])
        if found != .max { push(entry(found, at)) }
      }
      if previous[at] >= 0 {
        let before = Int(previous[at])
        let found = table.find(symbols[before], symbols[at])
        if found != .max { push(entry(found, before)) }
      }
    }
    symbols.removeAll { $0 < 0 }
  }

  private mutating func push(_ entry: (key: UInt64, id: Int32)) {
    heap.append(entry)
    var at = heap.count - 1
    while at > 0 {
      let parent = (at - 1) / 2
      if heap[parent].key <= entry.key { break }
      heap[at] = heap[parent]
      at = parent
    }
    heap[at] = entry
  }

  private mutating func pop() -> (key: UInt64, id: Int32)? {
    guard let top = heap.first, let last = heap.popLast() else { return nil }
    if heap.isEmpty { return top }
    var at = 0
    while true {
      var child = 2 * at + 1
      if child >= heap.count { break }
      if child + 1 < heap.count, heap[child + 1].key < heap[child].key { child += 1 }
      if heap[child].key >= last.key { break }
      heap[at] = heap[child]
      at = child
    }
    heap[at] = last
    return top
  }
}
