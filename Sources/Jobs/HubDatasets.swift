import Datasets
import Files
import Hub
import Synchronization

/// Data sets of the hub, file by file as their rows are wanted.
struct HubDatasets: DatasetPlaces {
  private let events: RunEvents
  /// By name and revision: each is looked up once.
  private let known = Known()

  private final class Known: Sendable {
    let places = Mutex<[String: HubDataset]>([:])
  }

  init(_ events: RunEvents) { self.events = events }

  /// Finds out whether data sets of the hub may be read, before a model of many gigabytes is fetched to be calibrated on them.
  ///
  /// - Parameter names: of data sets, as requests have them.
  /// - Throws: what is wrong with them.
  func check(_ names: [String]) throws {
    for case .repository(let name, let revision) in try DatasetSource.groups(names).joined().map(\.location) {
      try dataset(name, revision).checkAccess()
    }
  }

  func place(repository: String, revision: String?) throws -> any DatasetPlace { try dataset(repository, revision) }

  private func dataset(_ repository: String, _ revision: String?) throws -> HubDataset {
    let key = "\(repository)@\(revision ?? "")"
    if let place = known.places.withLock({ $0[key] }) { return place }
    let place = try HubDataset(
      Hub(observer: HubEvents(events)), Repository(repository, .dataset), revision.map { try Revision($0) } ?? .main)
    known.places.withLock { $0[key] = place }
    return place
  }
}

/// A data set of the hub at one commit: the one that the cache has for the revision, else the hub's.
private struct HubDataset: DatasetPlace {
  private let hub: Hub
  private let repository: Repository
  private let revision: Revision
  private let commit: String
  /// By path.
  private let files: [String: RepositoryFile]

  init(_ hub: Hub, _ repository: Repository, _ revision: Revision) throws {
    (self.hub, self.repository, self.revision) = (hub, repository, revision)
    commit = try hub.cachedCommit(of: repository, revision) ?? hub.commit(of: repository, revision)
    let files = try hub.files(of: repository, commit)
    self.files = Dictionary(files.map { ($0.path, $0) }) { first, _ in first }
  }

  /// By its first file that is no document.
  func checkAccess() throws {
    let data = files.values.filter { !$0.path.hasPrefix(".") && !$0.path.hasSuffix(".md") }.min { $0.path < $1.path }
    if let data { try hub.checkAccess(repository, commit, data) }
  }

  var name: String { repository.name }
  var identity: String? { "datasets/\(repository.name)@\(commit)" }

  func listing() -> [DatasetFile] {
    files.values.map { DatasetFile(path: $0.path, size: $0.size, checksum: $0.checksum) }
  }

  func file(_ path: String) throws -> String {
    guard let file = files[path] else { throw RunError("\(repository) has no file \(path)") }
    return join(try hub.fetch(repository, revision, commit, [file]).directory, path)
  }

  func card() throws -> [UInt8]? {
    guard files["README.md"] != nil else { return nil }
    return try WholeFile.read(file("README.md"), limit: WholeFile.settingsLimit)
  }

  func converted() throws -> (any DatasetPlace)? {
    let branch = try Revision("refs/convert/parquet")
    guard try hub.cachedCommit(of: repository, branch) != nil || hub.hasConverted(repository) else { return nil }
    return try HubDataset(hub, repository, branch)
  }
}
