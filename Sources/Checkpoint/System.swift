import CCheckpoint

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the system said about a call on a file, as an error that says what to do.
func systemError(_ doing: String, _ path: String, _ code: Int32 = errno) -> CheckpointError {
  let reason = String(cString: strerror(code))
  let advice: String
  switch code {
  case ENOENT: advice = "; check the path"
  case EACCES, EPERM: advice = "; check the permissions of it and of the directories above it"
  case ENOSPC: advice = "; free some space or choose an output on another disk, then run the same command again"
  case EDQUOT: advice = "; your quota is used up: free some space or choose another output, then run again"
  case EROFS: advice = "; this file system cannot be written to: choose another output"
  case EIO: advice = "; the disk or network storage under it fails: look at the system's log, then run again"
  case EMFILE, ENFILE: advice = "; raise the limit of open files (ulimit -n)"
  default: advice = ""
  }
  return CheckpointError(code == ENOENT ? .missing : .io, "cannot \(doing) \(path): \(reason)\(advice)")
}

func sameBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
  guard a.count == b.count else { return false }
  guard let left = a.baseAddress, let right = b.baseAddress else { return true }
  return memcmp(left, right, a.count) == 0
}

/// An open file descriptor that closes itself.
final class FileHandle: Sendable {
  let descriptor: Int32
  let path: String

  private init(descriptor: Int32, path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  deinit { close(descriptor) }

  /// Opens a regular file to read it. Never blocks on a pipe, follows symbolic links (Hugging Face's cache is
  /// made of them).
  static func reading(_ path: String) throws -> (file: FileHandle, size: Int) {
    guard !path.utf8.contains(0) else {
      throw CheckpointError(.missing, "a path with a NUL byte in it names no file: \(path.debugDescription)")
    }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw systemError("open", path) }
    let file = FileHandle(descriptor: descriptor, path: path)
    return (file, try file.size())
  }

  /// Creates a file that must not be there yet.
  static func creating(_ path: String) throws -> FileHandle {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw systemError("create", path) }
    return FileHandle(descriptor: descriptor, path: path)
  }

  /// A second way to an existing file, past the page cache: offsets, sizes and addresses must be multiples of 4096. Nil
  /// where the system has no such way.
  static func writingDirectly(_ path: String) -> FileHandle? {
    let descriptor = cc_open_direct(path)
    return descriptor < 0 ? nil : FileHandle(descriptor: descriptor, path: path)
  }

  /// The file's size now.
  func size() throws -> Int {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw systemError("look at", path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw CheckpointError(.malformed, "\(path) is not a regular file")
    }
    return Int(status.st_size)
  }

  /// Reads up to a buffer's size; 0 at the end of the file.
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

  /// Writes all of a buffer, however many calls that takes.
  func write(_ buffer: UnsafeRawBufferPointer) throws {
    var rest = buffer
    while !rest.isEmpty {
      #if canImport(Darwin)
        let count = Darwin.write(descriptor, rest.baseAddress, rest.count)
      #elseif canImport(Musl)
        let count = Musl.write(descriptor, rest.baseAddress, rest.count)
      #else
        let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
      #endif
      if count < 0 {
        if errno == EINTR { continue }
        throw systemError("write", path)
      }
      // A regular file that takes nothing and reports nothing is full in all but name.
      if count == 0 { throw systemError("write", path, ENOSPC) }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  /// Waits until the file's bytes are on the disk. Delayed write errors (quota, network storage) show up here.
  func synchronize() throws {
    while fsync(descriptor) != 0 {
      if errno == EINTR { continue }
      throw systemError("write", path)
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

/// The names in a directory, sorted by their bytes, without `.` and `..`.
func names(in directory: String) throws -> [String] {
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
  return found.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}

func join(_ directory: String, _ name: String) -> String {
  directory.hasSuffix("/") ? directory + name : directory + "/" + name
}

/// A path without links and relative parts; the path itself where there is nothing.
func realPath(_ path: String) -> String {
  guard let real = realpath(path, nil) else { return path }
  defer { free(real) }
  return String(cString: real)
}
