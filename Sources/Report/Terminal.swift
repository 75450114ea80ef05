import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What the far end of an output stream can show.
public struct Terminal: Sendable, Equatable {
  /// Somebody is looking: the stream is a terminal that can redraw a line (`TERM` is not `dumb`), and no continuous
  /// integration or agent runs the program.
  public var isTTY: Bool
  /// Columns of the terminal; nil when there is none, or when it does not say.
  public var width: Int?
  /// Colours may be used.
  public var color: Bool

  public init(isTTY: Bool, width: Int?, color: Bool) {
    self.isTTY = isTTY
    self.width = width
    self.color = color
  }

  /// A file or a pipe.
  public static let none = Terminal(isTTY: false, width: nil, color: false)

  public static var standardOutput: Terminal { Terminal(descriptor: STDOUT_FILENO) }
  public static var standardError: Terminal { Terminal(descriptor: STDERR_FILENO) }

  private init(descriptor: Int32) {
    let environment = ProcessInfo.processInfo.environment
    let attached = isatty(descriptor) == 1
    var size = winsize()
    let answered = attached && ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
    self.init(attached: attached, columns: answered ? Int(size.ws_col) : nil, environment: environment)
  }

  /// - Parameters:
  ///   - attached: the stream is a terminal of any kind.
  ///   - columns: what the terminal says its width is.
  ///   - environment: `NO_COLOR` (no-color.org) beats `CLICOLOR_FORCE` (bixense.com/clicolors), which beats
  ///     what the terminal is; `CLICOLOR=0` and `TERM=dumb` turn colours off; `COLUMNS` stands in for a width; the
  ///     variables of `isUnattended` make a terminal as good as a pipe.
  package init(attached: Bool, columns: Int?, environment: [String: String]) {
    let dumb = environment["TERM"] == "dumb"
    func isSet(_ name: String) -> Bool { environment[name].map { !$0.isEmpty } ?? false }
    isTTY = attached && !dumb && !Self.isUnattended(environment)
    let told = environment["COLUMNS"].flatMap { Int($0) }.flatMap { (1...10_000).contains($0) ? $0 : nil }
    width = attached ? columns ?? told : nil
    if isSet("NO_COLOR") {
      color = false
    } else if isSet("CLICOLOR_FORCE"), environment["CLICOLOR_FORCE"] != "0" {
      color = true
    } else {
      color = isTTY && environment["CLICOLOR"] != "0"
    }
  }

  /// Whether variables say that a service for continuous integration or a coding agent runs the program, which often
  /// gives it a terminal that nobody looks at.
  package static func isUnattended(_ environment: [String: String]) -> Bool {
    environment.contains { name, value in
      guard !value.isEmpty, !["0", "false", "no", "off"].contains(value.lowercased()) else { return false }
      if unattended.contains(name) { return true }
      // Codex sets several; these two are people's own.
      return name.hasPrefix("CODEX_") && !["CODEX_HOME", "CODEX_API_KEY"].contains(name)
    }
  }

  private static let unattended: Set<String> = [
    "CI", "CONTINUOUS_INTEGRATION", "BUILD_NUMBER", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "BUILDKITE",
    "CIRCLECI", "TRAVIS", "APPVEYOR", "TEAMCITY_VERSION", "TF_BUILD", "BITBUCKET_BUILD_NUMBER", "DRONE",
    "AGENT", "AI_AGENT", "CLAUDECODE", "CLAUDE_CODE", "CURSOR_AGENT", "GEMINI_CLI", "OPENCODE", "OPENCODE_CLIENT",
    "AUGMENT_AGENT", "CLINE_ACTIVE", "GOOSE_TERMINAL", "AMP_CURRENT_THREAD_ID", "COPILOT_AGENT",
  ]
}

/// The few ways in which text is set off from the rest.
package enum Style: String {
  case bold = "1"
  case dim = "2"
  case red = "31"
  case yellow = "33"
  case highlight = "1;32"

  package func paint(_ text: String, color: Bool) -> String {
    color && !text.isEmpty ? "\u{1B}[\(rawValue)m\(text)\u{1B}[0m" : text
  }
}
