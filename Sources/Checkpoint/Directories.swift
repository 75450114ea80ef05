#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A path's directory and its last name; errors for paths that end in no name.
func split(_ path: String) throws -> (parent: String, name: String) {
  var bytes = Array(path.utf8)
  while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
  let start = bytes.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
  let name = String(decoding: bytes[start...], as: UTF8.self)
  guard !name.isEmpty, name != ".", name != "..", !bytes.contains(0) else {
    throw CheckpointError(.io, "\(path.debugDescription) names nothing that could be written")
  }
  let parent = start == 0 ? "." : start == 1 ? "/" : String(decoding: bytes[..<(start - 1)], as: UTF8.self)
  return (parent, name)
}

/// Makes a directory and those above it that are not there.
func makeDirectories(_ path: String) throws {
  switch kind(of: path) {
  case .directory: return
  case .absent: break
  default: throw CheckpointError(.io, "\(path) is in the way: it is not a directory")
  }
  if let (parent, _) = try? split(path), parent != path { try makeDirectories(parent) }
  guard mkdir(path, 0o777) == 0 || errno == EEXIST else { throw systemError("create the directory", path) }
}

/// Removes whatever is at a path; what cannot be removed stays. Symbolic links are removed, never followed.
func removeTree(_ path: String) {
  var status = stat()
  guard lstat(path, &status) == 0 else { return }
  guard status.st_mode & S_IFMT == S_IFDIR else {
    unlink(path)
    return
  }
  for name in (try? names(in: path)) ?? [] { removeTree(join(path, name)) }
  rmdir(path)
}

/// Waits until a directory's entries are on the disk.
func synchronizeDirectory(_ path: String) throws {
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
func synchronizeTree(_ path: String) throws {
  for name in try names(in: path) {
    let child = join(path, name)
    var status = stat()
    guard lstat(child, &status) == 0 else { throw systemError("look at", child) }
    switch status.st_mode & S_IFMT {
    case S_IFDIR: try synchronizeTree(child)
    case S_IFREG: try FileHandle.reading(child).file.synchronize()
    default: break
    }
  }
  try synchronizeDirectory(path)
}
