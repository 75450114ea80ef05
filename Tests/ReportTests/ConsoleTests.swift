import Foundation
import Report
import Testing

/// What was written to either stream, in order. Unchecked: `lock` guards the strings.
private final class Screen: @unchecked Sendable {
  private let lock = NSLock()
  private var written: (output: String, error: String) = ("", "")
  private var time = 100.0

  var output: String { lock.withLock { written.output } }
  var error: String { lock.withLock { written.error } }
  var now: Double { lock.withLock { time } }
  func pass(_ seconds: Double) { lock.withLock { time += seconds } }

  func console(quiet: Bool = false, terminal: Terminal = .none) -> Console {
    Console(
      quiet: quiet, output: terminal, error: terminal,
      writeOutput: { [self] text in lock.withLock { written.output += text } },
      writeError: { [self] text in lock.withLock { written.error += text } })
  }

  func progress(_ console: Console, total: Int?, startingAt: Int = 0) -> ProgressMeter {
    ProgressMeter(label: "Scoring", total: total, unit: "rows", startingAt: startingAt, console: console) { self.now }
  }
}

private let tty = Terminal(isTTY: true, width: 80, color: false)

struct TerminalTests {
  private func terminal(_ attached: Bool, _ environment: [String: String]) -> Terminal {
    Terminal(attached: attached, columns: attached ? 100 : nil, environment: environment)
  }

  @Test func coloursFollowTheTerminalAndTheUsersWish() {
    #expect(terminal(true, [:]).color)
    #expect(!terminal(false, [:]).color)
    #expect(!terminal(true, ["NO_COLOR": "1"]).color)
    #expect(terminal(true, ["NO_COLOR": ""]).color, "an empty NO_COLOR does not count (no-color.org)")
    #expect(!terminal(true, ["TERM": "dumb"]).color)
    #expect(!terminal(true, ["CLICOLOR": "0"]).color)
    #expect(terminal(false, ["CLICOLOR_FORCE": "1"]).color)
    #expect(!terminal(false, ["CLICOLOR_FORCE": "0"]).color)
    #expect(!terminal(true, ["CLICOLOR_FORCE": "1", "NO_COLOR": "1"]).color)
  }

  @Test func widthIsTheTerminalsOrTheShells() {
    #expect(terminal(true, ["COLUMNS": "42"]).width == 100)
    #expect(Terminal(attached: true, columns: nil, environment: ["COLUMNS": "42"]).width == 42)
    for nonsense in ["-1", "0", "wide", "99999999999999999999"] {
      #expect(Terminal(attached: true, columns: nil, environment: ["COLUMNS": nonsense]).width == nil)
    }
    #expect(terminal(false, ["COLUMNS": "42"]).width == nil)
    #expect(!terminal(true, ["TERM": "dumb"]).isTTY)
  }
}

struct ConsoleTests {
  @Test func standardOutputHoldsResultsAlone() throws {
    let screen = Screen()
    let console = screen.console()
    console.note("reading")
    console.warn("odd")
    console.error("bad")
    try console.result("42")
    #expect(screen.output == "42\n")
    #expect(screen.error == "reading\nwarning: odd\nerror: bad\n")
  }

  @Test func quietKeepsWarningsErrorsAndResults() throws {
    let screen = Screen()
    let console = screen.console(quiet: true, terminal: tty)
    console.note("reading")
    console.note(Table(columns: [.init("a")]))
    let progress = screen.progress(console, total: 10)
    progress.update(5)
    progress.finish()
    console.warn("odd")
    try console.result("42")
    #expect(screen.output == "42\n" && screen.error == "warning: odd\n")
  }

  @Test func coloursOnlyWhereAllowed() {
    let screen = Screen()
    screen.console(terminal: Terminal(isTTY: true, width: 80, color: true)).error("bad")
    #expect(screen.error == "\u{1B}[31merror:\u{1B}[0m bad\n")
  }

  @Test func aFailedResultIsAnError() {
    let console = Console(
      quiet: false, output: .none, error: .none, writeOutput: { _ in throw CocoaError(.fileWriteOutOfSpace) },
      writeError: { _ in })
    #expect(throws: CocoaError.self) { try console.result("42") }
  }
}

struct ProgressTests {
  @Test func aPipeGetsOneLineAtTheEnd() {
    let screen = Screen()
    let progress = screen.progress(screen.console(), total: 2000)
    for row in 1...2000 {
      screen.pass(0.1)
      progress.update(row)
    }
    #expect(screen.error == "")
    progress.finish()
    progress.finish()
    progress.update(1)
    #expect(screen.error == "Scoring: 2,000 rows in 3m 20s (10 rows/s)\n")
  }

  @Test func aTerminalIsRedrawnTenTimesASecondAtMost() {
    let screen = Screen()
    let progress = screen.progress(screen.console(terminal: tty), total: 1000)
    for row in 1...1000 {
      screen.pass(0.01)
      progress.update(row)
    }
    let drawings = screen.error.split(separator: "\r").count
    #expect((80...101).contains(drawings), "\(drawings) in ten seconds")
    #expect(screen.error.contains("50%  501/1,000 rows  100 rows/s  5.0s left"))
    #expect(!screen.error.contains("\n"))
    progress.finish()
    #expect(screen.error.hasSuffix("\r\u{1B}[2KScoring: 1,000 rows in 10.000s (100 rows/s)\n"))
  }

  @Test func messagesStandAboveTheLine() throws {
    let screen = Screen()
    let console = screen.console(terminal: tty)
    let progress = screen.progress(console, total: nil)
    progress.update(3)
    console.warn("odd")
    try console.result("42")
    #expect(screen.error == "Scoring  3 rows\r\u{1B}[2Kwarning: odd\nScoring  3 rows\r\u{1B}[2KScoring  3 rows")
    progress.finish()
  }

  @Test func anAbandonedStepTakesItsLineWithIt() {
    let screen = Screen()
    do {
      let progress = screen.progress(screen.console(terminal: tty), total: 10)
      progress.update(3)
    }
    #expect(screen.error.hasSuffix("\r\u{1B}[2K"))
  }

  @Test func whatAnEarlierRunDidDoesNotCountTowardsTheRate() {
    let screen = Screen()
    let progress = screen.progress(screen.console(terminal: tty), total: 1000, startingAt: 900)
    screen.pass(10)
    progress.update(950)
    #expect(screen.error.contains("95%  950/1,000 rows  5.0 rows/s  10s left"))
  }

  @Test func nonsenseNeverTraps() {
    for (total, done) in [(0, 5), (10, -5), (10, Int.max), (-1, Int.min), (Int.max, Int.max)] {
      let screen = Screen()
      let progress = screen.progress(screen.console(terminal: tty), total: total, startingAt: Int.min)
      screen.pass(2)
      progress.update(done)
      progress.finish()
      #expect(screen.error.hasSuffix("\n"))
    }
  }

  @Test func aNarrowTerminalIsNeverOverrun() {
    let screen = Screen()
    let narrow = Terminal(isTTY: true, width: 24, color: false)
    let progress = screen.progress(screen.console(terminal: narrow), total: 1000)
    screen.pass(5)
    progress.update(10)
    #expect(Width.of(screen.error) == 23)
  }
}
