import Files
import JSON

/// The weight files of a directory, mapped: one `model.safetensors`, or shards and the index that names them.
package struct WeightFiles: Sendable {
  package static let single = "model.safetensors"

  /// File names, in order.
  let names: [String]
  /// What names the shards; nil for a single file.
  let index: ShardIndex?
  /// Shards that the index names and the directory does not have.
  let absent: Set<String>
  /// Weight files of the directory that the index does not name.
  let unnamed: [String]
  /// In the order of their bytes in their file; files in order.
  let tensors: [TensorEntry]
  let files: [String: SafetensorsFile]
  // By bytes: a Dictionary of String would take canonically equivalent names for the same one.
  let positions: [JSON.Text: Int]

  init(directory: String) throws {
    if kind(of: join(directory, Self.single)) != .absent {
      index = nil
      absent = []
      unnamed = []
      names = [Self.single]
    } else {
      let read = try ShardIndex(directory: directory)
      index = read
      absent = Set(read.files.filter { kind(of: join(directory, $0)) == .absent })
      names = read.files.filter { [absent] in !absent.contains($0) }
      unnamed = ((try? Files.names(in: directory)) ?? [])
        .filter { $0.hasSuffix(".safetensors") && !read.files.contains($0) }
      // Opening it says what the system says.
      if names.isEmpty, let first = read.files.first { _ = try SafetensorsFile(path: join(directory, first)) }
    }
    var files: [String: SafetensorsFile] = [:]
    var tensors: [TensorEntry] = []
    for name in names {
      let file = try SafetensorsFile(path: join(directory, name))
      files[name] = file
      tensors.append(contentsOf: file.tensors.map { $0.inFile(name) })
    }
    self.files = files
    (self.tensors, positions) = try Self.distinct(tensors, index, in: directory)
  }

  private init(_ other: WeightFiles, tensors: [TensorEntry], in directory: String) throws {
    names = other.names
    // The index knows the old names.
    index = nil
    absent = other.absent
    unnamed = other.unnamed
    files = other.files
    (self.tensors, positions) = try Self.distinct(tensors, nil, in: directory)
  }

  /// The same files, their tensors under other names.
  func renamed(_ names: [String: String], in directory: String) throws -> WeightFiles {
    try replacing(tensors: tensors.map { $0.named(names[$0.name] ?? $0.name) }, in: directory)
  }

  func replacing(tensors: [TensorEntry], in directory: String) throws -> WeightFiles {
    try WeightFiles(self, tensors: tensors, in: directory)
  }

  func entry(_ name: String) -> TensorEntry? { positions[JSON.Text(name)].map { tensors[$0] } }

  /// Of a tensor in two shards the one that the index names.
  private static func distinct(
    _ found: [TensorEntry], _ index: ShardIndex?, in directory: String
  ) throws -> (tensors: [TensorEntry], positions: [JSON.Text: Int]) {
    var files: [JSON.Text: [String]] = [:]
    for tensor in found { files[JSON.Text(tensor.name), default: []].append(tensor.file) }
    let tensors = try found.filter { tensor in
      let name = JSON.Text(tensor.name)
      guard let holders = files[name], holders.count > 1 else { return true }
      guard let file = index?.shards[name], holders.contains(file) else {
        throw CheckpointError(
          .malformed,
          "\(directory): tensor \"\(tensor.name)\" is in \(holders[0]) and again in \(holders[1])"
            + (index == nil ? "" : ", and the index names neither for it: remove the file that is of another one"))
      }
      return tensor.file == file
    }
    let positions = Dictionary(tensors.enumerated().map { (JSON.Text($1.name), $0) }) { first, _ in first }
    return (tensors, positions)
  }
}

extension TensorEntry {
  fileprivate func inFile(_ file: String) -> TensorEntry {
    TensorEntry(name: name, type: type, shape: shape, file: file, range: range)
  }

  fileprivate func named(_ name: String) -> TensorEntry {
    TensorEntry(name: name, type: type, shape: shape, file: file, range: range, quantised: quantised)
  }
}
