import Datasets
import Foundation
import JSON
import Testing

/// Data that is damaged, made to fill memory, or names what it should not.
@Suite struct HostileDataTests {
  private struct Random {
    var state: UInt64
    mutating func below(_ limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % limit
    }
  }

  private func packed() throws -> [(name: String, bytes: [UInt8])] {
    try golden("formats").compactMap { file in
      guard let name = file["name"]?.string, let bytes = Data(base64Encoded: file["bytes"]?.string ?? "") else {
        return nil
      }
      return (name, Array(bytes))
    }
  }

  private func read(_ path: String) throws {
    _ = try CalibrationData(sources: [path]).pack(encoder: SpyEncoding(), seqLength: 1 << 16, count: 99)
  }

  /// Half a compressed file is never taken for a whole one.
  @Test func refusesFilesThatAreCutShort() throws {
    let scratch = try Scratch()
    var cut = 0
    for (name, bytes) in try packed() where name.hasPrefix("lines.jsonl.") || name.hasPrefix("long.arrow") {
      for length in [bytes.count - 1, bytes.count / 2, 20, 5] where length < bytes.count {
        // What an Arrow stream lacks at its end may be the mark of the end alone.
        if name.hasSuffix(".arrow"), length == bytes.count - 1 { continue }
        let path = try scratch.write(name, Array(bytes[..<length]))
        let said = message { try read(path) }
        #expect(said.contains(name), "\(name) of \(length): \(said)")
        cut += 1
      }
    }
    #expect(cut > 20)
  }

  @Test(.timeLimit(.minutes(3))) func survivesDamage() throws {
    let scratch = try Scratch()
    var random = Random(state: 7)
    var refused = 0
    for (name, whole) in try packed() where whole.count > 4 {
      for _ in 0..<5 {
        var bytes = whole
        for _ in 0...random.below(3) {
          let at = random.below(bytes.count)
          switch random.below(4) {
          case 0: bytes[at] = UInt8(random.below(256))
          case 1: bytes[at] ^= 1 << UInt8(random.below(8))
          case 2: bytes.insert([0, 0x22, 0x5B, 0x7F, 0xFF][random.below(5)], at: at)
          default: if bytes.count > 8 { bytes.removeSubrange(at..<min(bytes.count, at + 1 + random.below(4))) }
          }
        }
        let path = try scratch.write(name, bytes)
        if !message({ try read(path) }).isEmpty { refused += 1 }
        try FileManager.default.removeItem(atPath: path)
      }
    }
    #expect(refused > 100)
  }

  /// 200 MB of spaces or one text in some kilobytes: more than a file of that size may hold.
  @Test(arguments: [
    "blank.jsonl.zst", "text.jsonl.zst", "list.json.gz", "column.csv.zst", "rows.parquet.zst", "rows.arrow.zst",
  ])
  func refusesFilesMadeToFillMemory(_ name: String) {
    let said = message { try read(data("bombs/\(name)")) }
    #expect(said.contains(name), "\(said)")
    #expect(said.contains("unpacks to more than") || said.contains("far more memory"), "\(said)")
  }

  @Test func textsHaveALimit() throws {
    let scratch = try Scratch()
    let path = try scratch.write("a.jsonl", "{\"text\": \"" + String(repeating: "x", count: 33 << 20) + "\"}\n")
    let said = message {
      _ = try CalibrationData(sources: [path]).pack(encoder: ByteEncoding(), seqLength: 9, count: 1)
    }
    #expect(said.contains("a.jsonl") && said.contains("33 MiB"), "\(said)")
  }

  @Test(arguments: [
    ("a.json", "[{\"text\": \"a\"}, 1]", "entry 2"), ("a.json", "[1]", "a number"),
    ("a.json", "[{\"text\": \"a\"}", "file ends"),
    ("a.json", "[{\"text\": \"a\"} {\"text\": \"b\"}]", "after the end"), ("a.json", "[\"a\", {}]", "entry 2"),
    ("a.json", "[{\"text\": \"a\"}]]", "after the end"), ("a.json", "[{\"text\": \"a]\n", "entry 1"),
    ("a.json", "[,]", "entry 1"),
    ("a.json", "[{\"text\": \"a\"}, ]", "entry 2"), ("a.json", "[}]", "entry 1"), ("a.json", "[]", "no text"),
    ("a.json", "{\n  \"text\": \"a\"\n}\n", "over several lines"), ("a.json", "", "no text"),
    ("a.csv", "id,text\n1,\"a\n", "inside a value"), ("a.csv", "text\n\"\u{0}\"\n\"a\"b\"c,d\n", "names 1 columns"),
    ("a.csv", "text\n" + String(repeating: ",", count: 70_000), "65536 values"),
    ("a.csv", "a,b\n1,2\n", "no column with text"), ("a.csv", "", "no text"), ("a.csv", "\n\n", "no text"),
    ("a.jsonl.gz", "plain", "unpacked as gzip"), ("a.jsonl.zst", "plain", "unpacked as zstd"),
    ("a.jsonl.bz2", "plain", "unpacked as bz2"), ("a.jsonl.lz4", "plain", "unpacked as lz4"),
    ("a.jsonl.xz", "plain", "packed as .xz are not read"), ("a.json.zip", "plain", "packed as .zip are not read"),
    ("a.arrow", "", "cannot be read as Arrow"), ("a.arrow", "ARROW1", "cannot be read as Arrow"),
    ("a.arrow", "ARROW1\0\0ARROW1", "cannot be read as Arrow"), ("a.arrow", "{\"text\": 1}", "cannot be read as Arrow"),
    ("a.parquet.gz", "PAR1", "cannot be read as Parquet"),
  ])
  func saysWhatIsWrongWithAFile(name: String, content: String, because: String) throws {
    let scratch = try Scratch()
    let path = try scratch.write(name, content)
    for source in [path, scratch.path] {
      let said = message { try read(source) }
      #expect(said.contains(because) && said.contains(source), "\(said)")
    }
  }

  @Test func nullsOfCSVArePassedOver() throws {
    let scratch = try Scratch()
    let path = try scratch.write("a.csv", "text\nNA\none\n")
    let packed = try CalibrationData(sources: [path]).pack(encoder: ByteEncoding(), seqLength: 9, count: 1)
    #expect(texts(packed.rows) == ["one"])
    #expect(packed.warnings.last?.description.contains("a.csv:2: \"text\" is null") == true)
  }

  @Test(arguments: [
    ("data_files: ../x.jsonl", "leads out"), ("data_files: /etc/passwd", "outside"),
    ("data_files: a/../../x.jsonl", "leads out"),
    ("data_files: https://x.y/z.jsonl", "outside"), ("data_dir: ..", "leads out"), ("data_dir: /tmp", "leads out"),
    ("data_files: \"a\\0b\"", "outside"), ("data_files: ['a**']", "whole directories"),
    ("data_files: .", "names no file"),
    ("data_files: 'zip://a.jsonl::b.zip'", "outside"), ("quotechar: \"'\"", "not known here"),
    ("sep: '::'", "not a single character"), ("data_files: {train: a.jsonl}", "should be a pattern"),
    ("data_files: *a", "anchors and aliases"), ("data_files: !!python/name:os.system x", "tags"),
  ])
  func refusesCardsThatNameWhatTheyShouldNot(entry: String, because: String) throws {
    let scratch = try Scratch()
    try scratch.write("README.md", "---\nconfigs:\n- config_name: default\n  \(entry)\n---\n")
    try scratch.write("train.jsonl", "{\"text\": \"a\"}\n")
    let said = message { _ = try CalibrationData(sources: [scratch.path]) }
    #expect(said.contains(because) && said.contains(scratch.path), "\(said)")
  }

  /// Anchors that would expand to billions, brackets without end, megabytes on a line.
  @Test(.timeLimit(.minutes(3))) func cardsMadeToFillMemoryAreRefusedAtOnce() throws {
    let laughs = (1...9).map { "- &l\($0) [\(Array(repeating: "*l\($0 - 1)", count: 9).joined(separator: ","))]" }
    let cards = [
      "configs:\n- &l0 [lol]\n" + laughs.joined(separator: "\n"),
      "configs: " + String(repeating: "[", count: 500_000),
      "configs:\n" + (1..<2000).map { String(repeating: " ", count: $0) + "a:" }.joined(separator: "\n"),
      "configs: " + String(repeating: "- ", count: 100_000) + "a",
      "configs: \"" + String(repeating: "a\n", count: 400_000),
      "configs: [" + String(repeating: "a,\n", count: 400_000),
      "configs:\n" + String(repeating: "- a\n", count: 500_000),
      "configs: {" + String(repeating: "{", count: 100_000) + String(repeating: "}", count: 100_000) + "}",
      String(repeating: "long: text\n", count: 500_000),
    ]
    for card in cards {
      let start = processorTime()
      let said = message { _ = try DatasetCard(Array("---\n\(card)\n---\n".utf8), place: "x") }
      #expect(said.contains("x"), "\(card.prefix(40)): \(said.prefix(300))")
      #expect(processorTime() - start < 5, "\(card.prefix(40))")
    }
  }

  @Test func mutatedCardsOnlyFail() throws {
    var random = Random(state: 5)
    let cards = try golden("cards").compactMap { $0["card"]?.string }
    let marks = Array("[]{}:,-#&*!|>'\"\\\n \t\r%@`?0a~".utf8)
    var refused = 0
    for round in 0..<4000 {
      var bytes = Array(cards[round % cards.count].utf8)
      for _ in 0...random.below(4) where !bytes.isEmpty {
        let at = random.below(bytes.count)
        switch random.below(3) {
        case 0: bytes[at] = marks[random.below(marks.count)]
        case 1: bytes.remove(at: at)
        default: bytes.insert(contentsOf: Array(["\n  ", "- ", ": ", "\"", "[", "'"][random.below(6)].utf8), at: at)
        }
      }
      if !message({ _ = try DatasetCard(bytes, place: "x") }).isEmpty { refused += 1 }
    }
    #expect(refused > 100)
  }

  private struct Liar: DatasetPlace {
    let paths: [String]
    var name: String { "owner/liar" }
    var identity: String? { "x" }
    func listing() throws -> [DatasetFile] { paths.map { DatasetFile(path: $0, size: 1) } }
    func file(_ path: String) throws -> String { throw DatasetError(.io, "\(path) was asked for") }
    func card() throws -> [UInt8]? { nil }
  }

  @Test(arguments: ["../a.jsonl", "a/../b.jsonl", "/etc/a.jsonl", "a//b.jsonl", "", "./a.jsonl", "a\0.jsonl", "a/"])
  func refusesListingsThatLeadOutOfTheirPlace(path: String) {
    #expect(
      message { _ = try MMLU.load(place: Liar(paths: ["ok.jsonl", path])) }.contains("which is no path of a file"))
  }

  @Test(.timeLimit(.minutes(3))) func longListingsAreLookedThroughQuickly() throws {
    struct Places: DatasetPlaces {
      let place: Liar
      func place(repository: String, revision: String?) throws -> any DatasetPlace { place }
    }
    let paths = (1_000_000..<2_000_000).map { "data/part\($0 / 1000)/shard-\($0).jsonl" } + ["x/dev/a.jsonl"]
    let start = processorTime()
    let said = message { _ = try CalibrationData(sources: ["a/b"], places: Places(place: Liar(paths: paths))) }
    #expect(said.contains("holds no training split, only \"validation\""), "\(said)")
    #expect(processorTime() - start < 10)
  }
}
