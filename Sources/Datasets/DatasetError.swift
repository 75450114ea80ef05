public import Files

/// Why a data set cannot be used.
public typealias DatasetError = FileError

extension FileError {
  /// Data that is not what it should be.
  init(_ message: String) { self.init(.malformed, message) }
}
