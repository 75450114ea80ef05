#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The files and directories that this process is building, and its locks: what a signal removes before the process ends.
///
/// Everything is put on the list in the same critical section in which it is made, and taken off in the one in which it
/// gets its final name: a signal comes before or after, never between.
public enum Unfinished {
  public enum Kind: Sendable {
    case file
    /// With everything in it.
    case tree
    /// Removed only while nothing is in it.
    case emptyDirectory
  }

  private struct Item {
    let path: String
    let kind: Kind
  }

  // Guarded by `lock`.
  nonisolated(unsafe) private static var items: [Item] = []
  nonisolated(unsafe) private static let lock: UnsafeMutablePointer<pthread_mutex_t> = {
    let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    pthread_mutex_init(lock, nil)
    return lock
  }()

  /// Does something that no signal may interrupt halfway. Must be short, and not nested. Never returns once the process is
  /// being ended.
  public static func uninterrupted<T>(_ body: () throws -> T) rethrows -> T {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return try body()
  }

  /// Makes something and puts its path on the list.
  public static func create<T>(_ path: String, _ kind: Kind, _ make: () throws -> T) rethrows -> T {
    try uninterrupted {
      let made = try make()
      items.append(Item(path: path, kind: kind))
      return made
    }
  }

  /// Gives something its final name, or decides otherwise that it is to be kept, and takes its path off the list.
  public static func finish<T>(_ path: String, _ body: () throws -> T) rethrows -> T {
    try uninterrupted {
      let result = try body()
      forget(path)
      return result
    }
  }

  /// Removes something that will not be finished.
  public static func remove(_ path: String) {
    let kind = uninterrupted { items.last { $0.path == path }?.kind }
    if let kind { remove(path, kind) }
    uninterrupted { forget(path) }
  }

  /// Removes everything on the list, the latest first, and keeps every other thread from making anything more: for the end
  /// of the process.
  static func removeAll() {
    pthread_mutex_lock(lock)
    for item in items.reversed() { remove(item.path, item.kind) }
    items = []
  }

  /// Ends the process, with whatever is still on the list removed.
  public static func leave(_ code: Int32) -> Never {
    removeAll()
    _exit(code)
  }

  private static func forget(_ path: String) {
    if let index = items.lastIndex(where: { $0.path == path }) { items.remove(at: index) }
  }

  private static func remove(_ path: String, _ kind: Kind) {
    switch kind {
    case .file: unlink(path)
    case .emptyDirectory: rmdir(path)
    case .tree:
      // Other threads may still be writing there: their files vanish with the directory, at the latest at the next try.
      for _ in 0..<100 {
        removeTree(path)
        var status = stat()
        if lstat(path, &status) != 0 { return }
        usleep(1000)
      }
    }
  }
}

/// Removes whatever is at a path; what cannot be removed is left. Symbolic links are removed, never followed.
public func removeTree(_ path: String) {
  var status = stat()
  guard lstat(path, &status) == 0 else { return }
  guard status.st_mode & S_IFMT == S_IFDIR else {
    unlink(path)
    return
  }
  if let stream = opendir(path) {
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    closedir(stream)
    for name in names { removeTree(path + "/" + name) }
  }
  rmdir(path)
}
