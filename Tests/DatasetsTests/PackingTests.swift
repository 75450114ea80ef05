import Datasets
import Testing

@Suite struct PackingTests {
  func file(_ scratch: Scratch, _ name: String, _ documents: [String]) throws -> String {
    try scratch.write(name, documents.map { "{\"text\": \"\($0)\"}\n" }.joined())
  }

  func pack(_ paths: [String], length: Int, count: Int, skipping: Int = 0, seed: UInt64 = 0) throws -> PackedRows {
    try CalibrationData(sources: paths).pack(
      encoder: ByteEncoding(), seqLength: length, count: count, skippingRows: skipping, seed: seed)
  }

  @Test func cutsOneStreamIntoRows() throws {
    let scratch = try Scratch()
    let path = try file(scratch, "a.jsonl", ["abc", "de", "fghi", "j"])
    let packed = try pack([path], length: 5, count: 2)
    #expect(packed.rows == [[97, 98, 99, 256, 100], [101, 256, 102, 103, 104]])
    #expect(packed.documents == 3)
    #expect(packed.seqLength == 5)
    #expect(packed.warnings.isEmpty)
  }

  @Test func rowsAndThoseThatFollowComeFromOneReading() throws {
    let scratch = try Scratch()
    let paths = [
      try file(scratch, "a.jsonl", (0..<90).map { "first \($0 * $0)" }),
      try file(scratch, "b.jsonl", (0..<90).map { "other \($0)" }),
    ]
    for sources in [[paths[0]], paths] {
      // Of the last there are too few: the earlier rows end in a short one.
      for (length, count, following) in [(8, 3, 2), (16, 10, 10), (200, 2, 2), (64, 4, 40), (1000, 1, 1)] {
        let both = try CalibrationData(sources: sources).pack(
          encoder: ByteEncoding(), seqLength: length, count: count, following: following, seed: 3)
        let rows = try pack(sources, length: length, count: count, seed: 3)
        let rest = try pack(sources, length: length, count: following, skipping: count, seed: 3)
        #expect(both.rows.rows == rows.rows && both.rows.warnings == rows.warnings)
        #expect(both.rows.documents == rows.documents)
        #expect(both.following.rows == rest.rows && both.following.warnings == rest.warnings)
      }
    }
  }

  @Test func keepsTheLastPartialRowAndSaysSo() throws {
    let scratch = try Scratch()
    let path = try file(scratch, "a.jsonl", ["abc", "de"])
    let packed = try pack([path], length: 5, count: 4)
    #expect(packed.rows == [[97, 98, 99, 256, 100], [101, 256]])
    #expect(packed.warnings.count == 1)
    #expect(
      packed.warnings[0].description.contains("2 of 4 rows")
        && packed.warnings[0].description.contains("all 2 documents"))
    let full = try pack([path], length: 7, count: 1)
    #expect(full.rows.map(\.count) == [7] && full.warnings.isEmpty)
  }

  @Test func readsSixteenDocumentsForARowAndNoMore() throws {
    let scratch = try Scratch()
    let path = try file(scratch, "a.jsonl", Array(repeating: "a", count: 100) + ["\\ud800"])
    let packed = try pack([path], length: 50, count: 2)
    #expect(packed.rows.map(\.count) == [50, 14])
    #expect(packed.documents == 32)
    #expect(packed.warnings[0].description.contains("at most 16 documents"))
    // Documents that are not needed are not even looked at.
    #expect(throws: DatasetError.self) { try pack([path], length: 50, count: 7) }
  }

  @Test func emptyDocumentsCountAsInTheReference() throws {
    let scratch = try Scratch()
    let path = try file(scratch, "a.jsonl", Array(repeating: "", count: 15) + ["abcdefgh", "ij"])
    let packed = try pack([path], length: 20, count: 1)
    #expect(texts(packed.rows) == ["abcdefgh"])
  }

  @Test func withoutAnEndOfTextDocumentsTouch() throws {
    let scratch = try Scratch()
    let path = try file(scratch, "a.jsonl", ["ab", "c"])
    let packed = try CalibrationData(sources: [path]).pack(
      encoder: ByteEncoding(eosTokenID: nil), seqLength: 3, count: 1)
    #expect(packed.rows == [[97, 98, 99]])
  }

  @Test func rowsAfterThoseUsedContinueTheStream() throws {
    let scratch = try Scratch()
    let path = try file(scratch, "a.jsonl", (0..<200).map { "document number \($0)" })
    let all = try pack([path], length: 16, count: 30)
    let first = try pack([path], length: 16, count: 20)
    let rest = try pack([path], length: 16, count: 10, skipping: 20)
    #expect(first.rows + rest.rows == all.rows)
    let said = message { _ = try pack([path], length: 16, count: 1, skipping: 1000) }
    #expect(said.contains("no text is left after the first 1000 rows"))
  }

  @Test func rowsAfterThoseUsedAreOtherTextWithSeveralSources() throws {
    let scratch = try Scratch()
    let a = try file(scratch, "a.jsonl", (0..<400).map { "<a\($0)>" })
    let b = try file(scratch, "b.jsonl", (0..<400).map { "<b\($0)>" })
    for length in [8, 64] {
      let used = try pack([a, b], length: length, count: 6)
      let after = try pack([a, b], length: length, count: 6, skipping: 6)
      let (left, right) = (Set(texts(used.rows).dropFirst()), Set(texts(after.rows).dropFirst()))
      #expect(!left.isEmpty && !right.isEmpty && left.isDisjoint(with: right))
    }
    // Sixteen short documents fill no row of 200: the rows after begin with documents that were not allowed before.
    let used = Set(texts(try pack([a, b], length: 200, count: 2).rows))
    let after = Set(texts(try pack([a, b], length: 200, count: 2, skipping: 2).rows))
    #expect(used.count == 32 && after.count == 32 && used.isDisjoint(with: after))
  }

  @Test func severalSourcesShareTheRowsEvenlyInTheReferencesOrder() throws {
    let scratch = try Scratch()
    let a = try file(scratch, "a.jsonl", (0..<100).map { "a\($0)" })
    let b = try file(scratch, "b.jsonl", (0..<100).map { "b\($0)" })
    // Three rows: two shares for the first source, one for the second.
    let order = texts(try pack([a, b], length: 1000, count: 3).rows)
    #expect(order.filter { $0.hasPrefix("a") }.count == 32)
    #expect(order.filter { $0.hasPrefix("b") }.count == 16)
    var expected = (0..<32).map { "a\($0)" } + (0..<16).map { "b\($0)" }
    var random = PythonRandom(seed: 0)
    random.shuffle(&expected)
    #expect(order == expected)
    #expect(texts(try pack([a, b], length: 1000, count: 3, seed: 1).rows) != order)
  }

  /// The lists that CPython 3.11's `random.Random(seed).shuffle(list(range(20)))` gives.
  @Test(
    arguments: [
      (0, [10, 18, 16, 14, 0, 17, 11, 2, 3, 9, 5, 7, 4, 19, 6, 15, 8, 1, 13, 12]),
      (1, [11, 5, 17, 19, 9, 0, 16, 1, 15, 6, 10, 13, 14, 12, 7, 3, 8, 2, 18, 4]),
      (1_099_511_627_781, [9, 7, 17, 13, 4, 18, 5, 6, 10, 11, 3, 14, 12, 15, 2, 1, 0, 8, 19, 16]),
    ] as [(UInt64, [Int])])
  func shufflesAsPythonDoes(seed: UInt64, order: [Int]) {
    var items = Array(0..<20)
    var random = PythonRandom(seed: seed)
    random.shuffle(&items)
    #expect(items == order)
  }

  @Test func shufflesLongListsAsPythonDoes() {
    var items = Array(0..<5000)
    var random = PythonRandom(seed: 0)
    random.shuffle(&items)
    #expect(items.prefix(5) == [2795, 4151, 597, 2932, 3289])
    #expect(items.suffix(5) == [4188, 2121, 331, 3445, 3155])
  }

  @Test func refusesDataWithoutTextAndAbsurdRequests() throws {
    let scratch = try Scratch()
    let empty = try scratch.write("empty.jsonl", "")
    #expect(message { _ = try pack([empty], length: 4, count: 1) }.contains("no text in 0 rows"))
    let blank = try file(scratch, "blank.jsonl", ["", ""])
    #expect(message { _ = try pack([blank], length: 4, count: 1) }.contains("no text in 2 rows"))
    let one = try file(scratch, "one.jsonl", ["a"])
    #expect(try pack([one], length: 4096, count: 1024).rows == [[97, 256]])
    #expect(try pack([one], length: .max, count: .max).rows == [[97, 256]])
    for (length, count, skipping) in [(0, 1, 0), (-1, 1, 0), (1, 0, 0), (1, -1, 0), (1, 1, -1)] {
      #expect(throws: DatasetError.self) { try pack([one], length: length, count: count, skipping: skipping) }
    }
    #expect(throws: DatasetError.self) { try pack([one], length: .max, count: 1, skipping: .max) }
  }

  @Test func everyRowBeginsWithTheStartToken() throws {
    let scratch = try Scratch()
    let data = try CalibrationData(sources: [file(scratch, "a.jsonl", ["abcdefg", "hi"])])
    func rows(_ length: Int, _ count: Int, skipping: Int = 0, start: Int = 300) throws -> [[Int32]] {
      try data.pack(
        encoder: ByteEncoding(rowStart: start), seqLength: length, count: count, skippingRows: skipping
      ).rows
    }
    #expect(try rows(4, 9) == [[300, 97, 98, 99], [300, 100, 101, 102], [300, 103, 256, 104], [300, 105, 256]])
    // Rows after others lose no token between them.
    #expect(try rows(4, 2) == Array(rows(4, 9)[..<2]))
    #expect(try rows(4, 9, skipping: 2) == Array(rows(4, 9)[2...]))
    // Text that begins with the token does not begin with it twice.
    #expect(try rows(4, 1, start: 97) == [[97, 98, 99, 100]])
    #expect(throws: DatasetError.self) { try rows(1, 1) }
    #expect(throws: DatasetError.self) { try rows(4, 1, start: -1) }
  }

  @Test func refusesTokensThatNoVocabularyHas() throws {
    struct Broken: TextEncoding {
      let token: Int
      var eosTokenID: Int? { nil }
      func encode(_ text: String) throws -> [Int] { [token] }
    }
    let scratch = try Scratch()
    let one = try CalibrationData(sources: [file(scratch, "one.jsonl", ["a"])])
    for token in [-1, Int(Int32.max) + 1, .max, .min] {
      #expect(throws: DatasetError.self) { try one.pack(encoder: Broken(token: token), seqLength: 1, count: 1) }
    }
  }
}
