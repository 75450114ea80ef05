#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the system says of a file that changes when its contents do: size, times, and which file it is.
public struct FileIdentity: Sendable, Equatable {
  public let size: Int
  /// Nanoseconds since 1970.
  public let modified: Int
  /// Of the last change of contents or attributes; nobody can set it back.
  public let changed: Int
  public let inode: UInt64
  public let device: UInt64

  /// Of the regular file at a path, links followed; nil where there is none.
  public init?(path: String) {
    var status = stat()
    guard !path.utf8.contains(0), stat(path, &status) == 0 else { return nil }
    self.init(status)
  }

  /// Of an open regular file.
  public init?(descriptor: Int32) {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return nil }
    self.init(status)
  }

  package init(size: Int, modified: Int, changed: Int, inode: UInt64, device: UInt64) {
    (self.size, self.modified, self.changed) = (size, modified, changed)
    (self.inode, self.device) = (inode, device)
  }

  private init?(_ status: stat) {
    guard status.st_mode & S_IFMT == S_IFREG else { return nil }
    #if canImport(Darwin)
      let (modified, changed) = (status.st_mtimespec, status.st_ctimespec)
    #else
      let (modified, changed) = (status.st_mtim, status.st_ctim)
    #endif
    func nanoseconds(_ time: timespec) -> Int { Int(time.tv_sec) &* 1_000_000_000 &+ Int(time.tv_nsec) }
    self.init(
      size: Int(status.st_size), modified: nanoseconds(modified), changed: nanoseconds(changed),
      inode: UInt64(status.st_ino), device: UInt64(truncatingIfNeeded: status.st_dev))
  }

  /// The same file with the same contents as far as the system can tell, whatever became of its attributes and links.
  public func hasContents(of other: FileIdentity) -> Bool {
    size == other.size && modified == other.modified && inode == other.inode && device == other.device
  }

  /// Whether the last change lies so far back that another one would have other times: clocks of file systems tick in
  /// steps of up to two seconds (FAT).
  func isSettled() -> Bool {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let seconds = Int(now.tv_sec) - max(modified, changed) / 1_000_000_000
    return seconds > 2
  }
}

/// Which directory it is, under whatever name.
public struct DirectoryIdentity: Sendable, Hashable {
  private let inode: UInt64
  private let device: UInt64

  /// Nil where there is no directory.
  public init?(path: String) {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return nil }
    (inode, device) = (UInt64(status.st_ino), UInt64(truncatingIfNeeded: status.st_dev))
  }
}

/// An absolute path without `.`, `..` and symbolic links; what is not there is taken as it is written.
public func resolvedPath(_ path: String) -> String {
  if let real = realPath(path) { return real }
  var parts = path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
  var missing: [String] = []
  let root = path.hasPrefix("/") ? "/" : ""
  while let last = parts.popLast() {
    missing.insert(last, at: 0)
    let above = root + parts.joined(separator: "/")
    guard let real = realPath(above.isEmpty ? "." : above) else { continue }
    var resolved = real.split(separator: "/").map(String.init)
    for name in missing where name != "." {
      if name == ".." { _ = resolved.popLast() } else { resolved.append(name) }
    }
    return "/" + resolved.joined(separator: "/")
  }
  return path
}
