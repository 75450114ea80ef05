import Messages
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What Coppice's launcher tells rank 0: how processes have ended, a line for each.
public final class News: Sendable {
  let descriptor: Int32
  private let unread = Mutex<[UInt8]>([])

  package struct End: Equatable {
    package let rank: Int
    package let text: String
  }

  package init(_ descriptor: Int32) {
    self.descriptor = descriptor
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  }

  /// The line of a process that was ended by a signal, or by itself with a code.
  public static func line(rank: Int, signal: Int32?, code: Int32) -> String {
    signal.map { "\(rank) signal \($0)\n" } ?? "\(rank) code \(code)\n"
  }

  /// What has come since; nil when nothing has.
  package func next() -> End? {
    unread.withLock { unread in
      var bytes = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = read(descriptor, &bytes, bytes.count)
        if count <= 0 { break }
        unread += bytes[..<count]
      }
      guard let newline = unread.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
      let words = String(decoding: unread[..<newline], as: UTF8.self).split(separator: " ")
      unread.removeFirst(newline + 1)
      guard words.count == 3, let rank = Int(words[0]), let number = Int32(words[2]) else { return nil }
      return End(rank: rank, text: words[1] == "signal" ? ended(by: number) : "ended with code \(number)")
    }
  }
}

/// What is said of a process that a signal has ended.
public func ended(by signal: Int32) -> String {
  "was ended by \(spoken(signal: signal))"
    + (signal == SIGKILL ? ", by somebody or by the system for want of memory" : "")
}
