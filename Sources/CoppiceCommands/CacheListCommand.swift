public import ArgumentParser
import Formatting
import Foundation
import Hub
import JSON
import Minitron
import Report

/// `coppice cache ls`.
public struct CacheListCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "ls",
    abstract: "List kept scores (of which model and data, how large, how old) and what the hub's cache has.",
    aliases: ["list"])

  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public func run() throws {
    let (kept, hub) = (try KeptScores.ofUser(), HubSettings().cacheDirectory.map(HubCache.init(root:)))
    let (entries, repositories) = (kept.entries(), hub?.contents() ?? [])
    let (now, console) = (Date(), output.console)
    if output.json {
      let json = JSON.object([
        ("directory", .text(kept.root)), ("bytes", .int(entries.reduce(0) { $0 + $1.bytes })),
        ("scores", .array(entries.map { $0.json(now: now) })),
        (
          "hub",
          .object([
            ("directory", hub.map { .text($0.root) } ?? .null),
            ("bytes", .int(repositories.reduce(0) { $0 + $1.bytes })),
            ("repositories", .array(repositories.map(\.json))),
          ])
        ),
      ])
      return try console.result(json.serialized(indent: 2))
    }
    if entries.isEmpty {
      console.note("no scores are kept in \(kept.root)")
    } else {
      try console.result(table(entries, in: kept.root, now: now))
    }
    guard let hub else { return }
    if repositories.isEmpty { return console.note("nothing of the hub is in \(hub.root)") }
    if !entries.isEmpty { try console.result("") }
    try console.result(table(repositories, in: hub.root))
  }

  private func table(_ entries: [KeptScores.Entry], in root: String, now: Date) -> Table {
    var table = Table(
      title: "Scores kept in \(root), \(Format.bytes(entries.reduce(0) { $0 + $1.bytes }))",
      columns: [
        Table.Column("fingerprint"), Table.Column("made of", isFlexible: true), Table.Column("size", .right),
        Table.Column("age", .right),
      ])
    for entry in entries {
      table.add([
        entry.fingerprint, entry.summary, Format.bytes(entry.bytes), age(now.timeIntervalSince(entry.modified)),
      ])
    }
    return table
  }

  private func table(_ repositories: [CachedRepository], in root: String) -> Table {
    var table = Table(
      title: "Of the hub, in \(root), \(Format.bytes(repositories.reduce(0) { $0 + $1.bytes }))",
      columns: [
        Table.Column("name", isFlexible: true), Table.Column("type"), Table.Column("revisions", isFlexible: true),
        Table.Column("size", .right),
      ])
    for cached in repositories {
      let named = cached.revisions.map { "\($0.name) (\($0.commit.prefix(7)))" }
      let others = cached.commits.filter { commit in !cached.revisions.contains { $0.commit == commit } }
      table.add([
        cached.repository.name, cached.repository.kind.rawValue,
        (named + others.map { String($0.prefix(7)) }).joined(separator: ", "),
        Format.bytes(cached.bytes) + (cached.partialBytes > 0 ? " + \(Format.bytes(cached.partialBytes)) begun" : ""),
      ])
    }
    return table
  }
}

extension CachedRepository {
  fileprivate var json: JSON {
    .object([
      ("name", .text(repository.name)), ("type", .text(repository.kind.rawValue)), ("path", .text(path)),
      ("bytes", .int(bytes)), ("partial_bytes", .int(partialBytes)),
      ("revisions", .object(revisions.map { ($0.name, .text($0.commit)) })),
      ("commits", .array(commits.map(JSON.text))),
    ])
  }
}

/// How long ago, in the largest unit that fits.
private func age(_ seconds: Double) -> String {
  let units = [(86_400.0, "d"), (3600, "h"), (60, "m")]
  let (length, name) = units.first { seconds >= $0.0 } ?? (60, "m")
  return "\(Int(max(seconds, 0) / length))\(name)"
}

extension KeptScores.Entry {
  /// Model, data and settings in one line.
  fileprivate var summary: String {
    guard let about else { return "an earlier version's" }
    func name(_ path: String) -> String { URL(fileURLWithPath: path).lastPathComponent }
    let model = about["model"]?.string.map(name) ?? "a model"
    let data = about["calib_dataset_name"]?.array?.compactMap(\.string).map(name).joined(separator: ", ") ?? ""
    let settings = about["made_of"]
    func setting(_ key: String) -> String { settings?[key]?.string ?? "?" }
    // Of channels nothing is recorded: they are what hidden_size is cut in otherwise.
    let basis = settings?["basis"]?.string.map { ", \($0)" } ?? ""
    return "\(model), \(data), \(setting("calib_num_samples")) × \(setting("seq_length")), "
      + setting("compute_dtype") + basis
  }

  fileprivate func json(now: Date) -> JSON {
    .object([
      ("fingerprint", .text(fingerprint)), ("path", .text(path)), ("bytes", .int(bytes)),
      ("modified", .text(modified.formatted(.iso8601))),
      ("age_seconds", .int(Int(max(now.timeIntervalSince(modified), 0)))),
      ("model", about?["model"] ?? .null), ("calib_dataset_name", about?["calib_dataset_name"] ?? .null),
      ("made_of", about?["made_of"] ?? .null), ("in_use", .bool(isInUse)),
    ])
  }
}
