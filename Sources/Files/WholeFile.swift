public import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Files that are read whole: settings, vocabularies, kept results.
public enum WholeFile {
  /// Larger settings are taken for something else: the largest published ones have some megabytes.
  public static let settingsLimit = 64 << 20

  /// All bytes of a regular file; symbolic links are followed, pipes never waited for.
  ///
  /// - Throws: `FileError` when it is missing, not a regular file, longer than `limit`, unreadable, or a pointer of
  ///   git-lfs.
  public static func read(_ path: String, limit: Int) throws(FileError) -> [UInt8] {
    let (file, size) = try OpenFile.reading(path)
    guard size <= limit else {
      throw FileError(.malformed, "\(path) has \(size) bytes; a file of this kind has at most \(limit)")
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(size)
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { chunk.deallocate() }
    while true {
      let count = try file.read(into: chunk)
      if count == 0 { break }
      bytes.append(contentsOf: chunk[..<count])
      guard bytes.count <= limit else {
        throw FileError(.malformed, "\(path) grows beyond the \(limit) bytes that a file of this kind may have")
      }
    }
    if GitLFS.isPointer(bytes) { throw FileError(.malformed, GitLFS.message(path)) }
    return bytes
  }

  /// The JSON in a file, in Python's dialect: the one way in which this project reads settings.
  ///
  /// - Throws: `FileError` as `read` does, and for a file that holds no JSON.
  public static func json(_ path: String, limit: Int = settingsLimit) throws(FileError) -> JSON {
    let bytes = try read(path, limit: limit)
    guard !bytes.isEmpty else { throw FileError(.malformed, "\(path) is empty, where JSON should be") }
    do throws(JSONError) { return try JSON(parsing: bytes) } catch {
      throw FileError(.malformed, "\(path) is \(error)")
    }
  }

  /// The JSON object in a file.
  ///
  /// - Throws: `FileError` as `json` does, and for a file that holds another value.
  public static func object(_ path: String, limit: Int = settingsLimit) throws(FileError) -> JSON.Object {
    let value = try json(path, limit: limit)
    guard let object = value.object else {
      throw FileError(.malformed, "\(path) holds \(value.kind), where an object should be")
    }
    return object
  }

  /// The JSON object in a file; nil where nothing stands at the path.
  public static func objectIfPresent(_ path: String, limit: Int = settingsLimit) throws(FileError) -> JSON.Object? {
    var status = stat()
    guard !path.utf8.contains(0), stat(path, &status) == 0 || errno != ENOENT && errno != ENOTDIR else { return nil }
    return try object(path, limit: limit)
  }
}
