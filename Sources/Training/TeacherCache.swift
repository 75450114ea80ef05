import Crypto
import Files
public import Torch

// Shapes: S tokens, H hidden, G groups of channels.

/// The teacher's last states on disk, row by row, so that it computes each row once, whoever learns from it and however often.
///
/// A file holds one row, `[S, H]`, and a checksum. What is damaged or cut off is none.
public struct TeacherCache: Sendable {
  /// How states are kept.
  public enum Precision: Int, Sendable, CaseIterable {
    /// One byte a number, and a float32 scale of each 64 channels of a token.
    case bytes = 8
    /// In the type computed with.
    case computed = 16
  }

  public let directory: String
  private let hidden: Int
  private let dtype: DType
  private let precision: Precision

  /// - Parameters:
  ///   - directory: of one teacher, one division of data into rows, and one precision.
  ///   - hidden: the teacher's hidden_size.
  ///   - dtype: the type that it computes in.
  public init(directory: String, hidden: Int, dtype: DType, precision: Precision = .computed) {
    (self.directory, self.hidden, self.dtype, self.precision) = (directory, hidden, dtype, precision)
  }

  /// The same for what a layer leaves.
  ///
  /// - Parameter layer: 0-based.
  func of(layer: Int) -> TeacherCache {
    TeacherCache(directory: directory + "/layer-\(layer + 1)", hidden: hidden, dtype: dtype, precision: precision)
  }

  /// Whether what is read is what was written, to the last bit.
  var isExact: Bool { precision == .computed }

  /// Bytes of so many tokens.
  package func bytes(tokens: Int) -> Int { parts.reduce(0) { $0 + tokens * $1.width * $1.dtype.byteCount } }

  private func path(_ row: String) -> String {
    // Directories of some thousand files.
    "\(directory)/\(row.dropLast(3).isEmpty ? "0" : String(row.dropLast(3)))/\(row).states"
  }

  /// Channels that share a scale.
  private var group: Int { hidden % 64 == 0 ? 64 : hidden }

  /// What a file holds of each token, one after the other.
  private var parts: [(width: Int, dtype: DType)] {
    precision == .computed ? [(hidden, dtype)] : [(hidden / group, .float32), (hidden, .uint8)]
  }

  /// - Returns: `[tokens, H]`; nil where there is no such row.
  package func read(_ row: String, tokens: Int) -> Tensor? {
    let count = bytes(tokens: tokens)
    guard let bytes = try? WholeFile.read(path(row), limit: count + SHA256.byteCount),
      bytes.count == count + SHA256.byteCount
    else { return nil }
    return bytes.withUnsafeBytes { all -> Tensor? in
      let states = UnsafeRawBufferPointer(rebasing: all[..<count])
      guard SHA256.hash(data: states).elementsEqual(all[count...]) else { return nil }
      var at = 0
      return try? unpacked(
        parts.map { width, dtype in
          defer { at += tokens * width * dtype.byteCount }
          return try Tensor(
            bytes: UnsafeRawBufferPointer(rebasing: states[at..<at + tokens * width * dtype.byteCount]),
            shape: [tokens, width], dtype: dtype)
        })
    }
  }

  /// - Parameter states: `[S, H]`.
  /// - Returns: what will be read, so that whoever computes a row learns from the same numbers as those who read it.
  package func write(_ row: String, _ states: Tensor) throws -> Tensor {
    let path = path(row)
    try makeDirectories(split(path).parent)
    let packed = try packed(states)
    var bytes = try packed.reduce(into: [UInt8]()) { all, part in try part.withUnsafeBytes { all += $0 } }
    bytes += SHA256.hash(data: bytes)
    // What a crash of the machine takes is computed again.
    try bytes.withUnsafeBytes { try AtomicFile.write($0, to: path, isDurable: false) }
    return isExact ? states : try unpacked(packed)
  }

  private func packed(_ states: Tensor) throws -> [Tensor] {
    guard precision == .bytes else { return [try states.to(dtype).contiguous()] }
    let grouped = try states.to(.float32).reshape([states.shape[0], -1, group])
    let scales = try grouped.abs().amax(dims: [2]).divided(by: 127)
    // Of a group of zeros every scale is right.
    let places = try grouped.divided(by: scales.clamp(min: 1e-30).unsqueeze(2)).adding(128.5)
    return [try scales.contiguous(), try places.to(.uint8).reshape(states.shape).contiguous()]
  }

  private func unpacked(_ parts: [Tensor]) throws -> Tensor {
    guard precision == .bytes else { return parts[0] }
    let (scales, places) = (parts[0], parts[1])
    return try places.to(.float32).subtracting(128).reshape([places.shape[0], -1, group])
      .multiplied(by: scales.unsqueeze(2)).reshape(places.shape).to(dtype)
  }
}
