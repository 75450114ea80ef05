#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A file that appears whole or not at all, replacing what was there.
public enum AtomicFile {
  /// Writes beside the destination, waits for the disk, renames.
  ///
  /// - Parameter isSecret: nobody but the user may read it, at any moment.
  /// - Throws: `FileError`, io; the file at `path` is then what it was before.
  public static func write(_ bytes: some Collection<UInt8>, to path: String, isSecret: Bool = false) throws {
    try Array(bytes).withUnsafeBytes { try write($0, to: path, mode: isSecret ? 0o600 : 0o666) }
  }

  /// The same for bytes in memory.
  ///
  /// - Parameters:
  ///   - isDurable: whether to wait for the disk. Without that the file is whole as long as the machine keeps
  ///   running; afterwards it may be anything.
  ///   - replaces: whether what is at `path` is replaced; else it is an error that there is something.
  ///   - mode: who may read and write it, before the user's mask is applied.
  public static func write(
    _ bytes: UnsafeRawBufferPointer, to path: String, isDurable: Bool = true, replaces: Bool = true,
    mode: UInt32 = 0o666
  ) throws {
    let (parent, name) = try split(path)
    let prefix = ".\(name).partial-"
    removeLeftovers(parent, prefix)
    let (file, lock) = try create(join(parent, prefix + "\(getpid())"), mode: mode)
    do {
      try file.write(bytes)
      if isDurable { try file.synchronize() }
      try Unfinished.finish(file.path) {
        if replaces {
          guard rename(file.path, join(parent, name)) == 0 else { throw systemError("replace", path) }
        } else {
          try place(file.path, join(parent, name))
        }
      }
    } catch {
      Unfinished.remove(file.path)
      throw error
    }
    withExtendedLifetime(lock) {}
    if isDurable { try synchronizeDirectory(parent) }
  }

  public static func write(_ text: String, to path: String, replaces: Bool = true) throws {
    try Array(text.utf8).withUnsafeBytes { try write($0, to: path, replaces: replaces) }
  }

  /// Finds out early whether files can be written into a directory; makes it and those above it. Directories that it made
  /// are removed by the end of the process while they are empty.
  ///
  /// - Throws: `FileError`, io: not a directory, permissions, a full disk.
  public static func checkWritable(directory: String) throws {
    _ = try makeDirectories(directory)
    try probe(directory)
  }

  /// Finds out early whether `write` could put a file at `path` without replacing anything.
  ///
  /// - Throws: `FileError`: something is there, or its directory takes no files.
  public static func checkCreatable(_ path: String) throws {
    let (parent, _) = try split(path)
    guard kind(of: path) != .directory else {
      throw FileError(.io, "\(path) is a directory; name a file to write to")
    }
    guard !isTaken(path) else {
      throw FileError(.exists, "\(path) is there already, and is not overwritten; name another file")
    }
    try probe(parent)
  }

  private static func probe(_ directory: String) throws {
    removeLeftovers(directory, ".probe.partial-")
    let (file, _) = try create(join(directory, ".probe.partial-\(getpid())"))
    defer { Unfinished.remove(file.path) }
    // A full disk still makes files without contents.
    try Array(repeating: UInt8(0), count: 1 << 16).withUnsafeBytes { try file.write($0) }
  }

  /// Makes a directory and those above it, for good.
  ///
  /// - Throws: `FileError`, io.
  public static func makeDirectory(_ path: String) throws {
    for directory in try makeDirectories(path) { Unfinished.finish(directory) {} }
  }

  /// Gives a file its name where nothing has that name.
  private static func place(_ temporary: String, _ path: String) throws {
    if link(temporary, path) == 0 {
      unlink(temporary)
      return
    }
    let code = errno
    guard code != EEXIST, kind(of: path) == .absent else {
      throw FileError(.io, "\(path) is there already; name another file")
    }
    // A file system without hard links.
    guard rename(temporary, path) == 0 else { throw systemError("create", path) }
  }

  /// A new temporary file, locked: the lock tells other processes that its writer lives.
  private static func create(_ start: String, mode: UInt32 = 0o666) throws -> (file: OpenFile, locked: Bool) {
    for attempt in 0..<1000 {
      let path = "\(start)-\(attempt)"
      let file: OpenFile
      do { file = try Unfinished.create(path, .file) { try OpenFile.creating(path, mode: mode) } } catch {
        if kind(of: path) != .absent { continue }
        throw error
      }
      let locked = flock(file.descriptor, LOCK_EX | LOCK_NB) == 0
      // Between its creation and its lock another process may have taken it for a leftover.
      var status = stat()
      if fstat(file.descriptor, &status) == 0, status.st_nlink > 0 { return (file, locked) }
      Unfinished.remove(path)
    }
    throw systemError("create", start, EEXIST)
  }

  private static func removeLeftovers(_ parent: String, _ prefix: String) {
    for name in (try? names(in: parent)) ?? [] where name.hasPrefix(prefix) {
      let path = join(parent, name)
      let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
      guard descriptor >= 0 else { continue }
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { unlink(path) }
      close(descriptor)
    }
  }
}
