import Checkpoint
import Crypto
import Foundation
public import JSON
public import Models

/// What a result was made of: names and what stands for them (hashes, settings). Two results with the same
/// fingerprint are the same.
public struct Fingerprint: Sendable, Equatable {
  public private(set) var fields: [(name: String, value: String)]

  public init(_ fields: [(String, String)]) { self.fields = fields.map { (name: $0.0, value: $0.1) } }

  public func adding(_ more: [(String, String)]) -> Fingerprint {
    Fingerprint(fields.map { ($0.name, $0.value) } + more)
  }

  public var json: JSON { .object(fields.map { ($0.name, .text($0.value)) }) }

  /// A short name for it: 16 hexadecimal digits of its SHA-256.
  public var key: String {
    SHA256.hash(data: Data(json.serialized().utf8)).prefix(8).map { String(format: "%02x", $0) }.joined()
  }

  /// What differs from a stored one, in words; empty when nothing does.
  public func differences(from stored: JSON?) -> [String] {
    var differences: [String] = []
    for (name, value) in fields where stored?[name]?.string != value {
      differences.append("\(name) was \(stored?[name]?.string ?? "not recorded") and is \(value)")
    }
    for (name, value) in stored?.object?.entries ?? [] where !fields.contains(where: { $0.name == name.description }) {
      differences.append("\(name) was \(value.string ?? "unreadable") and does not apply now")
    }
    return differences
  }

  public static func == (a: Fingerprint, b: Fingerprint) -> Bool { a.json == b.json }
}

/// Importance scores and candidate scores between runs, each with the fingerprint of what made it.
///
/// Files are written beside and renamed: a run that is killed leaves whole files or none.
public struct PruneStore: Sendable {
  public let directory: String
  /// Kept scores are left alone and replaced.
  public let fresh: Bool

  public init(directory: String, fresh: Bool) {
    self.directory = directory
    self.fresh = fresh
  }

  private var importanceFile: String { directory + "/importance.json" }

  private func read(_ path: String) throws -> JSON? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    guard let data = FileManager.default.contents(atPath: path) else {
      throw ModelError("\(path): kept scores are there but cannot be read; check the permissions or pass --fresh")
    }
    do { return try JSON(parsing: data) } catch {
      throw ModelError("\(path): kept scores are damaged (\(error)); pass --fresh to compute them again")
    }
  }

  /// The kept importance scores; nil when there are none (or `fresh`).
  ///
  /// - Throws: `ModelError` that lists what differs when they were made of something else.
  public func importance(_ fingerprint: Fingerprint, for model: ModelDescription) throws -> ImportanceScores? {
    guard !fresh, let stored = try read(importanceFile) else { return nil }
    let differences = fingerprint.differences(from: stored["fingerprint"])
    guard differences.isEmpty else {
      throw ModelError(
        "\(importanceFile): the kept importance scores were made of something else: "
          + differences.joined(separator: "; ") + ". Pass --fresh to compute them again, or another "
          + "--prune_intermediate_ckpt")
    }
    guard let scores = stored["scores"] else {
      throw ModelError("\(importanceFile): there are no \"scores\"; pass --fresh to compute them again")
    }
    return try ImportanceScores(parsing: scores, for: model, file: importanceFile)
  }

  public func save(_ scores: ImportanceScores, _ fingerprint: Fingerprint) throws {
    try write(Self.importanceJSON(scores, fingerprint), to: importanceFile)
  }

  public static func importanceJSON(_ scores: ImportanceScores, _ fingerprint: Fingerprint) -> JSON {
    .object([("fingerprint", fingerprint.json), ("scores", scores.json)])
  }

  private func scoresFile(_ fingerprint: Fingerprint) -> String { directory + "/scores-\(fingerprint.key).json" }

  /// Kept item scores of candidates: sums and weights by architecture.
  public func candidateScores(_ fingerprint: Fingerprint) throws -> [ExportConfig: (sums: [Double], weights: [Double])]
  {
    let file = scoresFile(fingerprint)
    guard !fresh, let stored = try read(file) else { return [:] }
    guard fingerprint.differences(from: stored["fingerprint"]).isEmpty, let list = stored["candidates"]?.array else {
      throw ModelError("\(file): these are not the scores its name says; pass --fresh to compute them again")
    }
    var scores: [ExportConfig: (sums: [Double], weights: [Double])] = [:]
    for entry in list {
      let sums = entry["sums"]?.array?.compactMap(\.double) ?? []
      let weights = entry["weights"]?.array?.compactMap(\.double) ?? []
      guard let config = entry["export_config"], !sums.isEmpty, sums.count == weights.count else {
        throw ModelError("\(file): a candidate's scores are damaged; pass --fresh to compute them again")
      }
      scores[try ExportConfig(parsing: config)] = (sums, weights)
    }
    return scores
  }

  public func save(_ scores: [(ExportConfig, sums: [Double], weights: [Double])], _ fingerprint: Fingerprint) throws {
    let list = scores.map { config, sums, weights in
      JSON.object([
        ("export_config", config.json), ("sums", .array(sums.map(JSON.double))),
        ("weights", .array(weights.map(JSON.double))),
      ])
    }
    try write(
      .object([("fingerprint", fingerprint.json), ("candidates", .array(list))]), to: scoresFile(fingerprint))
  }

  private func write(_ json: JSON, to path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch {
      throw ModelError(
        "\(directory): cannot be made to keep scores in (\(error.localizedDescription)); choose another with "
          + "--prune_intermediate_ckpt")
    }
    try AtomicFile.write(json.serialized() + "\n", to: path)
  }

  /// Where scores are kept when nobody says: the user's cache directory, by fingerprint.
  public static func automaticDirectory(_ fingerprint: Fingerprint) -> String {
    let environment = ProcessInfo.processInfo.environment
    let cache =
      environment["COPPICE_CACHE"] ?? environment["XDG_CACHE_HOME"].map { $0 + "/coppice" }
      ?? (environment["HOME"] ?? NSTemporaryDirectory()) + "/.cache/coppice"
    return cache + "/" + fingerprint.key
  }
}
