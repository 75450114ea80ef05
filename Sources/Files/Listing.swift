#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

package enum FileKind { case absent, file, directory, other }

/// What is at a path, symbolic links followed.
package func kind(of path: String) -> FileKind {
  var status = stat()
  guard !path.utf8.contains(0), stat(path, &status) == 0 else { return .absent }
  switch status.st_mode & S_IFMT {
  case S_IFREG: return .file
  case S_IFDIR: return .directory
  default: return .other
  }
}

/// Whether something is at a path, be it a symbolic link to nothing.
package func isTaken(_ path: String) -> Bool {
  var status = stat()
  return !path.utf8.contains(0) && lstat(path, &status) == 0
}

/// The names in a directory, sorted by their bytes, without `.` and `..`.
package func names(in directory: String) throws(FileError) -> [String] {
  guard let stream = opendir(directory) else { throw systemError("list", directory) }
  defer { closedir(stream) }
  var found: [String] = []
  while true {
    errno = 0
    guard let entry = readdir(stream) else {
      if errno != 0 { throw systemError("list", directory) }
      break
    }
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name != ".", name != ".." { found.append(name) }
  }
  return found.sorted(by: isBefore)
}

package func join(_ directory: String, _ name: String) -> String {
  directory.hasSuffix("/") ? directory + name : directory + "/" + name
}

/// A path without links and relative parts; nil where there is nothing.
func realPath(_ path: String) -> String? {
  guard let real = realpath(path, nil) else { return nil }
  defer { free(real) }
  return String(cString: real)
}

/// The order of bytes, which is that of code points, and Python's.
package func isBefore(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }

package func lastName(_ path: String) -> String {
  path.split(separator: "/").last.map(String.init) ?? path
}
