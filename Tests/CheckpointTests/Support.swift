import Checkpoint
import Foundation

/// A directory that goes away with the test.
final class Scratch {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("checkpoint-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func at(_ name: String) -> String { path + "/" + name }

  func write(_ name: String, _ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: at(name))) }
  func write(_ name: String, _ text: String) throws { try write(name, Array(text.utf8)) }

  func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: at(name)))) }

  func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

/// A safetensors file from the text of its header, whatever that says.
func safetensors(_ header: String, data: Int, length: UInt64? = nil) -> [UInt8] {
  let text = Array(header.utf8)
  let prefix = withUnsafeBytes(of: (length ?? UInt64(text.count)).littleEndian) { Array($0) }
  return prefix + text + (0..<data).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
}

func parse(_ bytes: [UInt8], fileSize: Int? = nil) throws -> SafetensorsHeader {
  try bytes.withUnsafeBytes {
    try SafetensorsHeader(start: $0, fileSize: fileSize ?? bytes.count, file: "model.safetensors")
  }
}

func message(_ body: () throws -> Void) -> String {
  do { try body() } catch { return "\(error)" }
  return ""
}

/// Numbers that are the same in every run (SplitMix64).
struct Generator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
