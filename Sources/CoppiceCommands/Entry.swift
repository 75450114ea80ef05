public import ArgumentParser
import Foundation
import Report
import Torch

/// What both executables do with their arguments.
public enum Entry {
  /// Parses, runs, and leaves with 0, 1 (failed) or 64 (wrong usage).
  public static func run(_ root: any ParsableCommand.Type, arguments: [String] = CommandLine.arguments) {
    // A reader that closes its end early (`| head`) is an error of the write, not a signal.
    signal(SIGPIPE, SIG_IGN)
    // So is a file that outgrows `ulimit -f`.
    signal(SIGXFSZ, SIG_IGN)
    // A fifth of a second, while the inputs are looked at.
    if isComputing(root, arguments) { LibTorch.loadInBackground() }
    do {
      let arguments = normalize(Array(arguments.dropFirst()))
      try checkNames(root, arguments)
      var command = try root.parseAsRoot(arguments)
      try command.run()
      leave(0)
    } catch {
      let code = root.exitCode(for: error)
      let message = root.fullMessage(for: error)
      let stream = code.isSuccess ? FileHandle.standardOutput : .standardError
      fflush(nil)
      if !message.isEmpty { try? stream.write(contentsOf: Data((message + "\n").utf8)) }
      leave(code.rawValue)
    }
  }

  /// Whether these arguments are of a command that will need libtorch, unless something is wrong with them.
  private static func isComputing(_ root: any ParsableCommand.Type, _ arguments: [String]) -> Bool {
    let words = arguments.dropFirst()
    guard words.contains(where: { $0.hasPrefix("--hf") }), !words.contains("--help"), !words.contains("-h") else {
      return false
    }
    return root == PruneCommand.self || ["prune", "eval", "generate"].contains(words.first)
  }

  /// Ends the process without taking libtorch down: a tenth of a second of work that nobody waits for, and not safe while it
  /// is being opened on another thread. Everything is written and closed by now.
  private static func leave(_ code: Int32) -> Never {
    fflush(nil)
    _exit(code)
  }

  /// Makes `--top-k` and `--top_k` the same flag, and `--prune_target_params -5` a value: that a number is
  /// negative is for the command to say, not an unknown option.
  package static func normalize(_ arguments: [String]) -> [String] {
    var result: [String] = []
    for (index, argument) in arguments.enumerated() {
      if argument == "--" { return result + arguments[index...] }
      if argument.hasPrefix("--") {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        let own = ownFlags.contains(where: name.hasPrefix)
        let flag = own ? name : "--" + name.dropFirst(2).replacingOccurrences(of: "-", with: "_")
        let next = index + 1 < arguments.count ? arguments[index + 1] : "--"
        if parts.count == 2 {
          result.append("\(flag)=\(parts[1])")
        } else if !mayBeEmpty.contains(flag) || !next.hasPrefix("--") {
          result.append(flag)
        }
      } else if looksNegative(argument), let flag = result.last, flag.hasPrefix("--"), !flag.contains("=") {
        result[result.count - 1] = "\(flag)=\(argument)"
      } else {
        result.append(argument)
      }
    }
    return result
  }

  /// Flags of the argument parser itself, spelled with dashes.
  private static let ownFlags = ["--generate-completion", "---completion", "--experimental", "--help-hidden"]
  /// Lists that scripts pass without an entry, which is their default; the argument parser wants at least one.
  private static let mayBeEmpty = ["--hparams_to_skip"]

  /// Refuses commands and flags that are not there, with the nearest that is: the argument parser would speak of
  /// what is missing first, which is often the very flag that was misspelled.
  static func checkNames(_ root: any ParsableCommand.Type, _ arguments: [String]) throws {
    func refuse(_ what: String, _ name: String, _ known: [String]) -> ValidationError {
      ValidationError("\(what) '\(name)'." + (nearest(name, in: known).map { " Did you mean '\($0)'?" } ?? ""))
    }
    var command = root
    let subcommands = root.configuration.subcommands
    if !subcommands.isEmpty, let name = arguments.first, !name.hasPrefix("-"), name != "help" {
      guard let found = subcommands.first(where: { $0.configuration.commandName == name }) else {
        throw refuse("Unknown command", name, subcommands.compactMap { $0.configuration.commandName })
      }
      command = found
    }
    let help = root.helpMessage(for: command, includeHidden: true, columns: 1000)
    let known = Set(help.matches(of: /--[a-z_]+/).map { String($0.output) })
    for argument in arguments.prefix(while: { $0 != "--" }) where argument.hasPrefix("--") {
      let name = String(argument.prefix { $0 != "=" })
      if known.contains(name) || ownFlags.contains(where: name.hasPrefix) { continue }
      throw refuse("Unknown option", name, known.sorted())
    }
  }

  private static func looksNegative(_ argument: String) -> Bool {
    guard argument.hasPrefix("-"), let next = argument.dropFirst().first else { return false }
    return next.isNumber || next == "." || ["-inf", "-nan", "-infinity"].contains(argument.lowercased())
  }
}

extension NameSpecification {
  /// A flag by the name people type, with underscores; `Entry.normalize` sees to the dashes.
  static func flag(_ name: String) -> NameSpecification { .customLong(name) }
}
