import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Where a command speaks: results to standard output, everything else to standard error, so that the former
/// can be piped. Copies share one standard error, on which messages and a running `ProgressMeter` take turns.
public struct Console: Sendable {
  /// Leave out notes and progress; warnings, errors and results remain.
  public let quiet: Bool
  /// What standard output is connected to.
  public let output: Terminal
  /// What standard error is connected to.
  public let error: Terminal
  let stream: MessageStream
  private let writeOutput: @Sendable (String) throws -> Void

  public init(quiet: Bool = false) {
    self.init(
      quiet: quiet, output: .standardOutput, error: .standardError,
      writeOutput: { try writeAll($0, to: STDOUT_FILENO) },
      // Nothing is left to tell of a standard error that fails.
      writeError: { try? writeAll($0, to: STDERR_FILENO) })
  }

  /// A console over other streams.
  package init(
    quiet: Bool, output: Terminal, error: Terminal, writeOutput: @escaping @Sendable (String) throws -> Void,
    writeError: @escaping @Sendable (String) -> Void
  ) {
    self.quiet = quiet
    self.output = output
    self.error = error
    self.writeOutput = writeOutput
    stream = MessageStream(write: writeError)
  }

  /// Says what is going on; nothing when quiet.
  public func note(_ text: String) {
    if !quiet { stream.say(text + "\n") }
  }

  /// Says what the user should know although the work goes on.
  public func warn(_ text: String) {
    stream.say(Style.yellow.paint("warning:", color: error.color) + " \(text)\n")
  }

  /// Says why the work stops.
  public func error(_ text: String) {
    stream.say(Style.red.paint("error:", color: error.color) + " \(text)\n")
  }

  /// Writes a result and a newline to standard output.
  /// - Throws: `OutputError` when it cannot be written (a full disk, for example).
  public func result(_ text: String) throws { try write(text + "\n") }

  /// Writes a table to standard output, framed where that is a terminal.
  /// - Throws: `OutputError` when it cannot be written.
  public func result(_ table: Table) throws { try write(table.render(for: output)) }

  /// Writes a table as a note, to standard error; nothing when quiet.
  public func note(_ table: Table) {
    if !quiet { stream.say(table.render(for: error)) }
  }

  /// Starts the line that tells how far a long step has come; see `ProgressMeter`.
  public func progress(_ label: String, total: Int?, unit: String, startingAt: Int = 0) -> ProgressMeter {
    ProgressMeter(label: label, total: total, unit: unit, startingAt: startingAt, console: self)
  }

  private func write(_ text: String) throws {
    try stream.aside { try writeOutput(text) }
  }
}

/// Standard output could not take what was written.
public struct OutputError: Error, CustomStringConvertible, Equatable {
  public let description: String
}

/// Writes all of `text`, going on after signals and waiting for a stream that does not block.
private func writeAll(_ text: String, to descriptor: Int32) throws {
  let bytes = Array(text.utf8)
  var start = 0
  while start < bytes.count {
    let count = bytes[start...].withUnsafeBytes { rest in
      #if canImport(Glibc)
        Glibc.write(descriptor, rest.baseAddress, rest.count)
      #elseif canImport(Musl)
        Musl.write(descriptor, rest.baseAddress, rest.count)
      #else
        Darwin.write(descriptor, rest.baseAddress, rest.count)
      #endif
    }
    if count >= 0 {
      start += count
    } else if errno == EAGAIN || errno == EWOULDBLOCK {
      var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      _ = poll(&ready, 1, 1000)
    } else if errno != EINTR {
      throw OutputError(description: "Cannot write to standard output: \(String(cString: strerror(errno)))")
    }
  }
}

/// Standard error with, at most, one line at its end that is still changing.
///
/// Unchecked: `lock` guards `live`, and keeps writes whole.
final class MessageStream: @unchecked Sendable {
  private let lock = NSLock()
  private let write: @Sendable (String) -> Void
  private var live: String?

  /// Back to the beginning of the line, and clear it.
  private static let clear = "\r\u{1B}[2K"

  init(write: @escaping @Sendable (String) -> Void) { self.write = write }

  /// Writes `text` above the changing line.
  func say(_ text: String) {
    lock.withLock { write(live.map { Self.clear + text + $0 } ?? text) }
  }

  /// Shows `line` in place of the changing line; nil takes it away.
  func show(_ line: String?) {
    lock.withLock {
      if line != nil || live != nil { write((live == nil ? "" : Self.clear) + (line ?? "")) }
      live = line
    }
  }

  /// Takes the changing line away while something else writes to the same screen.
  func aside(_ body: () throws -> Void) rethrows {
    try lock.withLock {
      if live != nil { write(Self.clear) }
      defer { if let live { write(live) } }
      try body()
    }
  }
}
