/// Python's `random.Random(seed).shuffle`, so that shuffled calibration data stands in the reference's order.
///
/// Source: Matsumoto and Nishimura 1998 (MT19937, `init_by_array`), and the documented behaviour of CPython's
/// `random` module.
package struct PythonRandom {
  private var state = [UInt32](repeating: 0, count: 624)
  private var at = 624

  package init(seed: UInt64) {
    let key = seed >> 32 == 0 ? [UInt32(seed)] : [UInt32(truncatingIfNeeded: seed), UInt32(seed >> 32)]
    state[0] = 19_650_218
    for i in 1..<624 { state[i] = 1_812_433_253 &* (state[i - 1] ^ state[i - 1] >> 30) &+ UInt32(i) }
    var (i, j) = (1, 0)
    func advance() {
      i += 1
      if i == 624 {
        state[0] = state[623]
        i = 1
      }
    }
    for _ in 0..<624 {
      state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >> 30) &* 1_664_525) &+ key[j] &+ UInt32(j)
      j = (j + 1) % key.count
      advance()
    }
    for _ in 0..<623 {
      state[i] = (state[i] ^ (state[i - 1] ^ state[i - 1] >> 30) &* 1_566_083_941) &- UInt32(i)
      advance()
    }
    state[0] = 0x8000_0000
  }

  mutating func next() -> UInt32 {
    if at == 624 { refill() }
    var y = state[at]
    at += 1
    y ^= y >> 11
    y ^= y << 7 & 0x9D2C_5680
    y ^= y << 15 & 0xEFC6_0000
    return y ^ y >> 18
  }

  private mutating func refill() {
    for i in 0..<624 {
      let y = state[i] & 0x8000_0000 | state[(i + 1) % 624] & 0x7FFF_FFFF
      state[i] = state[(i + 397) % 624] ^ y >> 1 ^ (y & 1 == 0 ? 0 : 0x9908_B0DF)
    }
    at = 0
  }

  /// A number below `limit`, which is above zero.
  package mutating func below(_ limit: Int) -> Int {
    let bits = Int.bitWidth - limit.leadingZeroBitCount
    while true {
      var value: Int
      if bits <= 32 {
        value = Int(next() >> UInt32(32 - bits))
      } else {
        value = Int(next())
        value |= Int(next() >> UInt32(64 - bits)) << 32
      }
      if value < limit { return value }
    }
  }

  package mutating func shuffle<Element>(_ items: inout [Element]) {
    for i in items.indices.dropFirst().reversed() { items.swapAt(i, below(i + 1)) }
  }
}
