import Checkpoint
public import Hub
import Messages

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What to fetch from the hub ahead of time.
public struct DownloadRequest: Sendable, Equatable {
  /// `OWNER/NAME`, with `@REVISION` after it or not.
  public var name: String
  public var kind = RepositoryKind.model
  /// A branch, tag or commit; nil: `main`.
  public var revision: String?
  /// Patterns of paths, as shells have them, where `*` goes over slashes too; empty: what runs of this program read.
  public var patterns: [String] = []

  public init(name: String) { self.name = name }
}

/// What is there after it.
public struct DownloadOutcome: Sendable, Equatable {
  public let directory: String
  /// The commit.
  public let revision: String
  public let files: Int
  /// Bytes of those files.
  public let bytes: Int
  /// Bytes that came over the network this time.
  public let fetchedBytes: Int
}

/// Fetches a model or a data set into the hub's cache, as it is at the hub now.
public struct DownloadJob {
  private let request: DownloadRequest
  private let events: RunEvents

  public init(_ request: DownloadRequest, listeners: [any RunListener] = []) {
    self.request = request
    events = RunEvents(listeners)
  }

  /// - Throws: `HubError`, `RunError`, `FileError`.
  public func run() throws -> DownloadOutcome {
    guard let (repository, revision) = try ModelPlace.hubName(request.name, revision: request.revision, request.kind)
    else { throw RunError("\(request.name) is no name of the hub: OWNER/NAME is wanted") }
    let hub = try Hub(observer: HubEvents(events))
    let commit = try commit(hub, repository, revision)
    if hub.settings.isOffline, request.kind == .model, request.patterns.isEmpty,
      hub.cache.listing(repository, commit) == nil
    {
      return try cached(hub, repository, revision, commit)
    }
    let listing = try hub.files(of: repository, commit)
    let (wanted, fetched) = try fetch(hub, repository, revision, commit, listing)
    try? hub.cache.publishListing(repository, commit, listing)
    return DownloadOutcome(
      directory: fetched.directory, revision: commit, files: wanted.count,
      bytes: wanted.reduce(0) { $0 + $1.size }, fetchedBytes: fetched.bytes)
  }

  /// What the hub says; where it may not be asked or does not answer, what the cache says.
  private func commit(_ hub: Hub, _ repository: Repository, _ revision: Revision) throws -> String {
    do { return try hub.commit(of: repository, revision) } catch let error as HubError
      where error.kind == .offline || error.kind == .unreachable
    {
      guard let commit = hub.cachedCommit(of: repository, revision) else { throw error }
      if error.kind == .unreachable { try events.note(.hub("\(error); going by what the cache has of \(revision)")) }
      return commit
    }
  }

  /// A model of a cache whose client has noted no list of its files, where none can be asked for.
  private func cached(
    _ hub: Hub, _ repository: Repository, _ revision: Revision, _ commit: String
  ) throws -> DownloadOutcome {
    let missing = try ModelPlace.missing(hub, repository, commit, .everything)
    if !missing.isEmpty { try hub.checkOnline(repository, revision, missing) }
    let files = try hub.files(of: repository, commit)
    return DownloadOutcome(
      directory: hub.cache.snapshot(repository, commit), revision: commit, files: files.count,
      bytes: files.reduce(0) { $0 + $1.size }, fetchedBytes: 0)
  }

  private func fetch(
    _ hub: Hub, _ repository: Repository, _ revision: Revision, _ commit: String, _ listing: [RepositoryFile]
  ) throws -> (wanted: [RepositoryFile], fetched: Hub.Fetched) {
    if request.patterns.isEmpty, request.kind == .model {
      return try ModelPlace.fetch(hub, repository, revision, commit, listing, .everything)
    }
    let wanted = listing.filter { isWanted($0.path) && !Pickles.isPickle($0.path) }
    guard !wanted.isEmpty else {
      let pickles = listing.filter { isWanted($0.path) }.count
      throw RunError(
        pickles > 0
          ? "all \(pickles) files that match are pickles, which are never fetched, since reading them may run code"
          : "no file of \(repository) matches \(request.patterns.joined(separator: " ")); it has \(listing.count) files"
      )
    }
    return (wanted, try hub.fetch(repository, revision, commit, wanted))
  }

  private func isWanted(_ path: String) -> Bool {
    request.patterns.isEmpty
      || request.patterns.contains { pattern in
        fnmatch(pattern.hasSuffix("/") ? pattern + "*" : pattern, path, 0) == 0
      }
  }
}
