#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A hold on a directory of kept scores, for as long as it is referenced. Runs share it; who wants to remove the
/// directory asks for it alone. It leaves nothing, and goes with the process.
public final class KeptLock: Sendable {
  private let descriptor: Int32

  /// - Parameter isAlone: nobody else may hold it.
  /// - Returns: nil when it cannot be had now: others hold it, or there is no such directory.
  public init?(_ directory: String, isAlone: Bool = false) {
    descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    guard flock(descriptor, (isAlone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 else {
      // A class releases what it holds itself only when its initializer succeeds.
      close(descriptor)
      return nil
    }
  }

  deinit { close(descriptor) }
}
