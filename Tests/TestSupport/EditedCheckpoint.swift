public import Checkpoint
import Foundation
public import JSON

/// A small checkpoint in memory, to be written anew with other tensors or another config.
public struct EditedCheckpoint {
  public struct Entry {
    public var name: String
    public let type: ElementType
    public var shape: [Int]
    public var bytes: [UInt8]

    public init(name: String, type: ElementType, shape: [Int], bytes: [UInt8]) {
      (self.name, self.type, self.shape, self.bytes) = (name, type, shape, bytes)
    }
  }

  public var config: JSON.Object
  public var tensors: [Entry]

  public init(_ directory: String) throws {
    let reader = try CheckpointReader(directory: directory)
    config = reader.config
    tensors = try reader.tensors.map {
      Entry(name: $0.name, type: $0.type, shape: $0.shape, bytes: Array(try reader.bytes(of: $0.name)))
    }
  }

  public subscript(name: String) -> Entry? {
    get { tensors.first { $0.name == name } }
    set {
      tensors.removeAll { $0.name == name }
      if let newValue { tensors.append(newValue) }
    }
  }

  /// Another tensor like `entry`: of this name, its bytes in the opposite order of rows where they are to differ.
  public static func copy(of entry: Entry, named name: String, reversed: Bool = false) -> Entry {
    let row = entry.bytes.count / max(entry.shape.first ?? 1, 1)
    let rows = stride(from: 0, to: entry.bytes.count, by: max(row, 1)).map { Array(entry.bytes[$0..<$0 + row]) }
    return Entry(
      name: name, type: entry.type, shape: entry.shape, bytes: reversed ? rows.reversed().flatMap { $0 } : entry.bytes)
  }

  public func write(to directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Data(JSON.object(config).serialized().utf8).write(to: URL(fileURLWithPath: directory + "/config.json"))
    let writer = try CheckpointWriter(
      directory: directory, tensors: tensors.map { PlannedTensor(name: $0.name, type: $0.type, shape: $0.shape) })
    for tensor in tensors {
      try writer.write(tensor.name) { append in try tensor.bytes.withUnsafeBytes { try append($0) } }
    }
    try writer.finish()
  }
}
