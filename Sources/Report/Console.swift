import Formatting
import Files
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
  /// Columns that standard output and standard error have now: terminals are resized while work goes on.
  let outputWidth: @Sendable () -> Int?
  let errorWidth: @Sendable () -> Int?
  private let writeOutput: @Sendable (String) throws -> Void

  public init(quiet: Bool = false) {
    self.init(
      quiet: quiet, output: .standardOutput, error: .standardError,
      writeOutput: { try writeAll($0, to: STDOUT_FILENO) },
      // Nothing is left to tell of a standard error that fails.
      writeError: { try? writeAll($0, to: STDERR_FILENO) },
      outputWidth: { Terminal.standardOutput.width }, errorWidth: { Terminal.standardError.width })
  }

  /// A console over other streams.
  ///
  /// - Parameters:
  ///   - outputWidth: columns of standard output at the time of the call; nil where they never change.
  ///   - errorWidth: the same of standard error.
  package init(
    quiet: Bool, output: Terminal, error: Terminal, writeOutput: @escaping @Sendable (String) throws -> Void,
    writeError: @escaping @Sendable (String) -> Void, outputWidth: (@Sendable () -> Int?)? = nil,
    errorWidth: (@Sendable () -> Int?)? = nil
  ) {
    self.quiet = quiet
    self.output = output
    self.error = error
    self.writeOutput = writeOutput
    let widths = (output: output.width, error: error.width)
    self.outputWidth = outputWidth ?? { widths.output }
    self.errorWidth = errorWidth ?? { widths.error }
    stream = MessageStream(write: writeError, width: self.errorWidth)
  }

  /// Says what is going on; nothing when quiet.
  public func note(_ text: String) {
    if !quiet { say(text) }
  }

  /// Says what the user should know although the work goes on.
  public func warn(_ text: String) {
    say(text, after: "warning:", .yellow)
  }

  /// Says why the work stops.
  public func error(_ text: String) {
    say(text, after: "error:", .red)
  }

  /// Writes a message, on a terminal in lines broken between words.
  func say(_ text: String, after label: String = "", _ style: Style = .bold) {
    let whole = label.isEmpty ? text : label + " " + text
    var lines = error.isTTY ? Width.lines(whole, to: errorWidth() ?? 80) : whole
    if lines.hasPrefix(label) { lines = style.paint(label, color: error.color) + lines.dropFirst(label.count) }
    stream.say(lines + "\n")
  }

  /// Writes sentences as a result, on a terminal in lines broken between words.
  /// - Throws: `OutputError` when they cannot be written.
  public func result(sentences text: String) throws {
    try result(output.isTTY ? Width.lines(text, to: outputWidth() ?? 80) : text)
  }

  /// Writes a result and a newline to standard output.
  /// - Throws: `OutputError` when it cannot be written (a full disk, for example).
  public func result(_ text: String) throws { try write(text + "\n") }

  /// Writes a table to standard output, framed where that is a terminal.
  /// - Throws: `OutputError` when it cannot be written.
  public func result(_ table: Table) throws {
    var terminal = output
    terminal.width = outputWidth() ?? output.width
    try write(table.render(for: terminal))
  }

  /// Writes a table as a note, to standard error; nothing when quiet.
  public func note(_ table: Table) {
    if quiet { return }
    var terminal = error
    terminal.width = errorWidth() ?? error.width
    stream.say(table.render(for: terminal))
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
  private let width: @Sendable () -> Int?
  private var live: String?

  init(write: @escaping @Sendable (String) -> Void, width: @escaping @Sendable () -> Int?) {
    self.write = write
    self.width = width
  }

  /// Back to the beginning of the changing line, and clear it. Where the terminal has become narrower than the line,
  /// the line stands on several by now: on all of them.
  private func clear(_ line: String, _ columns: Int?) -> String {
    let wrapped = columns.map { (Width.of(line) - 1) / max($0, 1) } ?? 0
    return wrapped > 0 ? "\r\u{1B}[\(wrapped)A\u{1B}[J" : "\r\u{1B}[2K"
  }

  /// The changing line as it fits now: the last column is left free, where some terminals would wrap.
  private func fitted(_ line: String, _ columns: Int?) -> String {
    columns.map { Width.truncate(line, to: max($0 - 1, 1)) } ?? line
  }

  /// Writes `text` above the changing line.
  func say(_ text: String) {
    lock.withLock {
      guard let live else { return write(text) }
      let columns = width()
      let line = fitted(live, columns)
      write(clear(live, columns) + text + line)
      self.live = line
    }
  }

  /// Shows `line` in place of the changing line; nil takes it away.
  func show(_ line: String?) {
    lock.withLock {
      if line != nil { setLiveLine(true) }
      if line == nil, live == nil { return }
      let columns = width()
      let line = line.map { fitted($0, columns) }
      write((live.map { clear($0, columns) } ?? "") + (line ?? ""))
      live = line
      if line == nil { setLiveLine(false) }
    }
  }

  /// Takes the changing line away while something else writes to the same screen.
  func aside(_ body: () throws -> Void) rethrows {
    try lock.withLock {
      if let live {
        let columns = width()
        write(clear(live, columns))
        self.live = fitted(live, columns)
      }
      defer { if let live { write(live) } }
      try body()
    }
  }
}
