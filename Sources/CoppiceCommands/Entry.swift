public import ArgumentParser
import Files
import Foundation
import Report
import Torch

/// A command that will need libtorch unless something is wrong with its arguments.
protocol ComputingCommand: ParsableCommand {}

/// What both executables do with their arguments.
public enum Entry {
  /// Whether this process was started as a command of its own: by its name, or with it as the first word, as the wheel's scripts
  /// do, which cannot give a program another name.
  public static func isNamed(_ command: any ParsableCommand.Type) -> Bool {
    let program = CommandLine.arguments.first?.split(separator: "/").last.map(String.init)
    return [program, CommandLine.arguments.dropFirst().first].contains(command.configuration.commandName)
  }

  /// The program and its words, without a first word that only says which command it is.
  public static func arguments(of command: any ParsableCommand.Type) -> [String] {
    var arguments = CommandLine.arguments
    if arguments.dropFirst().first == command.configuration.commandName { arguments.remove(at: 1) }
    return arguments
  }

  /// Parses, runs, and leaves with 0, 1 (failed) or 64 (wrong usage).
  public static func run(_ root: any ParsableCommand.Type, arguments: [String] = CommandLine.arguments) {
    // A reader that closes its end early (`| head`) is an error of the write, not a signal.
    signal(SIGPIPE, SIG_IGN)
    // So is a file that outgrows `ulimit -f`.
    signal(SIGXFSZ, SIG_IGN)
    // Changes the environment, which is safe while there is one thread.
    LibTorch.prepare()
    // The second thread; those that follow inherit what it blocks.
    Interruption.install()
    var command = root
    do {
      let words = Array(arguments.dropFirst())
      try checkEncoding()
      let (found, path) = try Arguments.command(root, words)
      command = found
      // A fifth of a second, while the inputs are looked at.
      if isComputing(command, words), !Launcher.mayStart(words) { LibTorch.loadInBackground() }
      let normalized = try path + Arguments.normalize(Array(words.dropFirst(path.count)), for: command)
      var parsed = try root.parseAsRoot(normalized)
      try parsed.run()
      // A run that ends while a signal is told to other processes ends by the signal, too.
      Interruption.holdIfEnding()
      leave(0)
    } catch {
      // What a signal removes under the hands of the others is no error to speak of.
      Interruption.holdIfEnding()
      let error = flagged(error)
      let code = root.exitCode(for: error)
      let message = message(for: error, of: command, below: root)
      let stream = code.isSuccess ? FileHandle.standardOutput : .standardError
      fflush(nil)
      let isWritten = message.isEmpty || (try? stream.write(contentsOf: Data((message + "\n").utf8))) != nil
      if code.isSuccess, !isWritten {
        try? FileHandle.standardError.write(contentsOf: Data("Error: standard output takes no more text\n".utf8))
        leave(1)
      }
      leave(code.rawValue)
    }
  }

  /// Swift puts another character in the place of bytes that are no text: files of such names would be others.
  private static func checkEncoding() throws {
    for number in 1..<max(Int(CommandLine.argc), 1) {
      guard let word = CommandLine.unsafeArgv[number], String(validatingCString: word) == nil else { continue }
      throw ValidationError("the argument \"\(String(cString: word))\" is not UTF-8 text: rename what it names")
    }
  }

  /// The argument parser answers errors that it did not find itself with the usage of the root; wrong usage of a
  /// command is answered with that command's.
  private static func message(
    for error: any Error, of command: any ParsableCommand.Type, below root: any ParsableCommand.Type
  ) -> String {
    guard let error = error as? ValidationError, command != root else { return root.fullMessage(for: error) }
    let name = [root, command].compactMap { $0.configuration.commandName }.joined(separator: " ")
    return "Error: \(error.message)\nUsage: \(root.usageString(for: command))\n"
      + "  See '\(name) --help' for more information."
  }

  private static func isComputing(_ command: any ParsableCommand.Type, _ words: [String]) -> Bool {
    command is any ComputingCommand.Type && words.contains { $0.hasPrefix("--hf") } && !words.contains("--help")
      && !words.contains("-h")
  }

  /// Ends the process without taking libtorch down: a tenth of a second of work that nobody waits for, and not safe
  /// while it is being opened on another thread. Everything is written and closed by now.
  private static func leave(_ code: Int32) -> Never {
    fflush(nil)
    Unfinished.leave(code)
  }
}

extension NameSpecification {
  /// A flag by the name people type, with underscores; `Arguments.normalize` sees to the dashes.
  static func flag(_ name: String) -> NameSpecification { .customLong(name) }
}
