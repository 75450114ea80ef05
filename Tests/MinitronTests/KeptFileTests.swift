import Foundation
import JSON
import Minitron
import Testing

/// Files with a checksum of their bytes.
@Suite struct KeptFileTests {
  private let entries = JSON.Object([
    ("fingerprint", .object([("weights", .text("a\"b")), ("empty", .text(""))])),
    ("scores", .array([.double(1.5), .double(-0.25), .int(3), .null, .bool(true)])),
  ])

  @Test func readsWhatItWrote() throws {
    for entries in [entries, JSON.Object([("a", .int(1))])] {
      let bytes = KeptFile.bytes(entries)
      let read = try #require(KeptFile.parse(bytes))
      for (key, value) in entries { #expect(read[key.description] == value) }
      #expect(read.entries.count == entries.entries.count + 1)
      // It is JSON for everybody else.
      #expect(try JSON(parsing: bytes)["sha256"]?.string?.utf8.count == 64)
    }
  }

  @Test func everyBitCounts() {
    let good = KeptFile.bytes(entries)
    for bit in 0..<good.count * 8 {
      var bad = good
      bad[bit / 8] ^= 1 << (bit % 8)
      #expect(KeptFile.parse(bad) == nil, "bit \(bit)")
    }
  }

  @Test func nothingElseIsTakenForOne() {
    let good = KeptFile.bytes(entries)
    for count in 0..<good.count { #expect(KeptFile.parse(Array(good.prefix(count))) == nil) }
    for text in ["", "{}", "[]", #"{"scores":{}}"#, String(repeating: "x", count: 200)] {
      #expect(KeptFile.parse(Array(text.utf8)) == nil)
    }
    #expect(KeptFile.parse(good + [0x20]) == nil)
    #expect(KeptFile.parse([0xEF, 0xBB, 0xBF] + good) == nil)
  }
}
