import Crypto
import Files
import Torch

/// Numbers of rows' tokens on disk, a file of each row with a checksum. What is damaged or cut off is none.
struct RowFiles: Sendable {
  let directory: String
  /// What files' names end with.
  let kind: String
  /// What a file holds of each token, one after the other.
  let parts: [(width: Int, dtype: DType)]

  /// Bytes of so many tokens.
  func bytes(tokens: Int) -> Int { parts.reduce(0) { $0 + tokens * $1.width * $1.dtype.byteCount } }

  private func path(_ row: String) -> String {
    // Directories of some thousand files.
    "\(directory)/\(row.dropLast(3).isEmpty ? "0" : String(row.dropLast(3)))/\(row).\(kind)"
  }

  /// - Returns: of each part `[tokens, width]`; nil where there is no such row.
  func read(_ row: String, tokens: Int) -> [Tensor]? {
    let count = bytes(tokens: tokens)
    guard let bytes = try? WholeFile.read(path(row), limit: count + SHA256.byteCount),
      bytes.count == count + SHA256.byteCount
    else { return nil }
    return bytes.withUnsafeBytes { all -> [Tensor]? in
      let numbers = UnsafeRawBufferPointer(rebasing: all[..<count])
      guard SHA256.hash(data: numbers).elementsEqual(all[count...]) else { return nil }
      var at = 0
      return try? parts.map { width, dtype in
        defer { at += tokens * width * dtype.byteCount }
        return try Tensor(
          bytes: UnsafeRawBufferPointer(rebasing: numbers[at..<at + tokens * width * dtype.byteCount]),
          shape: [tokens, width], dtype: dtype)
      }
    }
  }

  /// - Parameter numbers: of each part, in its type.
  func write(_ row: String, _ numbers: [Tensor]) throws {
    let path = path(row)
    try makeDirectories(split(path).parent)
    var bytes = try numbers.reduce(into: [UInt8]()) { all, part in
      try part.to(device: .cpu).contiguous().withUnsafeBytes { all += $0 }
    }
    bytes += SHA256.hash(data: bytes)
    // What a crash of the machine takes is computed again.
    try bytes.withUnsafeBytes { try AtomicFile.write($0, to: path, isDurable: false) }
  }
}
