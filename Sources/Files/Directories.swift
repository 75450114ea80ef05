#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A path's directory and its last name; errors for paths that end in no name.
package func split(_ path: String) throws -> (parent: String, name: String) {
  var bytes = Array(path.utf8)
  while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
  let start = bytes.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
  let name = String(decoding: bytes[start...], as: UTF8.self)
  guard !name.isEmpty, name != ".", name != "..", !bytes.contains(0) else {
    throw FileError(.io, "\(path.debugDescription) names nothing that could be written")
  }
  let parent = start == 0 ? "." : start == 1 ? "/" : String(decoding: bytes[..<(start - 1)], as: UTF8.self)
  return (parent, name)
}

/// Makes a directory and those above it that are not there.
///
/// - Returns: those that it made, the topmost first. The end of the process removes them if they are still empty.
@discardableResult
package func makeDirectories(_ path: String) throws -> [String] {
  switch kind(of: path) {
  case .directory: return []
  case .absent: break
  default: throw FileError(.io, "\(path) is in the way: it is not a directory")
  }
  var made: [String] = []
  if let (parent, _) = try? split(path), parent != path { made = try makeDirectories(parent) }
  do {
    try Unfinished.create(path, .emptyDirectory) {
      guard mkdir(path, 0o777) == 0 else { throw systemError("create the directory", path) }
    }
    return made + [path]
  } catch {
    // Somebody else may have made it meanwhile.
    if kind(of: path) == .directory { return made }
    for directory in made.reversed() { Unfinished.remove(directory) }
    throw error
  }
}

/// Bytes that the disk of a directory has room for. Quotas are not seen here; they show when the bytes are written.
package func freeBytes(in directory: String) throws -> Int {
  var status = statvfs()
  guard statvfs(directory, &status) == 0 else { throw systemError("look at", directory) }
  let (room, overflow) = Int(clamping: status.f_bavail).multipliedReportingOverflow(by: Int(clamping: status.f_frsize))
  return overflow ? .max : room
}

/// Waits until a directory's entries are on the disk.
package func synchronizeDirectory(_ path: String) throws {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw systemError("open", path) }
  defer { close(descriptor) }
  while fsync(descriptor) != 0 {
    if errno == EINTR { continue }
    // Some network file systems have no fsync for directories; they keep their own order.
    if errno == EINVAL || errno == ENOTSUP || errno == EBADF { return }
    throw systemError("write", path)
  }
}

/// Waits until every file and directory below a path is on the disk.
package func synchronizeTree(_ path: String) throws {
  for name in try names(in: path) {
    let child = join(path, name)
    var status = stat()
    guard lstat(child, &status) == 0 else { throw systemError("look at", child) }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: try synchronizeTree(child)
    case S_IFREG: try OpenFile.reading(child).file.synchronize()
    default: break
    }
  }
  try synchronizeDirectory(path)
}

/// Makes an empty directory that is removed with everything in it unless it is finished (see `Unfinished`).
///
/// - Parameter start: its path, but for a number at the end that nothing has yet.
package func makeUnfinishedDirectory(_ start: String) throws -> String {
  for attempt in 0..<1000 {
    let path = "\(start)-\(attempt)"
    do {
      try Unfinished.create(path, .tree) {
        guard mkdir(path, 0o777) == 0 else { throw systemError("create the directory", path) }
      }
      return path
    } catch  where errno == EEXIST { continue }
  }
  throw systemError("create the directory", start, EEXIST)
}

/// Gives a finished file its name, where there must be nothing yet.
package func move(_ path: String, to destination: String) throws {
  guard kind(of: destination) == .absent else { throw systemError("create", destination, EEXIST) }
  guard rename(path, destination) == 0 else { throw systemError("create", destination) }
}
