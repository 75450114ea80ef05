import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A file that is locked as long as this object lives, and removed with it or by a signal.
final class KeptWalkLock {
  private let path: String
  private let descriptor: Int32

  private struct Held: Error {}

  /// - Returns: nil when another process has it, or it cannot be made.
  init?(_ path: String) {
    let locked = try? Unfinished.create(path, .file) {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
      guard descriptor >= 0 else { throw Held() }
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
        close(descriptor)
        throw Held()
      }
      return descriptor
    }
    guard let locked else { return nil }
    self.path = path
    descriptor = locked
  }

  deinit {
    Unfinished.remove(path)
    close(descriptor)
  }
}
