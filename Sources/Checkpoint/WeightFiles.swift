import JSON

/// The weight files of a directory, mapped: one `model.safetensors`, or shards and the index that names them.
struct WeightFiles: Sendable {
  static let single = "model.safetensors"

  /// File names, in order.
  let names: [String]
  /// In the order of their bytes in their file; files in order.
  let tensors: [TensorEntry]
  let files: [String: SafetensorsFile]
  // By bytes: a Dictionary of String would take canonically equivalent names for the same one.
  let positions: [JSON.Text: Int]

  init(directory: String) throws {
    let index: ShardIndex?
    if kind(of: join(directory, Self.single)) != .absent {
      index = nil
      names = [Self.single]
    } else {
      let read = try ShardIndex(directory: directory)
      index = read
      names = read.files
    }
    var files: [String: SafetensorsFile] = [:]
    var tensors: [TensorEntry] = []
    for name in names {
      let file = try SafetensorsFile(path: join(directory, name))
      files[name] = file
      tensors.append(contentsOf: file.tensors.map { $0.inFile(name) })
    }
    self.files = files
    self.tensors = tensors
    positions = try Self.positions(of: tensors, in: directory)
    try index?.check(tensors)
  }

  private init(_ other: WeightFiles, tensors: [TensorEntry], in directory: String) throws {
    names = other.names
    files = other.files
    self.tensors = tensors
    positions = try Self.positions(of: tensors, in: directory)
  }

  /// The same files, their tensors under other names.
  func renamed(_ names: [String: String], in directory: String) throws -> WeightFiles {
    try WeightFiles(self, tensors: tensors.map { $0.named(names[$0.name] ?? $0.name) }, in: directory)
  }

  func entry(_ name: String) -> TensorEntry? { positions[JSON.Text(name)].map { tensors[$0] } }

  private static func positions(of tensors: [TensorEntry], in directory: String) throws -> [JSON.Text: Int] {
    var positions: [JSON.Text: Int] = [:]
    positions.reserveCapacity(tensors.count)
    for (at, tensor) in tensors.enumerated() {
      if let first = positions.updateValue(at, forKey: JSON.Text(tensor.name)) {
        throw CheckpointError(
          .malformed,
          "\(directory): tensor \"\(tensor.name)\" is in \(tensors[first].file) and again in \(tensor.file)")
      }
    }
    return positions
  }
}

extension TensorEntry {
  fileprivate func inFile(_ file: String) -> TensorEntry {
    TensorEntry(name: name, type: type, shape: shape, file: file, range: range)
  }

  fileprivate func named(_ name: String) -> TensorEntry {
    TensorEntry(name: name, type: type, shape: shape, file: file, range: range)
  }
}
