public import Checkpoint
import Execution
import Foundation
public import JSON
public import Models
import Torch

/// A golden case of `Tests/Goldens`: a tiny checkpoint and what PyTorch computed with it.
public struct Golden: Sendable, CustomStringConvertible {
  public let name: String
  public let directory: String
  public let expected: SafetensorsFile
  public let facts: JSON

  public var description: String { name }

  public static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  /// Every case of every group: `Tests/Goldens/<group>/<case>`.
  public static func all() -> [Golden] {
    let groups = (try? FileManager.default.contentsOfDirectory(atPath: root + "/Tests/Goldens").sorted()) ?? []
    return groups.flatMap(all)
  }

  /// Every case below `Tests/Goldens/<folder>`.
  public static func all(_ folder: String) -> [Golden] {
    let path = root + "/Tests/Goldens/" + folder
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? []
    return names.compactMap { try? Golden(path + "/" + $0) }
  }

  public init(_ directory: String) throws {
    self.directory = directory
    name = URL(fileURLWithPath: directory).lastPathComponent
    expected = try SafetensorsFile(path: directory + "/expected.safetensors")
    facts = try Self.json(directory + "/expected.json")
  }

  public static func json(_ path: String) throws -> JSON {
    try JSON(parsing: Data(contentsOf: URL(fileURLWithPath: path)))
  }

  private func entry(_ name: String) throws -> TensorEntry {
    guard let entry = expected.tensors.first(where: { $0.name == name }) else {
      throw ModelError("\(directory): no expected tensor \(name)")
    }
    return entry
  }

  /// An expected float32 tensor, flat.
  public func floats(_ name: String) throws -> [Float] {
    try expected.bytes(of: entry(name)).withMemoryRebound(to: Float.self) { Array($0) }
  }

  public func shape(_ name: String) throws -> [Int] { try entry(name).shape }

  private func ints(_ name: String) throws -> [Int] {
    try expected.bytes(of: entry(name)).withMemoryRebound(to: Int64.self) { $0.map(Int.init) }
  }

  public func rows() throws -> [[Int32]] {
    let tokens = try ints("tokens")
    let width = try shape("tokens")[1]
    return try ints("lengths").enumerated().map { row, length in
      tokens[row * width..<row * width + length].map { Int32($0) }
    }
  }

  public func tolerance(_ name: String) -> Double { facts["tolerance"]?[name]?.double ?? 0 }

  /// A row of an expected `[L, C]` tensor.
  public func list(_ name: String, layer: Int) throws -> [Float] {
    let width = try shape(name)[1]
    return Array(try floats(name)[layer * width..<(layer + 1) * width])
  }
}

/// Logits of every valid position, flat, zero at padding: `[B, S, V]` as the goldens hold them.
public func logits(_ model: SourceModel, rows: [[Int32]], float32: Bool = true, selection: Selection? = nil) throws
  -> [Float]
{
  let executor = Executor(model, dtype: float32 ? .float32 : .bfloat16)
  let batch = TokenBatch(rows)
  let vocabulary = model.description.sizes[.vocabulary]
  var result = [Float](repeating: 0, count: rows.count * batch.width * vocabulary)
  let finish: Executor.Finish = { _, _, hidden, head in
    for (row, length) in batch.lengths.enumerated() {
      let values = try head.logits(hidden.select(dim: 0, index: row).narrow(dim: 0, start: 0, length: length)).floats()
      let start = row * batch.width * vocabulary
      result.replaceSubrange(start..<start + values.count, with: values)
    }
  }
  try executor.run([batch], subjects: [selection ?? Selection(all: model.description)], finish: finish)
  return result
}

/// The largest difference, relative to the largest expected magnitude.
public func relativeDifference(_ found: [Float], _ expected: [Float]) -> Double {
  guard found.count == expected.count, !found.isEmpty else { return .infinity }
  let largest = expected.reduce(Float(0)) { max($0, abs($1)) }
  let difference = zip(found, expected).reduce(Float(0)) { worst, pair in
    let gap = abs(pair.0 - pair.1)
    return gap.isNaN ? .infinity : max(worst, gap)
  }
  return Double(difference / max(largest, .leastNormalMagnitude))
}

/// The largest difference of any element relative to that element.
public func elementwiseDifference(_ found: [Float], _ expected: [Float]) -> Double {
  guard found.count == expected.count, !found.isEmpty else { return .infinity }
  return zip(found, expected).reduce(0.0) { worst, pair in
    let gap = Double(abs(pair.0 - pair.1)) / max(Double(abs(pair.1)), 1e-30)
    return gap.isNaN ? .infinity : max(worst, gap)
  }
}

/// A directory that is gone when `body` returns.
public func withTemporaryDirectory<T>(_ body: (String) throws -> T) throws -> T {
  let path = FileManager.default.temporaryDirectory.appendingPathComponent("coppice-\(UUID().uuidString)").path
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try body(path)
}

/// Where exports go that `Tests/Oracle/reload.py` loads afterwards; nil when nobody will.
public var exportsForReload: String? { ProcessInfo.processInfo.environment["COPPICE_TEST_EXPORTS"] }

/// Leaves `directory` (an export) and our logits beside it for the reload check.
public func keepForReload(_ name: String, export directory: String, rows: [[Int32]], logits: [Float], vocabulary: Int)
  throws
{
  guard let exports = exportsForReload else { return }
  // Rows of one length only: the check runs without a mask.
  let width = rows.map(\.count).max() ?? 0
  let full = rows.indices.filter { rows[$0].count == width }
  let tokens = full.flatMap { rows[$0].map { Int64($0) } }
  let values = full.flatMap { Array(logits[$0 * width * vocabulary..<($0 + 1) * width * vocabulary]) }
  try FileManager.default.createDirectory(atPath: exports, withIntermediateDirectories: true)
  try FileManager.default.copyItem(atPath: directory, toPath: exports + "/" + name)
  let tokenBytes = tokens.count * 8
  let header = """
    {"tokens":{"dtype":"I64","shape":[\(full.count),\(width)],"data_offsets":[0,\(tokenBytes)]},\
    "logits":{"dtype":"F32","shape":[\(full.count),\(width),\(vocabulary)],\
    "data_offsets":[\(tokenBytes),\(tokenBytes + values.count * 4)]}}
    """
  var data = Data()
  withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { data.append(contentsOf: $0) }
  data.append(contentsOf: header.utf8)
  tokens.withUnsafeBytes { data.append(contentsOf: $0) }
  values.withUnsafeBytes { data.append(contentsOf: $0) }
  try data.write(to: URL(fileURLWithPath: "\(exports)/\(name).oracle.safetensors"))
}
