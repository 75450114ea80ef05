import Foundation
import JSON
import Tokenization

enum Files {
  /// Tests/Goldens/tokenizers.
  static let goldens = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Goldens/tokenizers")

  static let names: [String] = {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: goldens.path)) ?? []
    return entries.filter { FileManager.default.fileExists(atPath: "\(goldens.path)/\($0)/tokenizer.json") }.sorted()
  }()

  static func folder(_ name: String) -> String { goldens.appending(path: name).path }

  static func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }

  static func json(_ path: String) throws -> JSON { try JSON(parsing: bytes(path)) }
}

/// A tokenizer from the text of a tokenizer.json.
func load(_ json: String, config: JSON? = nil) throws -> Tokenizer {
  try Tokenizer(tokenizerJSON: Array(json.utf8), file: "tokenizer.json", config: config)
}

/// A byte-pair tokenizer with a few words and the given parts.
func small(_ parts: String = "", model: String = "", vocabulary: String = "") -> String {
  """
  {"version": "1.0", \(parts) "model": {"type": "BPE", "unk_token": "?", \(model)
   "vocab": {"?": 0, "h": 1, "i": 2, "hi": 3, "e": 4, " ": 5, "a": 6, "b": 7, "c": 8\(vocabulary)}, "merges": ["h i"]}}
  """
}

/// The message of what `body` throws; empty when it throws nothing.
func message(_ body: () throws -> Void) -> String {
  do { try body() } catch { return "\(error)" }
  return ""
}
