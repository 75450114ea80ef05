import Files
import Formatting
import Foundation
import Messages
import Synchronization

/// Models and data sets of the Hugging Face hub, fetched into the cache that huggingface_hub's programs use too.
///
/// Nothing is asked of a server before something is wanted that the cache does not have.
public final class Hub: Sendable {
  /// Files that are fetched at once: enough to fill a line whose servers limit each connection.
  static let filesAtOnce = 8

  public let settings: HubSettings
  public let cache: HubCache
  private let observer: (any HubObserver)?
  private let made = Mutex<HubClient?>(nil)
  /// Lists that the hub has just given, by commit; noted in the cache when files of them have arrived as they say.
  private let fresh = Mutex<[String: [RepositoryFile]]>([:])

  /// - Throws: `HubError` where there is no place for a cache.
  public init(_ settings: HubSettings = HubSettings(), observer: (any HubObserver)? = nil) throws {
    guard let root = settings.cacheDirectory else {
      throw HubError(
        .usage, "there is no place for the hub's cache: HOME is unset and the user has none; name one in HF_HOME")
    }
    self.settings = settings
    self.observer = observer
    cache = HubCache(root: root)
  }

  /// - Throws: `HubError`, offline, where nothing may be asked.
  private func client(for wanted: @autoclosure () -> Message) throws -> HubClient {
    if let variable = settings.offlineVariable {
      throw HubError(
        .offline,
        "\(wanted()), and \(variable) is set: nothing is fetched. Unset it, or download it where there is a network")
    }
    return try made.withLock { made in
      let client = try made ?? HubClient(settings, observer: observer)
      made = client
      return client
    }
  }

  /// Makes sure that what is missing of a revision may be fetched.
  ///
  /// - Throws: `HubError`, offline, which says what is missing.
  public func checkOnline(_ repository: Repository, _ revision: Revision, _ missing: [String]) throws {
    _ = try client(for: absence(of: repository, revision, missing))
  }

  // MARK: Commits and lists

  /// The commit that the cache has for a revision; nil where it has none.
  public func cachedCommit(of repository: Repository, _ revision: Revision) -> String? {
    cache.commit(of: repository, revision)
  }

  /// The commit that a revision stands for at the hub now.
  ///
  /// - Throws: `HubError`.
  public func commit(of repository: Repository, _ revision: Revision) throws -> String {
    if revision.isCommit { return revision.name }
    return try client(for: absence(of: repository, revision))
      .commit(of: repository, revision, known: cache.repositories())
  }

  /// All files at a commit: as the cache has noted them, else as the hub lists them; where that may not be asked, those that
  /// the cache has.
  ///
  /// - Throws: `HubError`.
  public func files(of repository: Repository, _ commit: String) throws -> [RepositoryFile] {
    if let files = fresh.withLock({ $0[commit] }) ?? cache.listing(repository, commit) { return files }
    if settings.isOffline {
      let files = cache.snapshotFiles(repository, commit)
      if !files.isEmpty { return files }
    }
    let files = try client(for: "the cache in \(cache.root) has no list of \(repository)'s files")
      .files(of: repository, commit, known: cache.repositories())
    fresh.withLock { $0[commit] = files }
    return files
  }

  /// Whether the hub has made Parquet files of a data set that has only a script.
  public func hasConverted(_ repository: Repository) throws -> Bool {
    try client(for: "the hub's branches of \(repository) are not known").hasConverted(repository)
  }

  /// Finds out whether a file may be had, before much work is done for which it is needed.
  ///
  /// - Throws: `HubError` for one that is not shown to this user.
  public func checkAccess(_ repository: Repository, _ commit: String, _ file: RepositoryFile) throws {
    guard !settings.isOffline, try !cache.has(repository, commit, file) else { return }
    let client = try client(for: "")
    try client.checkAccess(file.address(in: repository, commit, endpoint: settings.endpoint)) { answer in
      client.refused(answer, repository, commit, path: file.path, known: cache.repositories())
    }
  }

  // MARK: Fetching

  /// What fetching has brought.
  public struct Fetched: Sendable {
    /// The snapshot's directory.
    public let directory: String
    /// Bytes that came over the network.
    public let bytes: Int

    public init(directory: String, bytes: Int) { (self.directory, self.bytes) = (directory, bytes) }
  }

  /// Sees to it that files are in the cache, and that the revision is noted there.
  ///
  /// - Parameters:
  ///   - files: those of `files(of:_:)` that are wanted.
  ///   - absent: paths of files that are looked for and not in the list, for other programs that look for them.
  /// - Throws: `HubError`, `FileError`; files that had arrived whole are kept, and what has arrived of others.
  @discardableResult
  public func fetch(
    _ repository: Repository, _ revision: Revision, _ commit: String, _ files: [RepositoryFile], absent: [String] = []
  ) throws -> Fetched {
    let directory = cache.snapshot(repository, commit)
    let missing = try files.filter { try !cache.has(repository, commit, $0) }
    var bytes = 0
    if !missing.isEmpty {
      let client = try client(for: absence(of: repository, revision, missing.map(\.path)))
      try cache.prepare(repository)
      do {
        try checkSpace(repository, missing)
        bytes = try fetch(repository, commit, missing, client)
      } catch let error as HubError where error.kind == .malformed || error.kind == .space {
        // The list may be what is wrong: the next run asks for it again.
        fresh.withLock { $0[commit] = nil }
        cache.forgetListing(repository, commit)
        throw error
      }
    }
    if let listing = fresh.withLock({ $0.removeValue(forKey: commit) }) {
      // A cache that cannot be written to is as good to read.
      do { try cache.setListing(repository, commit, listing) } catch { if !missing.isEmpty { throw error } }
    }
    for path in absent { cache.setAbsent(repository, commit, path) }
    if !missing.isEmpty || cache.commit(of: repository, revision) != commit {
      do { try cache.setCommit(of: repository, revision, commit) } catch { if !missing.isEmpty { throw error } }
    }
    return Fetched(directory: directory, bytes: bytes)
  }

  private func fetch(
    _ repository: Repository, _ commit: String, _ files: [RepositoryFile], _ client: HubClient
  ) throws -> Int {
    // Contents that are here already, as of another commit, only want a link.
    var wanted: [RepositoryFile] = []
    for file in files {
      if cache.hasBlob(repository, file) {
        try cache.link(repository, commit, file)
      } else {
        wanted.append(file)
      }
    }
    if wanted.isEmpty { return 0 }
    observer?.begins(bytes: wanted.reduce(0) { $0 + $1.size }, files: wanted.count)
    // The largest first: they take longest. Files of the same contents are one download.
    let queue = Mutex(wanted.sorted { $0.size < $1.size })
    let outcome = Mutex<(bytes: Int, error: (any Error)?)>((0, nil))
    let done = DispatchGroup()
    for _ in 0..<min(Self.filesAtOnce, wanted.count) {
      done.enter()
      Thread.detachNewThread { [self, observer, cache] in
        defer { done.leave() }
        while outcome.withLock({ $0.error == nil }), let file = queue.withLock({ $0.popLast() }) {
          do {
            let download = BlobDownload(
              client: client, cache: cache, repository: repository, commit: commit, file: file,
              advance: { observer?.advanced(by: $0) }, isWanted: { outcome.withLock { $0.error == nil } })
            let bytes = try download.run()
            outcome.withLock { $0.bytes += bytes }
          } catch {
            outcome.withLock { if $0.error == nil { $0.error = explained(error, repository) } }
          }
        }
      }
    }
    done.wait()
    let (bytes, error) = outcome.withLock { $0 }
    if let error { throw error }
    observer?.finished()
    return bytes
  }

  private func checkSpace(_ repository: Repository, _ files: [RepositoryFile]) throws {
    let there = files.reduce(0) { sum, file in
      sum
        + (FileIdentity(path: cache.partial(repository, file.etag))?.size
          ?? FileIdentity(path: cache.blob(repository, file.etag))?.size ?? 0)
    }
    let wanted = files.reduce(0) { $0 + $1.size } - there
    guard let free = try? freeBytes(in: cache.root), wanted > free else { return }
    throw HubError(
      .space,
      """
      \(repository) wants \(Format.bytes(wanted)) more in \(cache.root), and \(Format.bytes(free)) are free there: make \
      room, or name a folder on a larger disk in HF_HOME
      """)
  }

  /// A full disk, with what is kept and how to go on.
  private func explained(_ error: any Error, _ repository: Repository) -> any Error {
    guard let error = error as? FileError, error.kind == .io else { return error }
    return HubError(
      .space,
      "\(repository) cannot be kept in the hub's cache: \(error). What has arrived is kept; HF_HOME names another place"
    )
  }

  // MARK: What is not there

  /// Says that a revision, or files of it, are not in the cache, and what is.
  func absence(of repository: Repository, _ revision: Revision, _ files: [String] = []) -> Message {
    let commits = cache.commits(of: repository)
    guard !commits.isEmpty else {
      let known = cache.repositories().filter { $0.kind == repository.kind }.map(\.name)
      let near = nearest(repository.name, in: known).map { " (\($0) is)" } ?? ""
      return "\(repository) is not in the cache in \(cache.root)\(near)"
    }
    let names = cache.revisions(of: repository).map { "\($0.name) (\($0.commit.prefix(7)))" }
    let there = names.isEmpty ? commits.map { String($0.prefix(7)) } : names
    guard !files.isEmpty else {
      return "the cache in \(cache.root) has \(repository) at \(there.joined(separator: ", ")), not at \(revision)"
    }
    let some = files.prefix(5).joined(separator: ", ") + (files.count > 5 ? " and \(files.count - 5) more" : "")
    return "the cache in \(cache.root) has \(repository) at \(there.joined(separator: ", ")), without \(some)"
  }
}
