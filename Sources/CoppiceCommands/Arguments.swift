package import ArgumentParser
import JSON
import Report
import Formatting

/// Arguments as people type them, made into those that the argument parser understands.
package enum Arguments {
  /// The command that the arguments are for, and the words that name it below the root.
  ///
  /// - Throws: `ValidationError` for a command that is not there, with the nearest that is.
  static func command(
    _ root: any ParsableCommand.Type, _ arguments: [String]
  ) throws -> (command: any ParsableCommand.Type, path: [String]) {
    var (command, path) = (root, [String]())
    for word in arguments {
      let commands = command.configuration.subcommands
      if commands.isEmpty || word.hasPrefix("-") || word == "help" { break }
      if let found = commands.first(where: { names(of: $0).contains(word) }) {
        command = found
        path.append(word)
      } else if command.configuration.defaultSubcommand == nil {
        throw unknown("command", word, commands.flatMap(names))
      } else {
        break
      }
    }
    return (command, path)
  }

  private static func names(of command: any ParsableCommand.Type) -> [String] {
    [command.configuration.commandName].compactMap { $0 } + command.configuration.aliases
  }

  private static func unknown(_ what: String, _ name: String, _ known: [String]) -> ValidationError {
    ValidationError("Unknown \(what) '\(name)'." + (nearest(name, in: known).map { " Did you mean '\($0)'?" } ?? ""))
  }

  /// Makes `--top-k` and `--top_k` the same option, ties values that begin with a dash to their option (`--seed -5`
  /// becomes `--seed=-5`: that a number is negative is for the command to say), and leaves all other values as they are.
  ///
  /// What begins with a dash is a value of an option of free text (`--prompt "--max-new"`) in any case; of an option for
  /// a path unless it is an option of the command; of others with one dash only. After `--` nothing is changed.
  ///
  /// - Throws: `ValidationError` for options that are not there, with the nearest that is: the argument parser would
  ///   speak of what is missing first, which is often the very option that was misspelled.
  package static func normalize(_ arguments: [String], for command: any ParsableCommand.Type) throws -> [String] {
    let options = try OptionTable(command)
    var rest = arguments[...]
    var result: [String] = []
    while let argument = rest.popFirst() {
      if argument == "--" || argument.hasPrefix("---completion") { return result + [argument] + rest }
      guard argument.hasPrefix("--") else {
        result.append(argument)
        continue
      }
      let name = String(argument.prefix { $0 != "=" })
      let attached = argument.dropFirst(name.count)
      if OptionTable.ofParser.contains(name) {
        result.append(argument)
        continue
      }
      let option = spelled(name)
      guard let values = options[option] else { throw unknown("option", name, options.names) }
      if !attached.isEmpty || values == .none {
        result.append(option + attached)
        continue
      }
      let next = rest.first
      let isKnown = next.map { options[spelled(String($0.prefix { $0 != "=" }))] != nil } ?? false
      switch values {
      case .list:
        if mayBeEmpty.contains(option), next?.hasPrefix("--") ?? true { continue }
        result.append(option)
        // One value more: `--option=-value` where it begins with a dash.
        while let value = rest.first, !value.hasPrefix("--"), value != "-h" {
          rest.removeFirst()
          if !value.hasPrefix("-") {
            result.append(value)
          } else if result.last == option {
            result[result.count - 1] = "\(option)=\(value)"
          } else {
            result.append("\(option)=\(value)")
          }
        }
      case .path where isKnown:
        throw ValidationError(
          "Missing value for '\(option)': '\(next ?? "")' is an option itself (write \(option)=\(next ?? "") for a path "
            + "of that name)")
      case .text, .path:
        // To the argument parser nothing after the sign is no value.
        result += next.map { $0.isEmpty ? [option, $0] : ["\(option)=\($0)"] } ?? [option]
        rest = rest.dropFirst()
      case .one, .none:
        guard let next, !next.hasPrefix("--"), next != "-h" else {
          result.append(option)
          continue
        }
        result += next.hasPrefix("-") ? ["\(option)=\(next)"] : [option, next]
        rest.removeFirst()
      }
    }
    return result
  }

  /// The options among the arguments of a command, each once, in their order.
  static func options(in arguments: some Sequence<String>, of command: any ParsableCommand.Type) throws -> [String] {
    var options: [String] = []
    for argument in try normalize(Array(arguments), for: command).prefix(while: { $0 != "--" }) {
      let name = String(argument.prefix { $0 != "=" })
      if name.hasPrefix("--"), !options.contains(name) { options.append(name) }
    }
    return options
  }

  /// The command line as it can be typed again, one option a line, for those who read of it elsewhere: options that
  /// only say what is printed, where scores are kept or how many processes work are left out, absolute paths shortened to their last part.
  static func shown(
    _ name: String, _ arguments: [String], for command: any ParsableCommand.Type, model: String
  ) throws -> String {
    let without: Set<String> = [
      "--quiet", "--json", "--fresh", "--prune_intermediate_ckpt", "--nproc", "--pp_size",
      "--num_layers_in_first_pipeline_stage", "--num_layers_in_last_pipeline_stage",
    ]
    var lines = [[name]]
    for argument in try normalize(arguments, for: command) {
      if argument.hasPrefix("--") {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        lines.append(parts.count > 1 && !parts[1].hasPrefix("-") ? parts : [argument])
      } else {
        lines[lines.count - 1].append(argument)
      }
    }
    lines = lines.filter { !without.contains($0[0]) }.map { line in
      line.map { word in
        guard word.hasPrefix("/"), let last = word.split(separator: "/").last else { return word }
        return line[0] == "--hf_model_name_or_path" ? model : String(last)
      }
    }
    return ([name] + lines.dropFirst().map { $0.map(Shell.quoted).joined(separator: " ") }).joined(separator: " \\\n  ")
  }

  private static func spelled(_ option: String) -> String {
    "--" + option.dropFirst(2).replacing("-", with: "_")
  }

  /// Lists that scripts pass without an entry, which is their default; the argument parser wants at least one.
  private static let mayBeEmpty = ["--hparams_to_skip"]
}

/// The options of a command and what they take, by the argument parser's own description of the command.
struct OptionTable {
  enum Values { case none, one, text, path, list }

  private var values: [String: Values] = [:]

  /// Options of the argument parser itself, which it finds wherever they are.
  static let ofParser: Set<String> = [
    "--help", "--help-hidden", "--version", "--generate-completion-script", "--experimental-dump-help",
  ]

  init(_ command: any ParsableCommand.Type) throws {
    let description = try JSON(parsing: command._dumpHelp())
    for argument in description["command"]?["arguments"]?.array ?? [] {
      guard let kind = argument["kind"]?.string, kind != "positional" else { continue }
      let takes: Values =
        switch (kind, argument["parsingStrategy"]?.string) {
        case ("flag", _): .none
        case (_, "upToNextOption"): .list
        case (_, "unconditional"): argument["completionKind"] == nil ? .text : .path
        default: .one
        }
      for name in argument["names"]?.array ?? [] where name["kind"]?.string == "long" {
        if let name = name["name"]?.string { values["--" + name] = takes }
      }
    }
  }

  subscript(option: String) -> Values? { values[option] }

  /// Their names with two dashes in front, in order.
  var names: [String] { Set(values.keys).union(Self.ofParser).sorted() }
}
