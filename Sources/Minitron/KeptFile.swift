import Checkpoint
import Crypto
import Files
public import JSON

/// Versions of the algorithms whose results are kept between runs. They are part of every fingerprint: what another version
/// made is stale.
///
/// Raise one with every change after which the same model, data and settings give other numbers than rounding does:
/// another formula, tap, order of rows, a mended fault. A change of layout, speed or threads is none.
public enum AlgorithmVersion {
  /// Importance scores: the taps, the sums over micro-batches, the packing of rows.
  public static let calibration = 1
  /// Refitted weights: which maps, in which order, towards what, by which ridges.
  public static let refit = 3
  /// Scores of candidates: prompts, losses, divergence, and how candidates are cut.
  public static let scoring = 1
  /// Rotated bases: moments of the residual stream, norms' constants, what weights become.
  public static let rotation = 2
  /// Divergences that layers are ranked by.
  public static let layerScore = 1
}

/// JSON files that are kept between runs, with a checksum of their bytes: one that was damaged is never taken for whole.
///
/// The file is one JSON object whose first entry is `"sha256"`, the hash of every byte after that entry and its comma. No
/// bit of the file can change unnoticed.
public enum KeptFile {
  private static let start = Array(#"{"sha256":""#.utf8)
  private static let end = Array(#"","#.utf8)

  /// The bytes of a file that holds these entries.
  public static func bytes(_ entries: JSON.Object) -> [UInt8] {
    // The brace of the object is replaced by the checksum's entry.
    let rest = Array(JSON.object(entries).serialized().utf8.dropFirst()) + [UInt8(ascii: "\n")]
    return start + Array(checksum(rest).utf8) + end + rest
  }

  /// Kept results are text of a few megabytes; the largest have a list for each expert of each layer.
  private static let limit = 4 << 30

  /// The entries of a file; nil when it is not as it was written.
  ///
  /// - Throws: `FileError` when it cannot be read.
  static func read(_ path: String) throws -> JSON.Object? { parse(try WholeFile.read(path, limit: limit)) }

  /// The entries of a file's bytes, the checksum among them; nil when they are not as they were written.
  public static func parse(_ bytes: [UInt8]) -> JSON.Object? {
    let rest = bytes.dropFirst(start.count + 64 + end.count)
    guard bytes.starts(with: start), bytes.dropFirst(start.count + 64).starts(with: end),
      bytes.dropFirst(start.count).starts(with: checksum(Array(rest)).utf8)
    else { return nil }
    return try? JSON(parsing: bytes).object
  }

  private static func checksum(_ bytes: [UInt8]) -> String {
    hexadecimal(SHA256.hash(data: bytes))
  }
}
