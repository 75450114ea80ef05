public import Torch

// Shapes: S tokens, H hidden, G groups of channels.

/// The teacher's last states on disk, row by row, so that it computes each row once, whoever learns from it and however often.
///
/// Of rows that are learned from it may have the likeliest tokens alone. What is damaged or cut off is none.
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
  private let rule: LikeliestRule?

  /// - Parameters:
  ///   - directory: of one teacher, one division of data into rows, and one precision.
  ///   - hidden: the teacher's hidden_size.
  ///   - dtype: the type that it computes in.
  ///   - likeliest: what is kept in place of last states of rows that are learned from; nil for these. States of rows that are measured
  ///     and of layers are kept as they are.
  public init(
    directory: String, hidden: Int, dtype: DType, precision: Precision = .computed, likeliest: LikeliestRule? = nil
  ) {
    (self.directory, self.hidden, self.dtype, self.precision) = (directory, hidden, dtype, precision)
    rule = likeliest
  }

  /// Where likeliest tokens are kept; nil where states are.
  var likeliest: LikeliestCache? { rule.map { LikeliestCache(directory: directory, rule: $0) } }

  /// The same for what a layer leaves.
  ///
  /// - Parameter layer: 0-based.
  func of(layer: Int) -> TeacherCache {
    TeacherCache(directory: directory + "/layer-\(layer + 1)", hidden: hidden, dtype: dtype, precision: precision)
  }

  /// Whether what is read is what was written, to the last bit.
  var isExact: Bool { precision == .computed }

  /// Bytes of so many tokens' states.
  package func bytes(tokens: Int) -> Int { files.bytes(tokens: tokens) }

  /// Channels that share a scale.
  private var group: Int { hidden % 64 == 0 ? 64 : hidden }

  private var files: RowFiles {
    RowFiles(
      directory: directory, kind: "states",
      parts: precision == .computed ? [(hidden, dtype)] : [(hidden / group, .float32), (hidden, .uint8)])
  }

  /// - Returns: `[tokens, H]`; nil where there is no such row.
  package func read(_ row: String, tokens: Int) -> Tensor? {
    files.read(row, tokens: tokens).flatMap { try? unpacked($0) }
  }

  /// - Parameter states: `[S, H]`.
  /// - Returns: what will be read, so that whoever computes a row learns from the same numbers as those who read it.
  package func write(_ row: String, _ states: Tensor) throws -> Tensor {
    let packed = try packed(states)
    try files.write(row, packed)
    return isExact ? states : try unpacked(packed)
  }

  private func packed(_ states: Tensor) throws -> [Tensor] {
    guard precision == .bytes else { return [try states.to(dtype)] }
    let grouped = try states.to(.float32).reshape([states.shape[0], -1, group])
    let scales = try grouped.abs().amax(dims: [2]).divided(by: 127)
    // Of a group of zeros every scale is right.
    let places = try grouped.divided(by: scales.clamp(min: 1e-30).unsqueeze(2)).adding(128.5)
    return [scales, try places.to(.uint8).reshape(states.shape)]
  }

  private func unpacked(_ parts: [Tensor]) throws -> Tensor {
    guard precision == .bytes else { return parts[0] }
    let (scales, places) = (parts[0], parts[1])
    return try places.to(.float32).subtracting(128).reshape([places.shape[0], -1, group])
      .multiplied(by: scales.unsqueeze(2)).reshape(places.shape).to(dtype)
  }
}
