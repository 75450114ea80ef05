import Files
/// The files at the path of a data set.
struct DataFiles: Sendable {
  /// The path as it was given.
  let path: String
  /// `.jsonl` and `.parquet` files, in order.
  let files: [String]

  /// - Parameter path: a file, or a directory with such files in it or in directories below it, as the hub lays
  ///   data sets out (`<config>/<split>-00000-of-00001.parquet`). Where file or directory names tell splits
  ///   apart, only the training split is taken.
  init(path: String) throws {
    self.path = path
    switch kind(of: path) {
    case .absent:
      throw DatasetError("there is no file or directory \(path); a .jsonl or .parquet file or a directory is wanted")
    case .file, .other:
      guard Self.isData(path) else {
        throw DatasetError(
          "\(path) is neither .jsonl nor .parquet; write one JSON object a line into a .jsonl file, as "
            + #"{"text": "..."}"#)
      }
      files = [path]
    case .directory:
      var found: [String] = []
      try Self.collect(path, "", depth: 0, into: &found)
      guard !found.isEmpty else { throw DatasetError("\(path) holds no .jsonl or .parquet file") }
      let splits = found.map(Self.split)
      var chosen = zip(found, splits).filter { $0.1 == "train" }.map(\.0)
      if chosen.isEmpty { chosen = zip(found, splits).filter { $0.1 == nil }.map(\.0) }
      guard !chosen.isEmpty else {
        throw DatasetError(
          "\(path) holds no training split, only \(list(Array(Set(splits.compactMap { $0 })).sorted(by: isBefore))); "
            + "name the file that is meant")
      }
      files = chosen.map { join(path, $0) }
    }
  }

  static func isData(_ name: String) -> Bool { name.hasSuffix(".jsonl") || name.hasSuffix(".parquet") }

  /// Four levels are more than the hub's layouts have, and end every loop of symbolic links.
  private static func collect(_ root: String, _ below: String, depth: Int, into found: inout [String]) throws {
    for name in try visibleNames(in: below.isEmpty ? root : join(root, below)) {
      let relative = below.isEmpty ? name : below + "/" + name
      switch kind(of: join(root, relative)) {
      case .directory: if depth < 4 { try collect(root, relative, depth: depth + 1, into: &found) }
      case .file: if isData(name) { found.append(relative) }
      default: break
      }
    }
  }

  private static let splitNames: [String: String] = [
    "train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
  ]

  /// The split that a file's name, or else a directory above it, stands for.
  static func split(_ relativePath: String) -> String? {
    for part in relativePath.lowercased().split(separator: "/").reversed() {
      for word in part.split(whereSeparator: { "-._ 0123456789".contains($0) }) {
        if let split = splitNames[String(word)] { return split }
      }
    }
    return nil
  }
}
