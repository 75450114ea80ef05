public import ArgumentParser
import Foundation
import Report

/// What both executables do with their arguments.
public enum Entry {
  /// Parses, runs, and leaves with 0, 1 (failed) or 64 (wrong usage).
  public static func run(_ root: any ParsableCommand.Type, arguments: [String] = CommandLine.arguments) {
    // A reader that closes its end early (`| head`) is an error of the write, not a signal.
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try root.parseAsRoot(normalize(Array(arguments.dropFirst())))
      try command.run()
    } catch {
      root.exit(withError: error)
    }
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
        let own = ["--generate-completion", "---completion", "--experimental", "--help-hidden"].contains(
          where: name.hasPrefix)
        let flag = own ? name : "--" + name.dropFirst(2).replacingOccurrences(of: "-", with: "_")
        result.append(parts.count == 2 ? "\(flag)=\(parts[1])" : flag)
      } else if looksNegative(argument), let flag = result.last, flag.hasPrefix("--"), !flag.contains("=") {
        result[result.count - 1] = "\(flag)=\(argument)"
      } else {
        result.append(argument)
      }
    }
    return result
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
