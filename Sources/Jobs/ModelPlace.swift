import Checkpoint
import Files
import Hub
import Messages
import Synchronization

/// Where a model is found: a directory of its own, or a snapshot in the hub's cache.
public enum ModelPlace {
  /// The directory that a name means. What a model of the hub lacks in the cache is fetched.
  ///
  /// A revision that the cache has is used as it is, without asking the hub for a newer commit: a run that goes on does so
  /// with the model that it began with. `download` asks.
  ///
  /// - Parameters:
  ///   - model: a local directory, or the hub's name of a model, with `@REVISION` after it or not.
  ///   - revision: a branch, tag or commit, for a name of the hub; nil: `main`.
  ///   - beforeWeights: called when weights are about to be fetched, for what else could be in the way.
  /// - Throws: `RunError`, `HubError`, `FileError`; what `beforeWeights` throws.
  public static func directory(
    _ model: String, revision: String? = nil, need: ModelNeed = .everything, events: RunEvents,
    beforeWeights: () throws -> Void = {}
  ) throws -> String {
    switch kind(of: model) {
    case .directory:
      if let revision {
        throw RunError("\(model) is a directory, which has no revision \(revision); leave \(parameter: "revision") out")
      }
      return model
    case .absent: break
    default:
      throw RunError(
        "\(model) is a file; \(parameter: "hf_model_name_or_path") wants the directory with config.json in it")
    }
    guard let (repository, revision) = try hubName(model, revision: revision, .model) else {
      throw RunError("there is no directory \(model)")
    }
    do { return try snapshot(repository, revision, need, events, beforeWeights).directory } catch let error as HubError
      where error.kind == .missing || error.kind == .offline
    {
      throw RunError("there is no directory \(model), and \(error)")
    }
  }

  /// A name of the hub in its parts; nil for what can be none.
  ///
  /// - Throws: `RequestError` for a revision that is given twice; `HubError` for one that can be none.
  static func hubName(
    _ text: String, revision: String?, _ kind: RepositoryKind
  ) throws -> (repository: Repository, revision: Revision)? {
    let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard Repository.isName(parts[0]) else { return nil }
    if parts.count > 1, let revision, revision != parts[1] {
      throw RequestError("\(text) and \(parameter: "revision") \(revision) name two revisions; give one of them")
    }
    let name = revision ?? (parts.count > 1 ? parts[1] : nil)
    return (try Repository(parts[0], kind), try name.map { try Revision($0) } ?? .main)
  }

  /// A snapshot of a model with all that is needed in it.
  static func snapshot(
    _ repository: Repository, _ revision: Revision, _ need: ModelNeed, _ events: RunEvents,
    _ beforeWeights: () throws -> Void
  ) throws -> Hub.Fetched {
    let hub = try Hub(observer: HubEvents(events))
    if let commit = hub.cachedCommit(of: repository, revision) {
      let missing = try missing(hub, repository, commit, need)
      if missing.isEmpty {
        if !revision.isCommit { try events.note(.cachedModel("\(repository)", revision.name, commit: commit)) }
        return Hub.Fetched(directory: hub.cache.snapshot(repository, commit), bytes: 0)
      }
      try hub.checkOnline(repository, revision, missing)
    }
    let commit = try hub.commit(of: repository, revision)
    return try fetch(hub, repository, revision, commit, try hub.files(of: repository, commit), need, beforeWeights)
      .fetched
  }

  /// Fetches what is needed of a commit.
  ///
  /// - Parameter listing: all files at the commit.
  static func fetch(
    _ hub: Hub, _ repository: Repository, _ revision: Revision, _ commit: String, _ listing: [RepositoryFile],
    _ need: ModelNeed, _ beforeWeights: () throws -> Void = {}
  ) throws -> (wanted: [RepositoryFile], fetched: Hub.Fetched) {
    let files = ModelFiles(repository: repository, files: listing)
    let settings = try files.settings(need)
    let first = try hub.fetch(repository, revision, commit, settings, absent: files.absent)
    guard need == .everything else { return (settings, first) }
    let weights = try files.weights(index: try hub.cache.file(repository, commit, ModelFiles.index))
    if try weights.contains(where: { try !hub.cache.has(repository, commit, $0) }) { try beforeWeights() }
    let fetched = try hub.fetch(repository, revision, commit, weights)
    return (settings + weights, Hub.Fetched(directory: fetched.directory, bytes: first.bytes + fetched.bytes))
  }

  /// Whether weights of a model lie in the hub's cache in part only, as after a download that was cut short.
  package static func hasPartOfWeights(_ directory: String) -> Bool {
    guard resolvedPath(directory).split(separator: "/").dropLast().last == "snapshots",
      let index = try? ShardIndex(path: join(directory, ModelFiles.index))
    else { return false }
    return index.files.contains { kind(of: join(directory, $0)) == .absent }
  }

  /// What a snapshot lacks of all that is needed of it. Where no list of the repository's files is known, as in caches of
  /// older clients, of what no checkpoint does without.
  static func missing(
    _ hub: Hub, _ repository: Repository, _ commit: String, _ need: ModelNeed
  ) throws -> [String] {
    let index = try hub.cache.file(repository, commit, ModelFiles.index)
    if let listing = hub.cache.listing(repository, commit) {
      let files = ModelFiles(repository: repository, files: listing)
      let settings = try files.settings(need).filter { try !hub.cache.has(repository, commit, $0) }
      // Without the index it is not known which weights there are.
      guard settings.isEmpty, need == .everything else { return settings.map(\.path) }
      return try files.weights(index: index).filter { try !hub.cache.has(repository, commit, $0) }.map(\.path)
    }
    var wanted = [ModelFiles.config]
    if need != .config { wanted.append("tokenizer.json") }
    if need == .everything {
      let isWhole = try hub.cache.file(repository, commit, ModelFiles.weights) != nil
      wanted += isWhole ? [] : try index.map { try ShardIndex(path: $0).files } ?? [ModelFiles.weights]
    }
    return try wanted.filter { try hub.cache.file(repository, commit, $0) == nil }
  }
}

/// Tells a run's listeners what is fetched for it.
final class HubEvents: HubObserver {
  private struct State {
    var progress: RunProgress?
    var done = 0
  }

  private let events: RunEvents
  private let state = Mutex(State())

  init(_ events: RunEvents) { self.events = events }

  /// Less is there before anybody reads of it.
  private static let worthTelling = 1 << 20

  func begins(bytes: Int, files: Int) {
    if bytes < Self.worthTelling { return }
    state.withLock { $0 = State(progress: events.progress("download", total: bytes, unit: "bytes")) }
  }

  func advanced(by bytes: Int) {
    state.withLock { state in
      state.done += bytes
      state.progress?.update(max(state.done, 0))
    }
  }

  func finished() {
    state.withLock { state in
      state.progress?.finish()
      state = State()
    }
  }

  func note(_ text: String) { events.post(.note(.hub(text))) }
}
