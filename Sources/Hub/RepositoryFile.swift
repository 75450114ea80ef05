package import JSON

/// A file of a repository at one commit.
public struct RepositoryFile: Sendable, Equatable {
  /// Below the repository's root.
  public let path: String
  /// Bytes.
  public let size: Int
  /// Git's SHA-1 of the blob; of a large file that is the hash of its pointer.
  let blobID: String
  /// SHA-256 of the contents; nil for small files.
  public let sha256: String?
  /// What the Xet store calls it, by which huggingface_hub shares files between repositories.
  let xetHash: String?

  /// The name of its blob in the cache, which is what the hub gives as its ETag.
  var etag: String { sha256 ?? blobID }
  func address(in repository: Repository, _ commit: String, endpoint: String) -> String {
    "\(endpoint)/\(repository.path)/resolve/\(commit)/\(escaped(path))"
  }

  /// The contents' checksum: SHA-256, or git's SHA-1 of a small file.
  public var checksum: String { etag }

  /// - Throws: `HubError` for an entry that names no file below the root, or whose hashes are none.
  package init(path: String, size: Int?, blobID: String?, sha256: String?, xetHash: String?, of repository: Repository)
    throws
  {
    func wrong(_ problem: String) -> HubError {
      HubError(
        .malformed,
        "the hub's list of \(repository) names the file \(String(path.prefix(200)).debugDescription), \(problem)")
    }
    guard isSafePath(path) else { throw wrong("which could be written outside of its folder; nothing is fetched") }
    guard let size, size >= 0 else { throw wrong("without a size") }
    guard let blobID, isHexadecimal(blobID, digits: 40) else { throw wrong("without git's hash") }
    guard sha256.map({ isHexadecimal($0, digits: 64) }) ?? true else { throw wrong("whose SHA-256 is none") }
    (self.path, self.size, self.blobID, self.sha256) = (path, size, blobID, sha256)
    self.xetHash = xetHash.flatMap { isHexadecimal($0, digits: 64) ? $0 : nil }
  }
}

/// All files of a repository at one commit, as kept beside its snapshots: huggingface_hub's `trees/SHA.json`.
///
/// Source: `_tree_cache.py` of huggingface_hub 2.4.
package enum TreeFile {
  package static func json(_ files: [RepositoryFile]) -> JSON {
    let entries = files.map { file -> (String, JSON) in
      var members: [(String, JSON)] = [("size", .int(file.size)), ("blob_id", .text(file.blobID))]
      if let sha256 = file.sha256 { members += [("lfs_sha256", .text(sha256)), ("lfs_size", .int(file.size))] }
      if let xetHash = file.xetHash { members.append(("xet_hash", .text(xetHash))) }
      return (file.path, .object(members))
    }
    return .object([("format_version", .int(1)), ("files", .object(entries))])
  }

  /// Nil for what is no such list, or one that a later version wrote.
  package static func files(_ json: JSON, of repository: Repository) -> [RepositoryFile]? {
    guard json["format_version"]?.int == 1, let files = json["files"]?.object else { return nil }
    return try? files.entries.map { path, entry in
      try RepositoryFile(
        path: path.description, size: entry["lfs_size"]?.int ?? entry["size"]?.int, blobID: entry["blob_id"]?.string,
        sha256: entry["lfs_sha256"]?.string, xetHash: entry["xet_hash"]?.string, of: repository)
    }
  }
}

extension HubClient {
  /// Ten times as many as the hub asks repositories to have at most.
  private static let mostFiles = 1_000_000
  /// Bytes of one answer of the API.
  private static let longestAnswer = 64 << 20

  private func api(_ repository: Repository, _ rest: String) -> String {
    "\(settings.endpoint)/api/\(repository.kind.plural)/\(repository.name)/\(rest)"
  }

  /// The commit that a revision stands for now.
  ///
  /// - Throws: `HubError`.
  func commit(of repository: Repository, _ revision: Revision, known: [Repository]) throws -> String {
    let url = api(repository, "revision/\(escaped(revision.name, keepsSlashes: false))")
    let info = try json(url, limit: Self.longestAnswer) { self.refused($0, repository, revision.name, known: known) }
    guard let commit = info.value["sha"]?.string, isHexadecimal(commit, digits: 40) else {
      throw HubError(.malformed, "\(shown(url)) names no commit of 40 hexadecimal digits in \"sha\": is this a hub?")
    }
    return commit
  }

  /// All files at a commit.
  ///
  /// - Throws: `HubError`, also for lists that name files outside of the repository.
  func files(of repository: Repository, _ commit: String, known: [Repository]) throws -> [RepositoryFile] {
    var files: [RepositoryFile] = []
    var (url, asked) = (api(repository, "tree/\(commit)?recursive=true&expand=false"), Set<String>())
    while true {
      guard asked.insert(url).inserted else {
        throw HubError(.malformed, "the pages of \(shown(url)) lead in a circle")
      }
      let page = try json(url, limit: Self.longestAnswer) { self.refused($0, repository, commit, known: known) }
      guard let entries = page.value.array else {
        throw HubError(.malformed, "\(shown(url)) answers with \(page.value.kind), where a list of files should be")
      }
      for entry in entries {
        guard let type = entry["type"]?.string else {
          throw HubError(.malformed, "\(shown(url)) lists \(entry.kind) without a \"type\": is this a hub?")
        }
        if type != "file" { continue }
        let lfs = entry["lfs"].flatMap { $0.isNull ? nil : $0 }
        files.append(
          try RepositoryFile(
            path: entry["path"]?.string ?? "", size: lfs?["size"]?.int ?? entry["size"]?.int,
            blobID: entry["oid"]?.string, sha256: lfs?["oid"]?.string, xetHash: entry["xetHash"]?.string,
            of: repository))
      }
      guard files.count <= Self.mostFiles else {
        throw HubError(.malformed, "\(repository) lists more than \(Self.mostFiles) files, which are not read")
      }
      guard let next = Self.nextPage(page.head["link"]) else { break }
      let absolute = next.hasPrefix("/") ? originAddress + next : next
      guard Origin(absolute) == Origin(settings.endpoint) else {
        throw HubError(.malformed, "\(shown(url)) goes on at \(shown(absolute)), which is another server")
      }
      url = absolute
    }
    try Self.check(files, of: repository)
    return files.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
  }

  /// Refuses lists that no folder of files can be.
  private static func check(_ files: [RepositoryFile], of repository: Repository) throws {
    let paths = Set(files.map(\.path))
    guard paths.count == files.count else {
      throw HubError(.malformed, "the hub's list of \(repository) names a file twice")
    }
    for path in paths {
      var above = path[...]
      while let slash = above.lastIndex(of: "/") {
        above = above[..<slash]
        guard !paths.contains(String(above)) else {
          throw HubError(
            .malformed, "the hub's list of \(repository) has \(above.prefix(200)) both as a file and as a folder")
        }
      }
    }
  }

  /// Where the hub's copy of a data set in Parquet is, for those that have only a script.
  func hasConverted(_ repository: Repository) throws -> Bool {
    let url = api(repository, "refs")
    let refs = try json(url, limit: Self.longestAnswer) { self.refused($0, repository, "main", known: []) }
    return refs.value["converts"]?.array?.contains { $0["ref"]?.string == "refs/convert/parquet" } ?? false
  }

  private var originAddress: String {
    let endpoint = settings.endpoint
    guard let start = endpoint.firstRange(of: "://") else { return endpoint }
    return String(endpoint[..<(endpoint[start.upperBound...].firstIndex(of: "/") ?? endpoint.endIndex)])
  }

  /// The address in `Link: <ADDRESS>; rel="next"`.
  private static func nextPage(_ link: String?) -> String? {
    for part in link?.split(separator: ",") ?? [] where part.contains("rel=\"next\"") {
      guard let start = part.firstIndex(of: "<"), let end = part[start...].firstIndex(of: ">") else { continue }
      return String(part[part.index(after: start)..<end])
    }
    return nil
  }
}
