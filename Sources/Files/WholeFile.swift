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
    guard !path.utf8.contains(0) else {
      throw FileError(.missing, "a path with a NUL byte in it names no file: \(path.debugDescription)")
    }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw failure("open", path, errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw failure("look at", path, errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw FileError(.malformed, "\(path) is not a regular file") }
    let size = Int(status.st_size)
    guard size <= limit else {
      throw FileError(.malformed, "\(path) has \(size) bytes; a file of this kind has at most \(limit)")
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(size)
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = chunk.withUnsafeMutableBytes { buffer in
        var count = 0
        repeat { count = systemRead(descriptor, buffer) } while count < 0 && errno == EINTR
        return count
      }
      guard count >= 0 else { throw failure("read", path, errno) }
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

  private static func systemRead(_ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
    #if canImport(Darwin)
      Darwin.read(descriptor, buffer.baseAddress, buffer.count)
    #elseif canImport(Musl)
      Musl.read(descriptor, buffer.baseAddress, buffer.count)
    #else
      Glibc.read(descriptor, buffer.baseAddress, buffer.count)
    #endif
  }

  private static func failure(_ doing: String, _ path: String, _ code: Int32) -> FileError {
    let advice =
      switch code {
      case ENOENT: "; check the path"
      case EACCES, EPERM: "; check the permissions of it and of the directories above it"
      case EIO: "; the disk or network storage under it fails: look at the system's log, then run again"
      case EMFILE, ENFILE: "; raise the limit of open files (ulimit -n)"
      default: ""
      }
    return FileError(
      code == ENOENT ? .missing : .io, "cannot \(doing) \(path): \(String(cString: strerror(code)))\(advice)")
  }
}
