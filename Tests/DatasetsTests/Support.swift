import Datasets
import Foundation

/// A directory that goes away with the test.
final class Scratch {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("datasets-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func at(_ name: String) -> String { path + "/" + name }

  @discardableResult func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    let url = URL(fileURLWithPath: at(name))
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
    return at(name)
  }

  @discardableResult func write(_ name: String, _ text: String) throws -> String {
    try write(name, Array(text.utf8))
  }
}

/// One token for each byte, 256 behind each document.
struct ByteEncoding: TextEncoding {
  var eosTokenID: Int? = 256
  var rowStart: Int?
  func encode(_ text: String) throws -> [Int] { text.utf8.map { Int($0) } }
}

/// A file that stands beside the tests.
func data(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Data/\(name)").path
}

/// The texts that packing sees, in its order.
func documents(_ sources: String..., rows: Int = 1000) throws -> [String] {
  let packed = try CalibrationData(sources: sources).pack(encoder: ByteEncoding(), seqLength: 1 << 20, count: rows)
  return texts(packed.rows)
}

func texts(_ rows: [[Int32]]) -> [String] {
  rows.flatMap { $0 }.split(separator: 256, omittingEmptySubsequences: false).dropLast().map {
    String(decoding: $0.map { UInt8(truncatingIfNeeded: $0) }, as: UTF8.self)
  }
}

func message(_ body: () throws -> Void) -> String {
  do { try body() } catch { return "\(error)" }
  return ""
}
