import Checkpoint
import Crypto
public import Execution
import Files
import Foundation
public import JSON
import Models
public import Torch

/// A walk's checkpoint in a directory of kept scores: hidden states, each in a file of its own, and a manifest that names
/// them, the walk's position and what was learned so far.
///
/// The manifest is written last and replaced as a whole: whenever the process is ended, there is one checkpoint or
/// none. States are written once and removed when no manifest names them any more. Everything has a checksum. Files of
/// another process, of other data or damaged ones are never used: the walk begins at the beginning then.
public final class KeptWalk: WalkRecorder {
  /// A state that is on disk.
  private struct Saved {
    let name: String
    let shape: [Int]
    let dtype: DType
    let checksum: String

    func json(_ key: StateKey) -> JSON {
      .object([
        ("path", .int(key.path)), ("batch", .int(key.batch)), ("file", .text(name)),
        ("shape", .array(shape.map(JSON.int))), ("dtype", .text("\(dtype)")), ("sha256", .text(checksum)),
      ])
    }
  }

  private let directory: String
  private let name: String
  private let what: String
  private let fingerprint: Fingerprint
  private let about: JSON
  private let isFresh: Bool
  private let interval: Duration
  private let note: (String) -> Void
  private let learned: () throws -> JSON
  private let restore: (JSON) throws -> Void

  private let clock = ContinuousClock()
  private var last: ContinuousClock.Instant
  /// How long the last checkpoint took to write.
  private var cost = Duration.zero
  private var saved: [StateKey: Saved] = [:]
  private var chunk = 0..<0
  /// The files of the checkpoint that is on disk.
  private var named: Set<String> = []
  /// Without room for states what was learned is saved between chunks.
  private var savesStates = true
  private var lock: KeptWalkLock?

  /// The default time between checkpoints, and so what is lost when a process is killed.
  public static let interval = Duration.seconds(10)

  /// Of the time that a walk takes, writing checkpoints takes at most one part in so many.
  private static let share = 20

  /// - Parameters:
  ///   - directory: made when the first checkpoint is written.
  ///   - name: what the files are named after: lower-case letters and digits.
  ///   - what: the same for people.
  ///   - fingerprint: what the walk computes, and how.
  ///   - about: recorded in the manifest.
  ///   - isFresh: a checkpoint that is there already is removed.
  ///   - interval: the least time between checkpoints; zero for one after every batch.
  ///   - note: told where the walk goes on, and what prevents that.
  ///   - learned: what is to be saved besides states.
  ///   - restore: takes what was saved.
  public init(
    directory: String, name: String, what: String, fingerprint: Fingerprint, about: JSON = .null, isFresh: Bool = false,
    interval: Duration = KeptWalk.interval, note: @escaping (String) -> Void, learned: @escaping () throws -> JSON,
    restore: @escaping (JSON) throws -> Void
  ) {
    self.directory = directory
    self.name = name
    self.what = what
    self.fingerprint = fingerprint
    self.about = about
    self.isFresh = isFresh
    self.interval = interval
    self.note = note
    self.learned = learned
    self.restore = restore
    last = clock.now
  }

  /// The layout of the files and the numbering of states.
  fileprivate static let format = "1"

  /// What a walk's states are made of.
  ///
  /// - Parameter fingerprint: what the result is made of.
  static func fingerprint(_ fingerprint: Fingerprint, _ executor: Executor) -> Fingerprint {
    fingerprint.adding([("walk", format), ("device", "\(executor.weights.device)")])
  }

  static func manifestName(_ name: String) -> String { "walk-\(name).json" }

  /// Whether a file's name is that of a part of a checkpoint.
  static func isOwn(_ file: String) -> Bool {
    file.wholeMatch(of: /walk-[a-z0-9]+(\.json|\.lock|-[0-9]+-[0-9]+-[0-9]+\.state)/) != nil
  }

  private func path(_ file: String) -> String { directory + "/" + file }
  private var manifest: String { path(Self.manifestName(name)) }

  public func resume(
    fits: (WalkPosition, Set<StateKey>) -> Bool, put: (StateKey, Tensor) throws -> Void
  ) throws -> WalkPosition? {
    last = clock.now
    guard !ownFiles().isEmpty, takeLock(making: false) else { return nil }
    if isFresh || !FileManager.default.fileExists(atPath: manifest) {
      removeFiles(except: [])
      return nil
    }
    func beginAgain(_ why: String) -> WalkPosition? {
      note("the \(what) that was ended before cannot go on: \(why). It begins again")
      removeFiles(except: [])
      saved = [:]
      return nil
    }
    guard let stored = try? KeptFile.read(manifest) else {
      return beginAgain("\(manifest) is damaged")
    }
    let differences = fingerprint.differences(from: stored["fingerprint"])
    guard differences.isEmpty else {
      return beginAgain("it was of something else (\(differences.joined(separator: "; ")))")
    }
    guard let position = WalkPosition(parsing: stored["position"]), let states = states(stored["states"]),
      fits(position, Set(states.keys))
    else { return beginAgain("\(manifest) is not what this version writes") }
    for (key, state) in states.sorted(by: { ($0.key.batch, $0.key.path) < ($1.key.batch, $1.key.path) }) {
      guard let tensor = read(state) else { return beginAgain("\(path(state.name)) is missing or damaged") }
      try put(key, tensor)
    }
    do { try restore(stored["learned"] ?? .null) } catch { return beginAgain("\(error)") }
    saved = states
    chunk = position.chunk
    named = Set(states.values.map(\.name) + [Self.manifestName(name)])
    removeFiles(except: named)
    note("the \(what) goes on where it was ended before")
    last = clock.now
    return position
  }

  private func states(_ json: JSON?) -> [StateKey: Saved]? {
    guard let list = json?.array else { return nil }
    var states: [StateKey: Saved] = [:]
    for entry in list {
      guard let path = entry["path"]?.int, let batch = entry["batch"]?.int, let file = entry["file"]?.string,
        Self.isOwn(file), let shape = entry["shape"]?.array?.compactMap(\.int), let checksum = entry["sha256"]?.string,
        let dtype = DType.allCases.first(where: { "\($0)" == entry["dtype"]?.string })
      else { return nil }
      states[StateKey(path: path, batch: batch)] = Saved(name: file, shape: shape, dtype: dtype, checksum: checksum)
    }
    return states.count == list.count ? states : nil
  }

  private func read(_ state: Saved) -> Tensor? {
    let count = state.shape.reduce(state.dtype.byteCount) { $0.multipliedReportingOverflow(by: $1).partialValue }
    guard let bytes = try? WholeFile.read(path(state.name), limit: max(count, 0)),
      hexadecimal(SHA256.hash(data: bytes)) == state.checksum
    else { return nil }
    return try? bytes.withUnsafeBytes { try Tensor(bytes: $0, shape: state.shape, dtype: state.dtype) }
  }

  public func isDue(withStates: Bool) -> Bool {
    guard savesStates || !withStates else { return false }
    return interval == .zero || last.duration(to: clock.now) >= max(interval, cost * Self.share)
  }

  public func save(_ position: WalkPosition, keys: [StateKey], state: (StateKey) throws -> Tensor) {
    let start = clock.now
    defer {
      last = clock.now
      cost = start.duration(to: last)
    }
    do {
      guard takeLock(making: true) else {
        savesStates = false
        return
      }
      // Keys count from the beginning of a chunk.
      if position.chunk != chunk { saved = [:] }
      chunk = position.chunk
      var kept: [StateKey: Saved] = [:]
      for key in keys {
        kept[key] = try saved[key] ?? write(state(key), key)
        saved[key] = kept[key]
      }
      let entries = JSON.Object([
        (PruneStore.aboutKey, about), ("fingerprint", fingerprint.json), ("position", position.json),
        ("states", .array(keys.compactMap { key in kept[key]?.json(key) })), ("learned", try learned()),
      ])
      try AtomicFile.write(KeptFile.bytes(entries), to: manifest)
      saved = kept
      named = Set(kept.values.map(\.name) + [Self.manifestName(name)])
      removeFiles(except: named)
    } catch {
      guard savesStates, !keys.isEmpty else { return }
      savesStates = false
      note("the \(what) cannot be saved as it goes; it would begin again after an interruption: \(error)")
      // A checkpoint that is there already is older, and whole.
      removeFiles(except: named)
    }
  }

  private func write(_ state: Tensor, _ key: StateKey) throws -> Saved {
    let file = "walk-\(name)-\(chunk.lowerBound)-\(key.path)-\(key.batch).state"
    let state = try state.to(device: .cpu).contiguous()
    // Half of what is free is left to others.
    let facts = try? FileManager.default.attributesOfFileSystem(forPath: directory)
    if let free = (facts?[.systemFreeSize] as? NSNumber)?.intValue, free / 2 < state.byteCount {
      throw ModelError("there is not enough space in \(directory)")
    }
    return try state.withUnsafeBytes { bytes in
      var hash = SHA256()
      hash.update(bufferPointer: bytes)
      // The checksum is compared on reading: no need to wait for the disk.
      try AtomicFile.write(bytes, to: path(file), isDurable: false)
      return Saved(name: file, shape: state.shape, dtype: state.dtype, checksum: hexadecimal(hash.finalize()))
    }
  }

  /// The walk is done and its results are kept elsewhere: removes the checkpoint.
  public func finish() {
    guard lock != nil else { return }
    removeFiles(except: [])
    lock = nil
  }

  /// Removes the checkpoint's files but these, the manifest first: it never names what is not there.
  private func removeFiles(except kept: Set<String>) {
    let manifest = Self.manifestName(name)
    let gone = ownFiles().filter { !kept.contains($0) && !$0.hasSuffix(".lock") }
    for file in gone.filter({ $0 == manifest }) + gone.filter({ $0 != manifest }) {
      try? FileManager.default.removeItem(atPath: path(file))
    }
  }

  /// The names of this checkpoint's files, unfinished ones too.
  private func ownFiles() -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).filter { file in
      let whole = file.wholeMatch(of: /\.(.+)\.partial-[0-9]+-[0-9]+/).map { String($0.1) } ?? file
      return Self.isOwn(whole) && (whole.hasPrefix("walk-\(name).") || whole.hasPrefix("walk-\(name)-"))
    }
  }

  /// Whether this process alone writes the checkpoint. Another one may be walking the same way at the same time.
  private func takeLock(making: Bool) -> Bool {
    if lock != nil { return true }
    if making { try? AtomicFile.makeDirectory(directory) }
    guard FileManager.default.fileExists(atPath: directory) else { return false }
    lock = KeptWalkLock(path("walk-\(name).lock"))
    return lock != nil
  }
}

extension WalkPosition {
  fileprivate var json: JSON {
    .object([
      ("batches", .text(String(batches))), ("first_batch", .int(chunk.lowerBound)),
      ("end_batch", .int(chunk.upperBound)),
      ("bands", .array(bands.map(JSON.int))), ("leg", .int(leg)), ("batch", .int(batch)),
    ])
  }

  fileprivate init?(parsing json: JSON?) {
    guard let batches = json?["batches"]?.string.flatMap(UInt64.init), let first = json?["first_batch"]?.int,
      let end = json?["end_batch"]?.int, first >= 0, end >= first,
      let bands = json?["bands"]?.array, let leg = json?["leg"]?.int, let batch = json?["batch"]?.int
    else { return nil }
    self.init(batches: batches, chunk: first..<end, bands: bands.compactMap(\.int), leg: leg, batch: batch)
  }
}
