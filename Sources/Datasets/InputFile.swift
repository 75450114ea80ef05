import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A regular file of data, read from front to back.
final class InputFile {
  let size: Int
  private let file: OpenFile
  var path: String { file.path }
  var descriptor: Int32 { file.descriptor }

  /// - Throws: `FileError` for what is missing, no regular file, or a pointer of git-lfs.
  init(_ path: String) throws {
    (file, size) = try OpenFile.reading(path)
    if size < GitLFS.maximumLength {
      var start = [UInt8](repeating: 0, count: 100)
      let count = pread(file.descriptor, &start, start.count, 0)
      if count > 0, GitLFS.isPointer(start[..<count]) { throw FileError(.malformed, GitLFS.message(path)) }
    }
  }

  /// Up to a buffer's size; 0 at the end of the file.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int { try file.read(into: buffer) }
}

/// The names in a directory, sorted by their bytes, without those that begin with a dot.
func visibleNames(in directory: String) throws -> [String] {
  try names(in: directory).filter { !$0.hasPrefix(".") }
}
