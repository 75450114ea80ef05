internal import CFiles
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What SIGINT, SIGTERM and SIGHUP do: whatever is being built is removed (see `Unfinished`), the terminal's line is cleared,
/// and the process ends by the signal, as its parent expects. A weight file that is cut while it is mapped takes the
/// same path and ends in exit code 1.
///
/// The signals are blocked in every thread and waited for by one of their own: no code is interrupted in the middle, and
/// nothing need be safe in a signal handler.
public enum Interruption {
  /// Installs this for the whole process. To be called before any other thread is started: threads inherit what is
  /// blocked. A signal that was ignored at the start (`nohup`, a shell's background jobs) remains so.
  public static func install() {
    var waited = sigset_t()
    sigemptyset(&waited)
    var ignored: Set<Int32> = []
    for number in [SIGINT, SIGTERM, SIGHUP] {
      sigaddset(&waited, number)
      var action = sigaction()
      if sigaction(number, nil, &action) == 0, isIgnoring(action) { ignored.insert(number) }
    }
    pthread_sigmask(SIG_BLOCK, &waited, nil)
    ignoredSignals.withLock { $0 = ignored }
    var thread = pthread_t()
    guard
      pthread_create(
        &thread, nil,
        { _ in
          Interruption.wait()
          return nil
        }, nil) == 0
    else {
      // Without the thread the signals must at least end the process.
      pthread_sigmask(SIG_UNBLOCK, &waited, nil)
      return
    }
    pthread_detach(thread)
    cf_install()
  }

  /// Waits for the end where the process is being ended by a signal: for whoever is about to speak of errors that come of
  /// that.
  public static func holdIfEnding() {
    if cf_is_cut() { while true { pause() } }
    Unfinished.uninterrupted {}
  }

  private static let ignoredSignals = Mutex<Set<Int32>>([])

  private static func isIgnoring(_ action: sigaction) -> Bool {
    #if canImport(Darwin)
      let handler = action.__sigaction_u.__sa_handler
    #else
      let handler = action.__sigaction_handler.sa_handler
    #endif
    return unsafeBitCast(handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
  }

  private static func wait() {
    var waited = sigset_t()
    sigemptyset(&waited)
    for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&waited, number) }
    let ignored = ignoredSignals.withLock { $0 }
    while true {
      var number: Int32 = 0
      guard sigwait(&waited, &number) == 0, cf_is_cut() || !ignored.contains(number) else { continue }
      end(number)
    }
  }

  private static func end(_ number: Int32) {
    Unfinished.removeAll()
    if cf_is_cut() { _exit(1) }
    cf_clear_live_line()
    signal(number, SIG_DFL)
    var own = sigset_t()
    sigemptyset(&own)
    sigaddset(&own, number)
    pthread_sigmask(SIG_UNBLOCK, &own, nil)
    kill(getpid(), number)
    // Not reached: the signal ends the process before `kill` returns.
    _exit(128 + number)
  }
}

/// Mapped bytes of a file, watched while this object lives.
public final class MappedWatch: Sendable {
  nonisolated(unsafe) private let range: UnsafeMutableRawPointer?

  public init(_ start: UnsafeRawPointer, count: Int, path: String) { range = cf_watch(start, count, path) }

  deinit { cf_unwatch(range) }
}

/// Tells the end of the process whether standard error ends in a line that is still being redrawn.
public func setLiveLine(_ on: Bool) { cf_set_live_line(on) }
