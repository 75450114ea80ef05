import Files
import JSON

/// `model.safetensors.index.json`: which shard holds which tensor.
package struct ShardIndex {
  package static let name = "model.safetensors.index.json"

  package let path: String
  /// The shards' names, sorted by their bytes.
  package let files: [String]
  /// The shard of each tensor, as the index has it.
  let shards: [JSON.Text: String]

  /// Reads the index of a directory that has no `model.safetensors`.
  init(directory: String) throws {
    let path = join(directory, Self.name)
    guard kind(of: path) != .absent else { throw Self.noWeights(in: directory) }
    try self.init(path: path)
  }

  /// Reads an index, whether its shards are there or not.
  ///
  /// - Throws: `CheckpointError` for what is no index of safetensors.
  package init(path: String) throws {
    self.path = path
    let object = try WholeFile.object(path, limit: SafetensorsHeader.maximumLength)
    guard let map = object["weight_map"]?.object else {
      throw CheckpointError(.malformed, "\(path) has no \"weight_map\" that is an object of tensor and file names")
    }
    var shards: [JSON.Text: String] = [:]
    var files: Set<String> = []
    for (tensor, value) in map {
      guard let file = value.string else {
        throw CheckpointError(
          .malformed, "\(path) has \(value.kind) as the file of tensor \"\(tensor)\", where a name should be")
      }
      guard Self.isPlainName(file) else {
        throw CheckpointError(
          .malformed,
          "\(path) puts tensor \"\(tensor)\" into \(file.debugDescription); shards are files of the same directory, "
            + "named without any '/' or '..'")
      }
      guard file.utf8.count > 12, file.hasSuffix(".safetensors") else {
        throw CheckpointError(
          .unsupported, "\(path) puts tensor \"\(tensor)\" into \(file.debugDescription). \(Self.onlySafetensors)")
      }
      shards[tensor] = file
      files.insert(file)
    }
    guard !files.isEmpty else { throw CheckpointError(.malformed, "\(path) names no tensor in its \"weight_map\"") }
    self.shards = shards
    self.files = files.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  static func isPlainName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".." && !name.utf8.contains(UInt8(ascii: "/")) && !name.utf8.contains(0)
  }

  static let onlySafetensors =
    "Only safetensors weights are read: pickles (.bin, .pt, .pth) can run any code when they are loaded. Convert them "
    + "once, where you trust them, with transformers: "
    + "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(NEW_DIR, safe_serialization=True)"

  /// Why a directory without safetensors weights is of no use, from what it does hold.
  private static func noWeights(in directory: String) -> CheckpointError {
    let found = (try? names(in: directory)) ?? []
    if let pickle = found.first(where: { Pickles.isPickle($0) || $0.hasSuffix(".bin.index.json") }) {
      return CheckpointError(.unsupported, "\(directory) holds its weights in \(pickle). \(onlySafetensors)")
    }
    if let gguf = found.first(where: { $0.hasSuffix(".gguf") }) {
      return CheckpointError(
        .unsupported,
        "\(directory) holds its weights in \(gguf). GGUF is not read: take the checkpoint in Hugging Face's format "
          + "(config.json and safetensors) that it was made from")
    }
    if let other = found.first(where: { $0.hasSuffix(".safetensors") }) {
      return CheckpointError(
        .missing,
        "\(directory) holds neither model.safetensors nor \(name), only \(other): rename it when it is the whole "
          + "model, or download the index that belongs to it. \(rewrite)")
    }
    return CheckpointError(
      .missing, "\(directory) holds no weights: model.safetensors, or \(name) with its shards, is wanted")
  }
}

/// Files that run code when they are read, and are not read.
package enum Pickles {
  private static let endings = [".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"]

  /// By the ending of a file's name.
  package static func isPickle(_ name: String) -> Bool {
    let name = name.lowercased()
    return endings.contains(where: name.hasSuffix)
  }
}
