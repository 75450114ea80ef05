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
  /// that, or to end the process otherwise.
  public static func holdIfEnding() {
    if cf_is_cut() || isEnding.withLock({ $0 }) { while true { pause() } }
    Unfinished.uninterrupted {}
  }

  /// Adds something to do when a signal has come, before anything is removed: on the thread that waits for signals, where
  /// nothing is interrupted. Must be short: the signal's sender waits.
  public static func before(_ action: @escaping @Sendable (_ signal: Int32) -> Void) {
    actions.withLock { $0.append(action) }
  }

  private static let actions = Mutex<[@Sendable (Int32) -> Void]>([])

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

  private static let isEnding = Mutex(false)

  private static func end(_ number: Int32) {
    isEnding.withLock { $0 = true }
    for action in actions.withLock({ $0 }) { action(number) }
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

extension Unfinished {
  /// The same for a process that does not come to its end by itself: says why on standard error. Whatever its threads do, it
  /// ends within some seconds.
  public static func leave(_ code: Int32, saying message: String) -> Never {
    // Removing may wait for a file system that does not answer.
    signal(SIGALRM, SIG_DFL)
    alarm(5)
    uninterrupted {
      cf_clear_live_line()
      var bytes = Array((message + "\n").utf8)[...]
      while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        if count <= 0 { break }
        bytes = bytes.dropFirst(count)
      }
    }
    leave(code)
  }
}

/// Ends this process by SIGTERM when its parent ends, however that happens; at once where another process than `parent` is
/// its parent already. Where the system has no such thing, nothing.
public func endWithParent(_ parent: Int32) { cf_end_with_parent(parent) }

/// Mapped bytes of a file, watched while this object lives.
public final class MappedWatch: Sendable {
  nonisolated(unsafe) private let range: UnsafeMutableRawPointer?

  public init(_ start: UnsafeRawPointer, count: Int, path: String) { range = cf_watch(start, count, path) }

  deinit { cf_unwatch(range) }
}

/// Tells the end of the process whether standard error ends in a line that is still being redrawn.
public func setLiveLine(_ on: Bool) { cf_set_live_line(on) }
