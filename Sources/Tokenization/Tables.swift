/// Hashes bytes, eight at a time.
@inline(__always)
func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
  let prime: UInt64 = 0x9E37_79B9_7F4A_7C15
  var state = UInt64(truncatingIfNeeded: bytes.count) &* prime
  let raw = UnsafeRawBufferPointer(bytes)
  var at = 0
  while at + 8 <= raw.count {
    state = (state ^ raw.loadUnaligned(fromByteOffset: at, as: UInt64.self)) &* prime
    state ^= state >> 32
    at += 8
  }
  var rest: UInt64 = 0
  while at < raw.count {
    rest = rest << 8 | UInt64(raw[at])
    at += 1
  }
  state = (state ^ rest) &* prime
  return state ^ state >> 29
}

/// A map from 64-bit keys to 64-bit values: open addressing, no removal. The key `~0` is not allowed.
struct IntMap: Sendable {
  private var keys: [UInt64]
  private var values: [UInt64]
  private var mask: Int
  private(set) var count = 0

  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    keys = Array(repeating: ~0, count: size)
    values = Array(repeating: 0, count: size)
    mask = size - 1
  }

  @inline(__always)
  private func slot(_ key: UInt64) -> Int {
    var hash = key &* 0x9E37_79B9_7F4A_7C15
    hash ^= hash >> 32
    return Int(truncatingIfNeeded: hash) & mask
  }

  @inline(__always)
  func find(_ key: UInt64) -> UInt64? {
    keys.withUnsafeBufferPointer { keys in
      var at = slot(key)
      while true {
        let there = keys[at]
        if there == key { return values.withUnsafeBufferPointer { $0[at] } }
        if there == ~0 { return nil }
        at = (at + 1) & mask
      }
    }
  }

  mutating func insert(_ key: UInt64, _ value: UInt64) {
    if (count + 1) * 2 > keys.count { grow() }
    var at = slot(key)
    while keys[at] != ~0, keys[at] != key { at = (at + 1) & mask }
    if keys[at] == ~0 { count += 1 }
    keys[at] = key
    values[at] = value
  }

  private mutating func grow() {
    let old = (keys, values)
    keys = Array(repeating: ~0, count: old.0.count * 2)
    values = Array(repeating: 0, count: old.0.count * 2)
    mask = keys.count - 1
    count = 0
    for (key, value) in zip(old.0, old.1) where key != ~0 { insert(key, value) }
  }
}

/// A map from byte strings to ids, and back by the order of insertion.
struct ByteTable: Sendable {
  private var arena: [UInt8] = []
  private var ends: [Int] = []
  private var ids: [Int32] = []
  private var slots: [Int32]

  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    slots = Array(repeating: -1, count: size)
    ends.reserveCapacity(capacity)
    ids.reserveCapacity(capacity)
  }

  var count: Int { ids.count }

  func key(at index: Int) -> ArraySlice<UInt8> { arena[(index == 0 ? 0 : ends[index - 1])..<ends[index]] }

  func id(at index: Int) -> Int { Int(ids[index]) }

  private func slot(_ key: UnsafeBufferPointer<UInt8>) -> Int {
    let mask = slots.count - 1
    var at = Int(truncatingIfNeeded: hash(key)) & mask
    return arena.withUnsafeBufferPointer { arena in
      while slots[at] >= 0 {
        let index = Int(slots[at])
        let start = index == 0 ? 0 : ends[index - 1]
        if ends[index] - start == key.count, arena[start..<ends[index]].elementsEqual(key) { return at }
        at = (at + 1) & mask
      }
      return at
    }
  }

  func find(_ key: UnsafeBufferPointer<UInt8>) -> Int? {
    let index = slots[slot(key)]
    return index >= 0 ? Int(ids[Int(index)]) : nil
  }

  func find(_ key: some Sequence<UInt8>) -> Int? { Array(key).withUnsafeBufferPointer { find($0) } }

  /// Adds a key, or gives the one there another id.
  mutating func insert(_ key: [UInt8], _ id: Int) {
    if (ids.count + 1) * 2 > slots.count { grow() }
    let at = key.withUnsafeBufferPointer { slot($0) }
    if slots[at] >= 0 {
      ids[Int(slots[at])] = Int32(truncatingIfNeeded: id)
    } else {
      slots[at] = Int32(truncatingIfNeeded: ids.count)
      arena.append(contentsOf: key)
      ends.append(arena.count)
      ids.append(Int32(truncatingIfNeeded: id))
    }
  }

  private mutating func grow() {
    slots = Array(repeating: -1, count: slots.count * 2)
    for index in ids.indices {
      let at = key(at: index).withUnsafeBufferPointer { slot($0) }
      slots[at] = Int32(truncatingIfNeeded: index)
    }
  }
}

/// A trie over bytes with an id at the end of each string put in.
struct ByteTrie: Sendable {
  private var children: IntMap
  private var leaves: [Int32] = [-1]
  private var roots = [Int32](repeating: -1, count: 256)

  init(capacity: Int = 16) { children = IntMap(capacity: capacity) }

  static let root = 0

  @inline(__always)
  func child(_ node: Int, _ byte: UInt8) -> Int? {
    if node == 0 {
      let child = roots[Int(byte)]
      return child < 0 ? nil : Int(child)
    }
    return children.find(UInt64(node) << 8 | UInt64(byte)).map { Int($0) }
  }

  /// The id of the string that ends at this node.
  @inline(__always)
  func leaf(_ node: Int) -> Int? {
    let id = leaves[node]
    return id < 0 ? nil : Int(id)
  }

  @inline(__always)
  func canStart(_ byte: UInt8) -> Bool { roots[Int(byte)] >= 0 }

  mutating func insert(_ string: some Sequence<UInt8>, _ id: Int) {
    var node = Self.root
    for byte in string {
      if let next = child(node, byte) {
        node = next
        continue
      }
      let next = leaves.count
      leaves.append(-1)
      if node == 0 {
        roots[Int(byte)] = Int32(truncatingIfNeeded: next)
      } else {
        children.insert(UInt64(node) << 8 | UInt64(byte), UInt64(next))
      }
      node = next
    }
    leaves[node] = Int32(truncatingIfNeeded: id)
  }

  /// The longest string of the trie that starts at `at`, and how many bytes were looked at.
  func longest(in text: UnsafeBufferPointer<UInt8>, at start: Int) -> (found: (id: Int, end: Int)?, walked: Int) {
    var best: (Int, Int)?
    var node = Self.root
    var at = start
    while at < text.count, let next = child(node, text[at]) {
      node = next
      at += 1
      if let id = leaf(node) { best = (id, at) }
    }
    return (best, at - start)
  }
}

/// Words already cut, with their ids: what makes ordinary text fast. Emptied when full.
struct WordCache {
  static let maximumWord = 256
  private static let maximumIDs = 1 << 18
  private static let maximumBytes = 1 << 20

  private var slots = [UInt64](repeating: 0, count: 1 << 12)
  private var entries: [(hash: UInt64, keyStart: Int32, keyCount: Int32, idStart: Int32, idCount: Int32)] = []
  private var keys: [UInt8] = []
  private var ids: [Int32] = []

  /// Appends the ids of a word that is known; false when it is not.
  mutating func append(_ word: UnsafeBufferPointer<UInt8>, hash: UInt64, to out: inout [Int]) -> Bool {
    let mask = slots.count - 1
    var at = Int(truncatingIfNeeded: hash) & mask
    while slots[at] != 0 {
      let entry = entries[Int(slots[at]) - 1]
      if entry.hash == hash, Int(entry.keyCount) == word.count, matches(Int(entry.keyStart), word) {
        let start = Int(entry.idStart)
        for index in start..<start + Int(entry.idCount) { out.append(Int(ids[index])) }
        return true
      }
      at = (at + 1) & mask
    }
    return false
  }

  private func matches(_ start: Int, _ word: UnsafeBufferPointer<UInt8>) -> Bool {
    keys.withUnsafeBufferPointer { keys in
      for index in 0..<word.count where keys[start + index] != word[index] { return false }
      return true
    }
  }

  mutating func insert(_ word: UnsafeBufferPointer<UInt8>, hash: UInt64, _ found: ArraySlice<Int>) {
    if word.count > Self.maximumWord { return }
    if ids.count + found.count > Self.maximumIDs || keys.count + word.count > Self.maximumBytes { self = WordCache() }
    entries.append(
      (hash, Int32(keys.count), Int32(word.count), Int32(ids.count), Int32(found.count)))
    keys.append(contentsOf: word)
    for id in found { ids.append(Int32(truncatingIfNeeded: id)) }
    if entries.count * 2 > slots.count {
      slots = Array(repeating: 0, count: slots.count * 2)
      for index in entries.indices { place(index) }
    } else {
      place(entries.count - 1)
    }
  }

  private mutating func place(_ index: Int) {
    let mask = slots.count - 1
    var at = Int(truncatingIfNeeded: entries[index].hash) & mask
    while slots[at] != 0 { at = (at + 1) & mask }
    slots[at] = UInt64(index + 1)
  }
}
