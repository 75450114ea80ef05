public import ArgumentParser
import Files
import Foundation
import Hub
import Jobs
import Report

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `coppice login`: saves a token of the hub.
public struct LoginCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "login",
    abstract: "Save a token of the Hugging Face hub where huggingface_hub looks for it.",
    discussion: """
      The token is read from standard input (on a terminal it is asked for and not shown), so that it is in no list of \
      processes and no shell's history; --token is for scripts made for other programs. The hub is asked whose it is first.
      """)

  @Option(name: .flag("token"), parsing: .unconditional, help: ArgumentHelp("The token.", valueName: "token"))
  var token: String?

  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public func run() throws {
    let console = output.console
    let token = try HubToken(token ?? Self.read())
    let login = Login()
    let user = try login.user(of: token)
    let path = try login.save(token)
    console.note("logged in as \(user); the token is in \(path)")
    if let name = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].first(where: { Environment.process[$0] != nil }) {
      console.warn("\(name) is set and is used in the place of the saved token")
    }
  }

  /// A line of standard input, not shown where it is typed.
  private static func read() throws -> String {
    guard isatty(STDIN_FILENO) != 0 else { return readLine() ?? "" }
    var settings = termios()
    tcgetattr(STDIN_FILENO, &settings)
    var silent = settings
    silent.c_lflag &= ~tcflag_t(ECHO)
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
    defer {
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
      try? FileHandle.standardError.write(contentsOf: Data("\n".utf8))
    }
    try? FileHandle.standardError.write(contentsOf: Data("Token (of \(HubSettings().endpoint)/settings/tokens): ".utf8))
    return readLine() ?? ""
  }
}
