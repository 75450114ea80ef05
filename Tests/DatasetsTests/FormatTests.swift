import Datasets
import Foundation
import JSON
import Testing

/// Rows of every format, compressed in every manner, against `datasets`.
@Suite struct FormatTests {
  @Test func readsTheRowsThatDatasetsReads() throws {
    let scratch = try Scratch()
    let cases = try golden("formats")
    #expect(cases.count > 100)
    for file in cases {
      let name = try #require(file["name"]?.string)
      let bytes = try #require(Data(base64Encoded: file["bytes"]?.string ?? ""))
      let path = try scratch.write(name, Array(bytes))
      defer { try? FileManager.default.removeItem(atPath: path) }
      func rows(_ source: String) throws -> [String] {
        try texts(CalibrationData(sources: [source]).pack(encoder: SpyEncoding(), seqLength: 1 << 20, count: 999).rows)
      }
      guard let wanted = file["rows"]?.array else {
        #expect(message { _ = try rows(path) }.contains(name), "\(name)")
        continue
      }
      let isChat = file["kind"]?.string == "chat"
      // Rows without text are passed over.
      let expected = isChat ? wanted.map { $0.serialized() } : wanted.compactMap(\.string).filter { !$0.isEmpty }
      for source in [path, scratch.path] where !expected.isEmpty {
        let found = try rows(source)
        let same = isChat ? try zip(found, wanted).allSatisfy { try isSame(JSON(parsing: $0), $1) } : found == expected
        #expect(same && found.count == expected.count, "\(name): \(found) instead of \(expected)")
      }
      if expected.isEmpty { #expect(message { _ = try rows(path) }.contains("no text"), "\(name)") }
    }
  }

  /// Python's idea of equal: the order of keys does not count.
  private func isSame(_ a: JSON, _ b: JSON) -> Bool {
    switch (a, b) {
    case (.object(let a), .object(let b)):
      a.count == b.count && a.allSatisfy { key, value in b[key].map { isSame(value, $0) } ?? false }
    case (.array(let a), .array(let b)): a.count == b.count && zip(a, b).allSatisfy { isSame($0, $1) }
    default: a == b
    }
  }
}
