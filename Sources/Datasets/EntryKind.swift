#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

enum EntryKind {
  case file(size: Int)
  case directory
  case other
}

/// What an entry of a directory is; a link is what it points to where that is a file, and nothing else.
func entryKind(_ path: String) -> EntryKind {
  var status = stat()
  guard lstat(path, &status) == 0 else { return .other }
  let isLink = status.st_mode & S_IFMT == S_IFLNK
  if isLink, stat(path, &status) != 0 { return .other }
  switch status.st_mode & S_IFMT {
  case S_IFREG: return .file(size: Int(status.st_size))
  case S_IFDIR: return isLink ? .other : .directory
  default: return .other
  }
}
