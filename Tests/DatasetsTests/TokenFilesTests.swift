import Datasets
import Foundation
import Testing

/// Indexed datasets: written, read, damaged, cut into rows.
@Suite struct TokenFilesTests {
  private func withFolder<T>(_ body: (String) throws -> T) throws -> T {
    let place = NSTemporaryDirectory() + "coppice-tokens-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: place) }
    return try body(place)
  }

  private let documents: [[Int32]] = [[1, 2, 3], [], [4], [5, 6, 7, 8, 9]]

  private func write(_ documents: [[Int32]], _ prefix: String, vocabulary: Int = 1000) throws {
    let writer = try IndexedTokensWriter(prefix: prefix, vocabulary: vocabulary)
    for document in documents { try writer.append(document) }
    try writer.finish()
  }

  @Test(arguments: [1000, 65_499, 65_500, 200_000]) func whatIsWrittenIsRead(_ vocabulary: Int) throws {
    try withFolder { place in
      let most = Int32(vocabulary - 1)
      try write(documents + [[most]], place + "/a", vocabulary: vocabulary)
      let read = try IndexedTokens(prefix: place + "/a")
      // Documents without tokens are documents, too.
      #expect(read.lengths == [3, 0, 1, 5, 1])
      #expect(read.tokenCount == 10)
      #expect(try read.tokens(document: 3, 1..<4) == [6, 7, 8])
      #expect(try read.tokens(document: 4, 0..<1) == [most])
      #expect(throws: DatasetError.self) { try read.tokens(document: 0, 2..<4) }
      #expect(throws: DatasetError.self) { try read.tokens(document: 9, 0..<0) }
      let bytes = try #require(FileManager.default.contents(atPath: place + "/a.bin"))
      #expect(bytes.count == 10 * (vocabulary < 65_500 ? 2 : 4))
    }
  }

  @Test func nothingIsOverwrittenAndNothingLeft() throws {
    try withFolder { place in
      try write(documents, place + "/a")
      #expect(throws: (any Error).self) { try IndexedTokensWriter(prefix: place + "/a", vocabulary: 10) }
      do {
        let writer = try IndexedTokensWriter(prefix: place + "/b", vocabulary: 10)
        try writer.append([1, 2])
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: place).sorted() == ["a.bin", "a.idx"])
    }
  }

  /// Any damage is an error or changes tokens; it never traps, and never asks for memory without end.
  @Test func damagedIndexesAreRefused() throws {
    try withFolder { place in
      try write(documents, place + "/a")
      let index = Array(try #require(FileManager.default.contents(atPath: place + "/a.idx")))
      func refused(_ bytes: [UInt8]) throws -> Bool {
        try Data(bytes).write(to: URL(fileURLWithPath: place + "/a.idx"))
        do {
          let read = try IndexedTokens(prefix: place + "/a")
          for (document, length) in read.lengths.enumerated() { _ = try read.tokens(document: document, 0..<length) }
          return false
        } catch { return true }
      }
      for count in 0..<index.count { #expect(try refused(Array(index.prefix(count))), "cut to \(count) bytes") }
      var accepted = 0
      for byte in index.indices {
        for bit in 0..<8 {
          var damaged = index
          damaged[byte] ^= 1 << bit
          if try !refused(damaged) { accepted += 1 }
        }
      }
      // A bit of a length or of an end of a document can give another division of the same tokens.
      #expect(accepted < index.count)
      #expect(try !refused(index))
      // Tokens that are missing.
      let tokens = try #require(FileManager.default.contents(atPath: place + "/a.bin"))
      try tokens.prefix(7).write(to: URL(fileURLWithPath: place + "/a.bin"))
      #expect(try refused(index))
    }
  }

  @Test func rowsAreStretchesOfTheText() throws {
    try withFolder { place in
      try write([Array(0..<25), Array(100..<130)], place + "/a")
      let part = TokenBlend.Part(try IndexedTokens(prefix: place + "/a"), documents: 0..<2, weight: 1)
      let blend = try TokenBlend([part], length: 6, count: 40, seed: 3)
      let whole = try TokenBlend([part], length: 6, count: 8, seed: 3, isShuffled: false)
      let inOrder = try (0..<8).flatMap { try whole.row($0).joined().dropLast() }
      let text = Array(Int32(0)..<25) + Array(Int32(100)..<123)
      #expect(inOrder == text)
      // By documents: the fifth row has the last token of one and six of the next.
      #expect(try whole.row(4) == [[24], Array(100..<106)])
      #expect(try whole.row(0).last?.last == whole.row(1).first?.first)
      let rows = try (0..<40).map(blend.row)
      #expect(rows.allSatisfy { $0.joined().count == 7 })
      // The same number gives the same row, in every process.
      let again = try TokenBlend([part], length: 6, count: 40, seed: 3)
      #expect(try (0..<40).map(again.row) == rows)
      let other = try TokenBlend([part], length: 6, count: 40, seed: 4)
      #expect(try (0..<40).map(other.row) != rows)
      // Every token of an epoch goes in once.
      let tokens = rows.flatMap { $0.joined().dropLast() }
      for token in Int32(0)..<25 { #expect((3...6).contains(tokens.count { $0 == token }), "\(token)") }
    }
  }

  @Test func blendsKeepTheirShares() throws {
    try withFolder { place in
      try write([Array(repeating: 1, count: 50)], place + "/a")
      try write([Array(repeating: 2, count: 500)], place + "/b")
      let parts = try [("a", 1.0), ("b", 3)].map { name, weight in
        TokenBlend.Part(try IndexedTokens(prefix: place + "/" + name), documents: 0..<1, weight: weight)
      }
      let blend = try TokenBlend(parts, length: 5, count: 400, seed: 1)
      for end in [4, 40, 400] {
        let share = try (0..<end).count { try blend.row($0).first?.first == 1 }
        #expect(share == end / 4)
      }
      #expect(throws: DatasetError.self) { try TokenBlend([], length: 5, count: 4, seed: 1) }
      let empty = TokenBlend.Part(try IndexedTokens(prefix: place + "/a"), documents: 0..<0, weight: 1)
      #expect(throws: DatasetError.self) { try TokenBlend([empty], length: 5, count: 4, seed: 1) }
    }
  }

  @Test(arguments: [
    ("{\"input\": \"  a \", \"output\": \"b\\n\"}\n", true), ("{\"input\": \"a\"}\n", false), ("", false),
    ("{\"input\": 3, \"output\": \"b\"}\n", false), ("{\"input\": null, \"output\": \"b\"}\n", false), ("[1]\n", false),
    ("{\"input\": \"\", \"output\": \"\", \"other\": [1, {}]}\n", true),
  ])
  func answersHaveBothTexts(_ text: String, _ isGood: Bool) throws {
    try withFolder { place in
      try Data(text.utf8).write(to: URL(fileURLWithPath: place + "/training.jsonl"))
      let pairs = try? AnswerPairs.read(place + "/training.jsonl")
      #expect((pairs != nil) == isGood)
      if let first = pairs?.first, text.contains("  a ") { #expect(first.input == "a" && first.output == "b") }
    }
  }
}
