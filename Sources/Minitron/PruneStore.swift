import Checkpoint
import Crypto
public import Execution
import Files
import Foundation
public import JSON
import Messages
public import Models

/// What a result was made of: names and what stands for them (hashes, settings). Two results with the same
/// fingerprint are the same.
public struct Fingerprint: Sendable, Equatable {
  public private(set) var fields: [(name: String, value: String)]

  public init(_ fields: [(String, String)]) { self.fields = fields.map { (name: $0.0, value: $0.1) } }

  public func adding(_ more: [(String, String)]) -> Fingerprint {
    Fingerprint(fields.map { ($0.name, $0.value) } + more)
  }

  public func replacing(_ name: String, with value: String) -> Fingerprint {
    Fingerprint(fields.map { ($0.name, $0.name == name ? value : $0.value) })
  }

  public var json: JSON { .object(fields.map { ($0.name, .text($0.value)) }) }

  /// A short name for it: 16 hexadecimal digits of its SHA-256.
  public var key: String {
    hexadecimal(SHA256.hash(data: Data(json.serialized().utf8)).prefix(8))
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
/// Files are written beside and renamed: a run that is killed leaves whole files or none. Each carries a checksum.
public struct PruneStore: Sendable {
  /// Nil keeps nothing.
  public let directory: String?
  /// Kept scores are left alone and replaced.
  public let fresh: Bool
  /// Recorded in each file and not compared: the device and whatever else may tell where its numbers come from.
  public let madeOn: JSON

  public init(directory: String?, fresh: Bool, madeOn: JSON = .null) {
    self.directory = directory
    self.fresh = fresh
    self.madeOn = madeOn
  }

  /// Finds out whether scores can be kept: makes the directory and a file in it.
  ///
  /// - Throws: `CheckpointError`.
  public func checkWritable() throws { if let directory { try AtomicFile.checkWritable(directory: directory) } }

  func file(_ name: String) -> String? { directory.map { $0 + "/" + name } }

  /// - Returns: nil when there is no such file.
  func read(_ path: String?) throws -> (json: JSON.Object, path: String)? {
    guard let path, FileManager.default.fileExists(atPath: path) else { return nil }
    let found: JSON.Object?
    do { found = try KeptFile.read(path) } catch {
      throw ModelError(
        message: """
          \(path): kept scores are there but cannot be read; check the permissions or pass \(parameter: "fresh")
          """)
    }
    guard let json = found else {
      throw Self.again("\(path): kept scores are damaged (the contents do not match the checksum)")
    }
    return (json, path)
  }

  static func again(_ problem: String) -> ModelError {
    ModelError(message: "\(problem); pass \(parameter: "fresh") to compute them again")
  }

  private static let importanceName = "importance.json"

  /// The kept importance scores; nil when there are none (or `fresh`).
  ///
  /// - Throws: `ModelError` that lists what differs when they were made of something else.
  public func importance(_ fingerprint: Fingerprint, for model: ModelDescription) throws -> ImportanceScores? {
    guard !fresh, let (stored, file) = try read(file(Self.importanceName)) else { return nil }
    let differences = fingerprint.differences(from: stored["fingerprint"])
    guard differences.isEmpty else {
      throw ModelError(
        message: """
          \(file): the kept importance scores were made of something else: \(differences.joined(separator: "; ")). Pass \
          \(parameter: "fresh") to compute them again, or another \(parameter: "prune_intermediate_ckpt")
          """)
    }
    guard let scores = stored["scores"] else {
      throw Self.again("\(file): there are no \"scores\"")
    }
    return try ImportanceScores(parsing: scores, for: model, file: file)
  }

  /// - Parameter about: what they were made of, for people who list what is kept: names in place of hashes.
  public func save(_ scores: ImportanceScores, _ fingerprint: Fingerprint, about: JSON = .null) throws {
    var entries = JSON.Object([(Self.aboutKey, about)])
    for (name, value) in importanceEntries(scores, fingerprint).entries { entries[name] = value }
    try write(entries, to: file(Self.importanceName))
  }

  static let aboutKey = "about"

  /// What the scores in a directory were made of, as `save` was told; nil when nobody said, or they are damaged.
  static func about(directory: String) -> JSON? {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    let walks = [calibrationName, layerWalkName].map(KeptWalk.manifestName)
    for name in [importanceName] + names.filter(holdsLayers).sorted() + walks {
      if let about = try? KeptFile.read(directory + "/" + name)?[aboutKey], about != .null { return about }
    }
    return nil
  }

  /// What `importance.json` holds.
  public func importanceEntries(_ scores: ImportanceScores, _ fingerprint: Fingerprint) -> JSON.Object {
    JSON.Object([("fingerprint", fingerprint.json), ("made_on", madeOn), ("scores", scores.json)])
  }

  /// What an unfinished calibration's files are named after.
  static let calibrationName = "importance"

  /// Keeps a calibration as it goes; nil where nothing is kept.
  ///
  /// - Parameters:
  ///   - fingerprint: what importance is made of.
  ///   - about: as for `save`.
  ///   - observer: what is learned.
  ///   - interval: the least time between checkpoints.
  ///   - note: told where the calibration goes on, and why it cannot.
  public func calibrationWalk(
    _ fingerprint: Fingerprint, about: JSON = .null, _ executor: Executor, _ observer: ImportanceObserver,
    interval: Duration = KeptWalk.interval, note: @escaping (String) -> Void
  ) -> KeptWalk? {
    directory.map {
      KeptWalk(
        directory: $0, name: Self.calibrationName, what: "calibration",
        fingerprint: KeptWalk.fingerprint(fingerprint, executor), about: about, isFresh: fresh,
        interval: interval, note: note, learned: { try observer.statistics().json },
        restore: { try observer.restore(ImportanceStatistics(parsing: $0)) })
    }
  }

  /// Keeps a walk that scores candidates as it goes; nil where nothing is kept. Only one at a time may be walked.
  ///
  /// - Parameters:
  ///   - fingerprint: what the scores are made of: the candidates and the items too.
  ///   - sums: of each candidate, the scores of all items so far, 0 for those that are not scored yet.
  ///   - restore: takes such sums.
  public func scoringWalk(
    _ fingerprint: Fingerprint, _ executor: Executor, interval: Duration = KeptWalk.interval,
    note: @escaping (String) -> Void, sums: @escaping () -> [[Double]],
    restore: @escaping ([[Double]]) throws -> Void
  ) -> KeptWalk? {
    sumsWalk(
      "scores", "scoring", fingerprint, executor, interval: interval, note: note, sums: sums, restore: restore)
  }

  /// The same for anything that is added up item by item.
  ///
  /// - Parameters:
  ///   - name: what its files are named after.
  ///   - what: the same for people.
  func sumsWalk(
    _ name: String, _ what: String, _ fingerprint: Fingerprint, about: JSON = .null, _ executor: Executor,
    interval: Duration, note: @escaping (String) -> Void, sums: @escaping () -> [[Double]],
    restore: @escaping ([[Double]]) throws -> Void
  ) -> KeptWalk? {
    directory.map {
      KeptWalk(
        directory: $0, name: name, what: what, fingerprint: KeptWalk.fingerprint(fingerprint, executor), about: about,
        isFresh: fresh, interval: interval, note: note,
        learned: { .array(sums().map { ImportanceStatistics.bits($0) }) },
        restore: { json in
          let lists = json.array?.map { ImportanceStatistics.doubles($0) } ?? []
          let sums = lists.compactMap { $0 }
          guard sums.count == lists.count else { throw ModelError("the scores are not as they were written") }
          try restore(sums)
        })
    }
  }

  private static func scoresName(_ fingerprint: Fingerprint) -> String { "scores-\(fingerprint.key).json" }

  /// Kept item scores of candidates: sums and weights by architecture.
  public func candidateScores(_ fingerprint: Fingerprint) throws -> [ExportConfig: (sums: [Double], weights: [Double])]
  {
    guard !fresh, let (stored, file) = try read(file(Self.scoresName(fingerprint))) else { return [:] }
    guard fingerprint.differences(from: stored["fingerprint"]).isEmpty, let list = stored["candidates"]?.array else {
      throw Self.again("\(file): these are not the scores its name says")
    }
    var scores: [ExportConfig: (sums: [Double], weights: [Double])] = [:]
    for entry in list {
      let sums = entry["sums"]?.array?.compactMap(\.double) ?? []
      let weights = entry["weights"]?.array?.compactMap(\.double) ?? []
      guard let config = entry["export_config"], !sums.isEmpty, sums.count == weights.count else {
        throw Self.again("\(file): a candidate's scores are damaged")
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
      JSON.Object([("fingerprint", fingerprint.json), ("made_on", madeOn), ("candidates", .array(list))]),
      to: file(Self.scoresName(fingerprint)))
  }

  /// Keeps the directory from being removed by others, for as long as the result is referenced; nil when there is none.
  public func hold() -> KeptLock? { directory.flatMap { KeptLock($0) } }

  /// Whether a name is that of a directory of kept scores.
  static func isKey(_ name: String) -> Bool { name.wholeMatch(of: /[0-9a-f]{16}/) != nil }

  /// Whether a name in such a directory is that of a file of ours, or of one that a dead process did not finish.
  static func isOwn(_ name: String) -> Bool {
    let whole = name.wholeMatch(of: /\.(.+)\.partial-[0-9]+(-[0-9]+)?/).map { String($0.1) }
    let plain = whole ?? name
    return whole == "probe" || KeptWalk.isOwn(plain) || holdsLayers(plain)
      || plain.wholeMatch(of: /(importance|scores-[0-9a-f]{16})\.json/) != nil
      || plain.wholeMatch(of: /refit-[0-9a-f]{16}-([0-9]+|head)\.(json|bin)/) != nil
  }

  func write(_ entries: JSON.Object, to path: String?) throws {
    guard let path, let directory else { return }
    try AtomicFile.makeDirectory(directory)
    try AtomicFile.write(KeptFile.bytes(entries), to: path)
  }

  /// Where scores are kept when nobody says: the user's cache directory, by fingerprint; nil where the user has no home.
  public static func automaticDirectory(_ fingerprint: Fingerprint) -> String? {
    Environment.process.cacheDirectory.map { $0 + "/" + fingerprint.key }
  }
}
