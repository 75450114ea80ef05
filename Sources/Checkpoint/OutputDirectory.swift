#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A directory that appears whole or not at all.
public enum OutputDirectory {
  /// Builds a directory beside its destination and renames it there when all of it is on the disk.
  ///
  /// While it is built it is called `.NAME.partial-PID-N`, and `.NAME.lock` keeps other processes from the same
  /// destination. What dead processes left there of this destination is removed first; on an error everything
  /// written is removed again.
  ///
  /// - Parameters:
  ///   - path: must not exist, or be an empty directory. Directories above it are made.
  ///   - build: gets the path of an empty directory to fill.
  /// - Throws: `CheckpointError`: `.exists` when something is at the destination, before `build` is called; `.busy`
  ///   when a live process builds the same destination; `.io`. Whatever `build` throws.
  public static func publish(to path: String, build: (_ temporary: String) throws -> Void) throws {
    let (parent, name) = try split(resolved(path))
    let destination = join(parent, name)
    try refuseOccupied(destination)
    try makeDirectories(parent)
    let lock = try OutputLock(join(parent, ".\(name).lock"))
    defer { lock.remove() }
    // Once more under the lock: another process may just have finished the same.
    try refuseOccupied(destination)
    let prefix = ".\(name).partial-"
    if lock.isHeld {
      for leftover in try names(in: parent) where leftover.hasPrefix(prefix) { removeTree(join(parent, leftover)) }
    }
    let temporary = try makeTemporary(join(parent, prefix + "\(getpid())"))
    do {
      try build(temporary)
      try synchronizeTree(temporary)
      guard rename(temporary, destination) == 0 else {
        if [EEXIST, ENOTEMPTY, ENOTDIR, EISDIR].contains(errno) { throw occupied(destination) }
        throw systemError("move the finished output to", destination)
      }
    } catch {
      removeTree(temporary)
      throw error
    }
    try synchronizeDirectory(parent)
  }

  /// Writes a file into a directory that is being built. It need not wait for the disk: `publish` does, for all of them.
  public static func write(_ bytes: some Collection<UInt8>, to path: String) throws {
    let file = try FileHandle.creating(path)
    let written: Void? = try bytes.withContiguousStorageIfAvailable { try file.write(UnsafeRawBufferPointer($0)) }
    if written == nil { try Array(bytes).withUnsafeBytes { try file.write($0) } }
  }

  /// Whether a directory holds a whole checkpoint: `config.json` and weights that keep their format's rules.
  public static func isFinished(_ path: String) -> Bool { (try? CheckpointReader(directory: path)) != nil }

  /// Finds out early whether `publish` could put something at `path`: it is free, and its directory takes files.
  ///
  /// - Throws: `CheckpointError` as `publish` would.
  public static func checkWritable(_ path: String) throws {
    let (parent, name) = try split(resolved(path))
    try refuseOccupied(join(parent, name))
    try makeDirectories(parent)
    removeTree(try makeTemporary(join(parent, ".\(name).partial-\(getpid())")))
  }

  private static func refuseOccupied(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR, try names(in: path).isEmpty { return }
    throw occupied(path)
  }

  private static func occupied(_ path: String) -> CheckpointError {
    CheckpointError(
      .exists, "\(path) exists already and is left as it is: remove it yourself or choose another output")
  }

  /// The destination behind a symbolic link to a directory; the path itself otherwise.
  private static func resolved(_ path: String) -> String {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK, kind(of: path) == .directory,
      let real = realpath(path, nil)
    else { return path }
    defer { free(real) }
    return String(cString: real)
  }

  private static func makeTemporary(_ start: String) throws -> String {
    for attempt in 0..<1000 {
      let path = "\(start)-\(attempt)"
      if mkdir(path, 0o777) == 0 { return path }
      guard errno == EEXIST else { throw systemError("create the directory", path) }
    }
    throw systemError("create the directory", start, EEXIST)
  }
}

/// A file that appears whole or not at all, replacing what was there.
public enum AtomicFile {
  /// Writes beside the destination, waits for the disk, renames.
  ///
  /// - Throws: `CheckpointError`, io; the file at `path` is then what it was before.
  public static func write(_ bytes: some Collection<UInt8>, to path: String) throws {
    let (parent, name) = try split(path)
    let prefix = ".\(name).partial-"
    removeLeftovers(parent, prefix)
    let (file, lock) = try create(join(parent, prefix + "\(getpid())"))
    do {
      let contents = Array(bytes)
      try contents.withUnsafeBytes { try file.write($0) }
      try file.synchronize()
      guard rename(file.path, join(parent, name)) == 0 else { throw systemError("replace", path) }
    } catch {
      unlink(file.path)
      throw error
    }
    withExtendedLifetime(lock) {}
    try synchronizeDirectory(parent)
  }

  public static func write(_ text: String, to path: String) throws { try write(Array(text.utf8), to: path) }

  /// A new temporary file, locked: the lock tells other processes that its writer lives.
  private static func create(_ start: String) throws -> (file: FileHandle, locked: Bool) {
    for attempt in 0..<1000 {
      let path = "\(start)-\(attempt)"
      let file: FileHandle
      do { file = try FileHandle.creating(path) } catch {
        if kind(of: path) != .absent { continue }
        throw error
      }
      let locked = flock(file.descriptor, LOCK_EX | LOCK_NB) == 0
      // Between its creation and its lock another process may have taken it for a leftover.
      var status = stat()
      if fstat(file.descriptor, &status) == 0, status.st_nlink > 0 { return (file, locked) }
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

/// The lock of one destination. The kernel lets go of it when its process ends, however that happens.
private struct OutputLock {
  private let path: String
  private let descriptor: Int32
  /// False where the file system has no locks; leftovers are then nobody's to remove.
  let isHeld: Bool

  init(_ path: String) throws {
    while true {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
      guard descriptor >= 0 else { throw systemError("create", path) }
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
        let reason = errno
        if reason == EWOULDBLOCK {
          close(descriptor)
          throw CheckpointError(
            .busy, "another process is writing this output (it holds \(path)): wait for it, or choose another output")
        }
        (self.path, self.descriptor, isHeld) = (path, descriptor, false)
        return
      }
      // The lock may be on a file that its last holder has removed since; only the one at the path counts.
      var ours = stat()
      var present = stat()
      if fstat(descriptor, &ours) == 0, stat(path, &present) == 0, ours.st_ino == present.st_ino,
        ours.st_dev == present.st_dev
      {
        (self.path, self.descriptor, isHeld) = (path, descriptor, true)
        return
      }
      close(descriptor)
    }
  }

  func remove() {
    if isHeld { unlink(path) }
    close(descriptor)
  }
}
