import Crypto
import Files
public import Torch

/// The teacher's last states on disk, row by row, so that it computes each row once, whoever learns from it and however often.
///
/// A file holds one row, `[S, H]` in the type computed with, and a checksum. What is damaged or cut off is none.
public struct TeacherCache: Sendable {
  public let directory: String
  private let hidden: Int
  private let dtype: DType

  /// - Parameters:
  ///   - directory: of one teacher and one division of data into rows.
  ///   - hidden: the teacher's hidden_size.
  ///   - dtype: the type that it computes in.
  public init(directory: String, hidden: Int, dtype: DType) {
    (self.directory, self.hidden, self.dtype) = (directory, hidden, dtype)
  }

  /// The same for what a layer leaves.
  ///
  /// - Parameter layer: 0-based.
  func of(layer: Int) -> TeacherCache {
    TeacherCache(directory: directory + "/layer-\(layer + 1)", hidden: hidden, dtype: dtype)
  }

  private func path(_ row: String) -> String {
    // Directories of some thousand files.
    "\(directory)/\(row.dropLast(3).isEmpty ? "0" : String(row.dropLast(3)))/\(row).states"
  }

  /// - Returns: `[tokens, H]`; nil where there is no such row.
  func read(_ row: String, tokens: Int) -> Tensor? {
    let count = tokens * hidden * dtype.byteCount
    guard let bytes = try? WholeFile.read(path(row), limit: count + SHA256.byteCount),
      bytes.count == count + SHA256.byteCount
    else { return nil }
    return bytes.withUnsafeBytes { all -> Tensor? in
      let states = UnsafeRawBufferPointer(rebasing: all[..<count])
      guard SHA256.hash(data: states).elementsEqual(all[count...]) else { return nil }
      return try? Tensor(bytes: states, shape: [tokens, hidden], dtype: dtype)
    }
  }

  /// - Parameter states: `[S, H]`.
  func write(_ row: String, _ states: Tensor) throws {
    let path = path(row)
    try makeDirectories(split(path).parent)
    let bytes = try states.to(dtype).contiguous().withUnsafeBytes { bytes in
      Array(bytes) + SHA256.hash(data: bytes)
    }
    // What a crash of the machine takes is computed again.
    try bytes.withUnsafeBytes { try AtomicFile.write($0, to: path, isDurable: false) }
  }
}
