import Files
import Training
import Torch

extension TeacherCache {
  /// One for rows that several students learn from, where their states are small beside the disk: 8 GiB and a quarter of what is
  /// free at most.
  ///
  /// - Parameters:
  ///   - directory: of one teacher, one division of data into rows, and one type.
  ///   - tokens: of all rows.
  /// - Returns: nil where it is better to compute them again.
  static func whereThereIsRoom(_ directory: String, hidden: Int, dtype: DType, tokens: Int) -> TeacherCache? {
    let cache = TeacherCache(directory: directory, hidden: hidden, dtype: dtype)
    guard (try? makeDirectories(directory)) != nil, let free = try? freeBytes(in: directory) else { return nil }
    return cache.bytes(tokens: tokens) <= min(8 << 30, free / 4) ? cache : nil
  }
}
