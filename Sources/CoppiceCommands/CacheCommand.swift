public import ArgumentParser
import Files
import Foundation
import JSON
import Minitron
import Models
import Report
import Formatting

/// `coppice cache`: what runs have kept, and what the hub's cache has.
public struct CacheCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "cache", abstract: "List kept scores, models and data sets; remove scores.",
    subcommands: [CacheListCommand.self, CacheRemoveCommand.self])

  public init() {}
}

/// `coppice cache rm`.
public struct CacheRemoveCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "rm", abstract: "Remove kept scores; what a run is using is left.", aliases: ["remove"])

  @Argument(help: ArgumentHelp("The first digits of fingerprints that ls shows.", valueName: "fingerprint"))
  var fingerprints: [String] = []

  @Flag(name: .flag("all"), help: "All of them.")
  var all = false

  @Option(
    name: .flag("older_than"),
    help: ArgumentHelp("Those that nothing was added to for so long: 30d, 12h, 2w.", valueName: "age"))
  var olderThan: Age?

  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public mutating func validate() throws {
    guard [!fingerprints.isEmpty, all, olderThan != nil].count(where: \.self) == 1 else {
      throw ValidationError("say what to remove: fingerprints as ls shows them, --older_than 30d, or --all")
    }
    for fingerprint in fingerprints where fingerprint.wholeMatch(of: /[0-9a-f]{4,16}/) == nil {
      throw ValidationError("\"\(fingerprint)\" is no fingerprint: give 4 to 16 of the digits that ls shows")
    }
  }

  public func run() throws {
    let kept = try KeptScores.ofUser()
    let console = output.console
    var (removed, left) = ([KeptScores.Entry](), [(entry: KeptScores.Entry, reason: String)]())
    for entry in try chosen(of: kept) {
      switch kept.remove(entry) {
      case .removed: removed.append(entry)
      case .inUse: left.append((entry, "a run is using it"))
      case .keptForeign(let names): left.append((entry, "other files are in it: \(names.joined(separator: ", "))"))
      case .failed(let reason): left.append((entry, reason))
      }
    }
    let bytes = removed.reduce(0) { $0 + $1.bytes }
    if output.json {
      let json = JSON.object([
        ("removed", .array(removed.map { .text($0.fingerprint) })), ("bytes", .int(bytes)),
        (
          "left",
          .array(left.map { .object([("fingerprint", .text($0.entry.fingerprint)), ("reason", .text($0.reason))]) })
        ),
      ])
      try console.result(json.serialized(indent: 2))
    } else {
      console.note("removed \(removed.count) of \(removed.count + left.count) kept scores, \(Format.bytes(bytes))")
    }
    for (entry, reason) in left { console.warn("\(entry.path) is left: \(reason)") }
    // What was asked for by name and is still there is a failure.
    if !fingerprints.isEmpty, !left.isEmpty { throw ExitCode(1) }
  }

  private func chosen(of kept: KeptScores) throws -> [KeptScores.Entry] {
    let entries = kept.entries()
    if all { return entries }
    if let olderThan { return entries.filter { Date().timeIntervalSince($0.modified) > olderThan.seconds } }
    var chosen: [KeptScores.Entry] = []
    for prefix in fingerprints {
      let found = entries.filter { $0.fingerprint.hasPrefix(prefix) }
      guard let entry = found.first else { throw ModelError("\(kept.root) has no scores \(prefix)…") }
      guard found.count == 1 else {
        throw ModelError("\(prefix) begins \(found.map(\.fingerprint).joined(separator: " and ")): give more digits")
      }
      if !chosen.contains(where: { $0.fingerprint == entry.fingerprint }) { chosen.append(entry) }
    }
    return chosen
  }
}

/// `30d`, `12h`, `2w`.
struct Age: ExpressibleByArgument {
  let seconds: Double

  init?(argument: String) {
    let units: [Character: Double] = ["m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400]
    guard let last = argument.last, let unit = units[last], let number = Int(argument.dropLast()), number >= 0 else {
      return nil
    }
    seconds = Double(number) * unit
  }
}

extension KeptScores {
  static func ofUser() throws -> KeptScores {
    guard let directory = Environment.process.cacheDirectory else {
      throw ModelError("there is no cache directory: HOME is unset and the user has none")
    }
    return KeptScores(root: directory)
  }
}
