import Checkpoint
public import Foundation
public import JSON

/// What runs have kept in the cache directory: a directory of scores for each fingerprint.
public struct KeptScores: Sendable {
  /// The cache directory.
  public let root: String

  public init(root: String) { self.root = root }

  /// The scores that were made of one model, one set of data and one set of settings.
  public struct Entry: Sendable {
    /// 16 hexadecimal digits, the directory's name.
    public let fingerprint: String
    public let path: String
    public let bytes: Int
    /// When something was last kept in it.
    public let modified: Date
    /// What it was made of, by `PruneStore.save`; nil when that is not known.
    public let about: JSON?
    /// Names in the directory that are not ours.
    public let foreign: [String]

    /// Whether a run is using it now.
    public var isInUse: Bool { KeptLock(path, isAlone: true) == nil }
  }

  /// All there are, the latest first. What does not look like kept scores is not listed.
  public func entries() -> [Entry] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    return names.filter(PruneStore.isKey).compactMap(entry)
      .sorted { ($1.modified, $0.fingerprint) < ($0.modified, $1.fingerprint) }
  }

  private func entry(_ name: String) -> Entry? {
    let path = root + "/" + name
    // Not through a symbolic link: what it leads to is somebody else's.
    guard let type = attributes(path)?[.type] as? FileAttributeType, type == .typeDirectory,
      let files = try? FileManager.default.contentsOfDirectory(atPath: path)
    else { return nil }
    let own = files.filter(PruneStore.isOwn)
    guard !own.isEmpty || files.isEmpty else { return nil }
    let facts = own.compactMap { attributes(path + "/" + $0) }
    let times = facts.compactMap { $0[.modificationDate] as? Date }
    return Entry(
      fingerprint: name, path: path, bytes: facts.reduce(0) { $0 + (($1[.size] as? NSNumber)?.intValue ?? 0) },
      modified: times.max() ?? attributes(path)?[.modificationDate] as? Date ?? .distantPast,
      about: PruneStore.about(directory: path),
      foreign: files.filter { !PruneStore.isOwn($0) }.sorted())
  }

  /// The attributes of what is there itself, be it a symbolic link.
  private func attributes(_ path: String) -> [FileAttributeKey: Any]? {
    try? FileManager.default.attributesOfItem(atPath: path)
  }

  /// What became of scores that were to be removed.
  public enum Outcome: Sendable, Equatable {
    case removed
    /// They are left to the run that is using them.
    case inUse
    /// Ours are gone, and other files are left.
    case keptForeign([String])
    case failed(String)
  }

  /// Removes our files of an entry, and its directory when nothing else is in it.
  public func remove(_ entry: Entry) -> Outcome {
    guard let lock = KeptLock(entry.path, isAlone: true) else { return .inUse }
    defer { withExtendedLifetime(lock) {} }
    do {
      for name in try FileManager.default.contentsOfDirectory(atPath: entry.path) where PruneStore.isOwn(name) {
        try FileManager.default.removeItem(atPath: entry.path + "/" + name)
      }
    } catch { return .failed(error.localizedDescription) }
    if !entry.foreign.isEmpty { return .keptForeign(entry.foreign) }
    guard rmdir(entry.path) == 0 else { return .failed(String(cString: strerror(errno))) }
    return .removed
  }
}
