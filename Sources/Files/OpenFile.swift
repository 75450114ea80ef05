import CFiles

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the system said about a call on a file, as an error that says what to do.
package func systemError(_ doing: String, _ path: String, _ code: Int32 = errno) -> FileError {
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
  return FileError(code == ENOENT ? .missing : .io, "cannot \(doing) \(path): \(reason)\(advice)")
}

/// An open file descriptor that closes itself.
package final class OpenFile: Sendable {
  package let descriptor: Int32
  package let path: String

  private init(descriptor: Int32, path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  deinit { close(descriptor) }

  /// Opens a regular file to read it. Never blocks on a pipe, follows symbolic links (Hugging Face's cache is
  /// made of them).
  package static func reading(_ path: String) throws(FileError) -> (file: OpenFile, size: Int) {
    guard !path.utf8.contains(0) else {
      throw FileError(.missing, "a path with a NUL byte in it names no file: \(path.debugDescription)")
    }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw systemError("open", path) }
    let file = OpenFile(descriptor: descriptor, path: path)
    return (file, try file.size())
  }

  /// Creates a file that must not be there yet.
  package static func creating(_ path: String, mode: UInt32 = 0o666) throws(FileError) -> OpenFile {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_t(mode))
    guard descriptor >= 0 else { throw systemError("create", path) }
    return OpenFile(descriptor: descriptor, path: path)
  }

  /// Opens a file to read and go on with, at its start; creates one that is not there. Never follows a link.
  package static func updating(_ path: String) throws(FileError) -> OpenFile {
    let descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw systemError("create", path) }
    return OpenFile(descriptor: descriptor, path: path)
  }

  /// Throws away what comes after so many bytes; what is written next follows them.
  package func truncate(to size: Int = 0) throws(FileError) {
    guard ftruncate(descriptor, off_t(size)) == 0, lseek(descriptor, off_t(size), SEEK_SET) == size else {
      throw systemError("write", path)
    }
  }

  /// A second way to an existing file, past the page cache: offsets, sizes and addresses must be multiples of 4096. Nil
  /// where the system has no such way.
  package static func writingDirectly(_ path: String) -> OpenFile? {
    let descriptor = cf_open_direct(path)
    return descriptor < 0 ? nil : OpenFile(descriptor: descriptor, path: path)
  }

  /// The file's size now.
  package func size() throws(FileError) -> Int {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw systemError("look at", path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw FileError(.malformed, "\(path) is not a regular file")
    }
    return Int(status.st_size)
  }

  /// Reads up to a buffer's size; 0 at the end of the file.
  package func read(into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
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

  /// Reads from a byte on until the buffer is full or the file ends; gives the number of bytes read.
  package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(FileError) -> Int {
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = pread(descriptor, rest.baseAddress, rest.count, off_t(offset + done))
      if count == 0 { break }
      if count > 0 { done += count } else if errno != EINTR { throw systemError("read", path) }
    }
    return done
  }

  /// Writes all of a buffer, however many calls that takes.
  package func write(_ buffer: UnsafeRawBufferPointer) throws(FileError) {
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
  package func synchronize() throws(FileError) {
    while fsync(descriptor) != 0 {
      if errno == EINTR { continue }
      throw systemError("write", path)
    }
  }
}
