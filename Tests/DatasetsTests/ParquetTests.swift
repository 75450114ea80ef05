import Datasets
import Foundation
import Testing

@Suite struct ParquetTests {
  @Test(arguments: ["plain", "dictionary", "large"])
  func readsEveryKindOfText(_ name: String) throws {
    let packed = try CalibrationData(sources: [data("\(name).parquet")]).pack(
      encoder: ByteEncoding(), seqLength: 1 << 20, count: 1)
    #expect(texts(packed.rows) == ["one", "zwölf \0 é", "one", "\"quoted\"\n"])
    #expect(packed.warnings.last?.description.contains("\(name).parquet, row 2: \"text\" is null") == true)
  }

  @Test func saysThatEveryTextIsNull() {
    let said = message { _ = try documents(data("nulls.parquet")) }
    #expect(said.contains("\"text\" is null in every one of 3 rows"), "\(said)")
  }

  /// Columns that are wanted in other data, and here of types that are not read.
  @Test func otherColumnsMayBeOfAnyType() throws {
    #expect(try documents(data("odd.parquet")) == ["one", "two"])
  }

  /// Some kilobytes that stand for a gigabyte: one text, and a thousand rows of one long text.
  @Test(arguments: ["long", "repeated", "structs"])
  func refusesFilesMadeToFillMemory(_ name: String) {
    let said = message { _ = try documents(data("\(name)-bomb.parquet")) }
    #expect(said.contains("\(name)-bomb.parquet") && said.contains("far more"), "\(said)")
  }

  @Test func readsRowGroupsInOrder() throws {
    #expect(try documents(data("many.parquet")) == (0..<1000).map { "document \($0)" })
  }

  @Test func prefersColumnsAsInLines() throws {
    #expect(try documents(data("pairs.parquet")) == ["p\nr", "q", "t"])
  }

  @Test(arguments: [
    ("chat", "row 1: column \"messages\" is a chat"), ("bytes", "row 2: column \"text\" is not UTF-8"),
    ("numbers", "row 1: column \"text\" holds a number"), ("dates", "timestamp"),
    // Dates inside of turns do not keep them from being read.
    ("turns", "row 1: column \"messages\" is a chat"), ("other", "\"a\", \"b\""),
    ("norows", "no text in 0 rows"),
  ])
  func saysWhatIsWrong(name: String, because: String) {
    let said = message { _ = try documents(data("\(name).parquet")) }
    #expect(said.contains(because) && said.contains("\(name).parquet"), "\(said)")
  }

  @Test func refusesFilesThatAreNotParquet() throws {
    let scratch = try Scratch()
    for bytes in [[], Array("PAR1".utf8), Array("PAR1PAR1PAR1".utf8), [UInt8](repeating: 0xFF, count: 5000)] {
      let path = try scratch.write("a.parquet", bytes)
      #expect(message { _ = try documents(path) }.contains("cannot be read as Parquet"))
    }
  }

  /// Damaged files give an error or some rows, never a crash.
  @Test(.timeLimit(.minutes(1)), arguments: ["plain", "dictionary", "many", "chat", "mmlu"])
  func survivesDamage(_ name: String) throws {
    let scratch = try Scratch()
    let whole = Array(try Data(contentsOf: URL(fileURLWithPath: data("\(name).parquet"))))
    var state: UInt64 = 3
    func random(_ limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % limit
    }
    var refused = 0
    for round in 0..<300 {
      var bytes = whole
      for _ in 0...random(3) {
        // The metadata at the end decides the most.
        let at = round % 2 == 0 ? random(bytes.count) : bytes.count - 1 - random(min(bytes.count, 800))
        switch random(4) {
        case 0: bytes[at] = UInt8(random(256))
        case 1: bytes[at] ^= 1 << UInt8(random(8))
        case 2: bytes[at] = [0, 1, 0x7F, 0x80, 0xFF][random(5)]
        default: if bytes.count > 100 { bytes.remove(at: at) }
        }
      }
      let path = try scratch.write("a.parquet", bytes)
      if !message({ _ = try documents(path) }).isEmpty { refused += 1 }
      _ = try? MMLU.load(path: path)
    }
    #expect(refused > 0)
  }
}
