import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

func systemError(_ doing: String, _ path: String, _ code: Int32 = errno) -> DatasetError {
  let advice =
    switch code {
    case ENOENT: "; check the path"
    case EACCES, EPERM: "; check the permissions of it and of the directories above it"
    case EMFILE, ENFILE: "; raise the limit of open files (ulimit -n)"
    case EIO: "; the disk or network storage under it fails: look at the system's log"
    default: ""
    }
  return DatasetError("cannot \(doing) \(path): \(String(cString: strerror(code)))\(advice)")
}

/// A regular file, read from front to back.
final class InputFile {
  let path: String
  let size: Int
  let descriptor: Int32

  init(_ path: String) throws {
    guard !path.utf8.contains(0) else {
      throw DatasetError("a path with a NUL byte in it names no file: \(path.debugDescription)")
    }
    // O_NONBLOCK: a pipe must not hang the program; it is refused below.
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    self.path = path
    guard descriptor >= 0 else {
      size = 0
      throw systemError("open", path)
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      size = 0
      throw systemError("look at", path)
    }
    size = Int(status.st_size)
    guard status.st_mode & S_IFMT == S_IFREG else { throw DatasetError("\(path) is not a regular file") }
    if size < GitLFS.maximumLength {
      var start = [UInt8](repeating: 0, count: 100)
      let count = pread(descriptor, &start, start.count, 0)
      if count > 0, GitLFS.isPointer(start[..<count]) { throw DatasetError(GitLFS.message(path)) }
    }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Up to a buffer's size; 0 at the end of the file.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    while true {
      #if canImport(Darwin)
        let count = Darwin.read(descriptor, buffer.baseAddress, buffer.count)
      #elseif canImport(Musl)
        let count = Musl.read(descriptor, buffer.baseAddress, buffer.count)
      #else
        let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      #endif
      if count >= 0 { return count }
      if errno != EINTR { throw systemError("read", path) }
    }
  }
}

enum FileKind { case absent, file, directory, other }

/// What stands at a path, symbolic links followed.
func kind(of path: String) -> FileKind {
  var status = stat()
  guard !path.utf8.contains(0), stat(path, &status) == 0 else { return .absent }
  switch status.st_mode & S_IFMT {
  case S_IFREG: return .file
  case S_IFDIR: return .directory
  default: return .other
  }
}

/// The names in a directory, sorted by their bytes, without those that begin with a dot.
func visibleNames(in directory: String) throws -> [String] {
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
    if !name.hasPrefix(".") { found.append(name) }
  }
  return found.sorted(by: isBefore)
}

/// The order of bytes, which is that of code points, and Python's.
func isBefore(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }

func join(_ directory: String, _ name: String) -> String {
  directory.hasSuffix("/") ? directory + name : directory + "/" + name
}

func lastName(_ path: String) -> String {
  path.split(separator: "/").last.map(String.init) ?? path
}
