import Formatting
import Foundation
import Report
import Testing

/// What was written to either stream, in order. Unchecked: `lock` guards the strings.
private final class Screen: @unchecked Sendable {
  private let lock = NSLock()
  private var written: (output: String, error: String) = ("", "")
  private var time = 100.0
  private var width: Int?

  var output: String { lock.withLock { written.output } }
  var error: String { lock.withLock { written.error } }
  var now: Double { lock.withLock { time } }
  /// Columns of the terminal, where a test changes them.
  var columns: Int? {
    get { lock.withLock { width } }
    set { lock.withLock { width = newValue } }
  }
  func pass(_ seconds: Double) { lock.withLock { time += seconds } }

  func console(quiet: Bool = false, terminal: Terminal = .none) -> Console {
    Console(
      quiet: quiet, output: terminal, error: terminal,
      writeOutput: { [self] text in lock.withLock { written.output += text } },
      writeError: { [self] text in lock.withLock { written.error += text } },
      outputWidth: { [self] in columns ?? terminal.width }, errorWidth: { [self] in columns ?? terminal.width })
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

  @Test func nobodyLooksWhereAServiceOrAnAgentRuns() {
    for name in ["CI", "GITHUB_ACTIONS", "CLAUDECODE", "CODEX_SANDBOX", "CURSOR_AGENT", "GEMINI_CLI", "AGENT"] {
      #expect(!terminal(true, [name: "1"]).isTTY && !terminal(true, [name: "1"]).color)
      #expect(terminal(true, [name: ""]).isTTY, "an empty variable is unset")
    }
    #expect(terminal(true, ["CI": "false"]).isTTY)
    #expect(terminal(true, ["CODEX_HOME": "/home/me/.codex"]).isTTY, "people set it")
    #expect(terminal(true, ["NO_COLOR": "1"]).isTTY, "colour only")
    #expect(terminal(true, ["CI": "true", "CLICOLOR_FORCE": "1"]).color)
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
    #expect(Width.of(screen.error) <= 23)
    #expect(screen.error.hasSuffix("left"))
  }

  @Test(arguments: [12, 20, 31, 40, 60, 79, 80, 81, 100, 200])
  func theBarGivesWayAndTheTimeLeftNever(columns: Int) {
    let screen = Screen()
    let terminal = Terminal(isTTY: true, width: columns, color: false)
    let console = screen.console(terminal: terminal)
    let progress = ProgressMeter(label: "calibration", total: 49_152, unit: "tokens", console: console) { screen.now }
    screen.pass(24.6)
    progress.update(11_184)
    #expect(Width.of(screen.error) <= columns - 1)
    #expect(screen.error.hasSuffix("1m 24s left") || columns < 12)
    #expect(screen.error.contains("22%") || columns < 16)
    #expect(screen.error.contains("11,184/49,152 tokens") == (columns >= 60))
    #expect(screen.error.contains("455 tokens/s") == (columns >= 79), "\(screen.error)")
  }

  @Test func aTerminalMadeNarrowerIsFollowed() {
    let screen = Screen()
    let console = screen.console(terminal: tty)
    let progress = screen.progress(console, total: 1000)
    screen.columns = 80
    screen.pass(5)
    progress.update(10)
    let first = screen.error
    screen.columns = 30
    screen.pass(1)
    progress.update(20)
    let second = screen.error.dropFirst(first.count)
    // The first line stands on several rows of a terminal that reflows: all are cleared.
    let rows = (Width.of(first) - 1) / 30
    #expect(rows > 0 && second.hasPrefix("\r\u{1B}[\(rows)A\u{1B}[J"))
    #expect(Width.of(second.drop { $0 != "J" }.dropFirst().description) <= 29)
    // A message in between, too.
    screen.columns = 20
    let before = screen.error.count
    console.note("odd")
    let line = screen.error.dropFirst(before).split(separator: "\n").last.map(String.init) ?? ""
    #expect(Width.of(line) <= 19)
    screen.columns = 80
    screen.pass(1)
    progress.update(30)
    #expect(screen.error.contains("\r\u{1B}[2KScoring  ╌"))
  }

  @Test func aDeedIsSaidInPlaceOfUnits() {
    let screen = Screen()
    let progress = screen.progress(screen.console(), total: 30)
    screen.pass(3.2)
    progress.update(30)
    progress.finish(saying: "scored 3 candidates")
    #expect(screen.error == "scored 3 candidates in 3.2 s\n")
  }

  @Test func messagesAreBrokenBetweenWordsOnATerminal() throws {
    let screen = Screen()
    let console = screen.console(terminal: Terminal(isTTY: true, width: 20, color: false))
    console.warn("one two three four five")
    console.note("/a/path/that/is/longer/than/the/line stays whole")
    try console.result(sentences: "six seven eight nine ten")
    #expect(
      screen.error == """
        warning: one two
        three four five
        /a/path/that/is/longer/than/the/line
        stays whole

        """)
    #expect(screen.output == "six seven eight nine\nten\n")
    try console.result("a result that is read by programs")
    #expect(screen.output.hasSuffix("\na result that is read by programs\n"))
  }
}
