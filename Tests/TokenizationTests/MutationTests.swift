import JSON
import Testing
import Tokenization

/// Broken tokenizer files: each loads or is refused, and one that loads encodes or says why not. None may trap.
@Suite struct MutationTests {
  static let texts = [
    "", "Hello wörld 123 <mask> don't", " \u{301}\u{1F600}\u{2581}a\r\n\n=====", "日本語 DAY <tool_call>x",
  ]

  private func exercise(_ bytes: [UInt8]) -> Bool {
    guard let tokenizer = try? Tokenizer(tokenizerJSON: bytes, file: "mutated") else { return false }
    for text in Self.texts {
      guard let ids = try? tokenizer.encode(text) else { continue }
      _ = try? tokenizer.decode(ids, skipSpecialTokens: text.count > 10)
    }
    return true
  }

  @Test(
    .timeLimit(.minutes(2)), arguments: ["llama3", "llama2", "unigram_charsmap", "clip", "bert", "metaspace_strip"])
  func bytesChanged(_ name: String) throws {
    let original = try Files.bytes(Files.folder(name) + "/tokenizer.json")
    #expect(exercise(original))
    var random = Generator(state: name.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) })
    // Most of a file is vocabulary; what says how it works stands outside it.
    let model = original.firstRange(of: Array("\"vocab\"".utf8))?.lowerBound ?? original.count
    for _ in 0..<400 {
      var bytes = original
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let near = Bool.random(using: &random) ? min(model, bytes.count) : bytes.count
        let at = Int.random(in: 0..<max(1, near), using: &random)
        guard at < bytes.count else { continue }
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: at)
        case 2: bytes.insert(Array("0123456789\"[]{}:,-nt\\".utf8).randomElement(using: &random) ?? 0, at: at)
        default: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...40, using: &random)))
        }
      }
      _ = exercise(bytes)
    }
  }

  @Test(.timeLimit(.minutes(3)), arguments: Files.names) func valuesChanged(_ name: String) throws {
    let original = try Files.json(Files.folder(name) + "/tokenizer.json")
    var random = Generator(state: 99)
    var loaded = 0
    for _ in 0..<120 {
      var value = original
      for _ in 0..<Int.random(in: 1...2, using: &random) { value = mutate(value, &random, depth: 0) }
      if exercise(Array(value.serialized().utf8)) { loaded += 1 }
    }
    // Some must get through, or nothing beyond loading is tried.
    #expect(loaded > 0)
  }

  private func odd(_ random: inout Generator) -> JSON {
    let odd: [JSON] = [
      .null, .bool(true), .bool(false), .int(0), .int(-1), .int(1), .int(Int.max), .int(1 << 31), .int(4_294_967_296),
      .double(1e300), .text(""), .text("a"), .text("\u{2581}"), .text("(a|b)*+[^"), .text("\u{0}"), .array([]),
      .object([]),
      .array([.int(1), .text("x")]), .object([("type", .text("Sequence"))]), .object([("type", .text("ByteLevel"))]),
      .object([("Regex", .text(#"\s*|(?=\p{L})"#))]), .object([("String", .text(""))]), .text("Isolated"),
      .text("ByteLevel"),
    ]
    return odd.randomElement(using: &random) ?? .null
  }

  private func mutate(_ value: JSON, _ random: inout Generator, depth: Int) -> JSON {
    switch value {
    case .object(var object) where object.count > 0:
      if depth > 0, Int.random(in: 0..<8, using: &random) == 0 { return odd(&random) }
      guard let entry = object.entries.randomElement(using: &random) else { return value }
      if Int.random(in: 0..<10, using: &random) == 0 {
        object[entry.key] = nil
      } else {
        object[entry.key] = mutate(entry.value, &random, depth: depth + 1)
      }
      return .object(object)
    case .array(var items) where !items.isEmpty:
      let at = Int.random(in: 0..<items.count, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0: items.remove(at: at)
      case 1: items.append(items[at])
      case 2: items.swapAt(at, 0)
      default: items[at] = mutate(items[at], &random, depth: depth + 1)
      }
      return .array(items)
    default: return odd(&random)
    }
  }
}

/// The same numbers on every run (SplitMix64).
struct Generator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }
}
