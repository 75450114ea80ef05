import Files
import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The cache of huggingface_hub, read and written as its own programs do, which may be at work there at the same time.
///
/// ```
/// ROOT/models--OWNER--NAME/refs/main                 the commit of a branch
///                          snapshots/COMMIT/PATH     a link to ../../blobs/ETAG
///                          blobs/ETAG                contents, or a link to ROOT/blobs/2HEX/XETHASH
///                          trees/COMMIT.json         the list of all files, where all of them were fetched
///                          .coppice/COMMIT.json      the same list, where only some were
///                          .no_exist/COMMIT/PATH     an optional file that is not there
/// ROOT/.locks/models--OWNER--NAME/ETAG.lock
/// ```
///
/// huggingface_hub takes a list in `trees/` for the promise that every file in it is cached, so that a list beside only some
/// of the files has a place of its own.
public struct HubCache: Sendable {
  public let root: String

  /// - Parameter root: relative to the working directory as it is now, or absolute.
  public init(root: String) { self.root = root.hasPrefix("/") ? root : join(resolvedPath("."), root) }

  package func folder(_ repository: Repository) -> String { join(root, repository.folder) }
  package func snapshot(_ repository: Repository, _ commit: String) -> String {
    join(folder(repository), "snapshots/\(commit)")
  }
  package func blob(_ repository: Repository, _ etag: String) -> String { join(folder(repository), "blobs/\(etag)") }
  /// What was fetched of a blob so far. No other program goes on with it, and none of its files has this name.
  func partial(_ repository: Repository, _ etag: String) -> String { blob(repository, etag) + ".coppice-partial" }

  // MARK: Revisions

  /// The commit that the cache has for a revision; nil where it has none.
  package func commit(of repository: Repository, _ revision: Revision) -> String? {
    if revision.isCommit {
      return kind(of: snapshot(repository, revision.name)) == .directory ? revision.name : nil
    }
    let path = join(folder(repository), "refs/" + revision.name)
    guard let bytes = try? WholeFile.read(path, limit: 4096) else { return nil }
    let commit = String(decoding: bytes, as: UTF8.self).trimmed
    return isHexadecimal(commit, digits: 40) ? commit : nil
  }

  /// Notes what a revision stands for.
  package func setCommit(of repository: Repository, _ revision: Revision, _ commit: String) throws {
    guard !revision.isCommit, self.commit(of: repository, revision) != commit else { return }
    let path = join(folder(repository), "refs/" + revision.name)
    try AtomicFile.makeDirectory(try split(path).parent)
    try AtomicFile.write(commit, to: path)
  }

  /// The branches and tags that the cache knows, with their commits.
  package func revisions(of repository: Repository) -> [(name: String, commit: String)] {
    files(below: join(folder(repository), "refs")).compactMap { name in
      guard let revision = try? Revision(name) else { return nil }
      return commit(of: repository, revision).map { (name, $0) }
    }
  }

  /// The commits of which something is cached.
  package func commits(of repository: Repository) -> [String] {
    ((try? names(in: join(folder(repository), "snapshots"))) ?? []).filter { isHexadecimal($0, digits: 40) }
  }

  /// Repositories of which something is cached, by name.
  public func repositories() -> [Repository] {
    ((try? names(in: root)) ?? []).compactMap { Repository(folder: $0) }
      .filter { kind(of: join(folder($0), "snapshots")) == .directory }
  }

  // MARK: Files

  /// The paths of the files below a folder, in the order of their bytes.
  func files(below folder: String) -> [String] {
    var found: [String] = []
    func collect(_ below: String, depth: Int) {
      let place = below.isEmpty ? folder : join(folder, below)
      for name in (try? names(in: place)) ?? [] {
        let path = below.isEmpty ? name : below + "/" + name
        switch kind(of: join(folder, path)) {
        case .directory: if depth < 16 { collect(path, depth: depth + 1) }
        case .file: found.append(path)
        default: break
        }
      }
    }
    collect("", depth: 0)
    return found.sorted(by: isBefore)
  }

  /// The place of a cached file; nil where it is not there.
  ///
  /// - Throws: `HubError` for a link that leads out of the cache.
  package func file(_ repository: Repository, _ commit: String, _ path: String) throws -> String? {
    let place = join(snapshot(repository, commit), path)
    guard isSafePath(path), kind(of: place) == .file else { return nil }
    try checkInside(place, repository)
    return place
  }

  /// Whether a file is there, of the size that the hub lists.
  ///
  /// - Throws: `HubError` for a link that leads out of the cache.
  package func has(_ repository: Repository, _ commit: String, _ file: RepositoryFile) throws -> Bool {
    try self.file(repository, commit, file.path).map { FileIdentity(path: $0)?.size == file.size } ?? false
  }

  /// Whether the contents of a file are there, of the size that the hub lists, whatever snapshots have them.
  func hasBlob(_ repository: Repository, _ file: RepositoryFile) -> Bool {
    FileIdentity(path: blob(repository, file.etag))?.size == file.size
  }

  /// Refuses a path whose links lead out of the cache, or out of the repository's folder, which may lie on another disk.
  func checkInside(_ path: String, _ repository: Repository) throws {
    let real = resolvedPath(path)
    let roots = [root, folder(repository)].map { resolvedPath($0) + "/" }
    guard roots.contains(where: { real.hasPrefix($0) }) else {
      throw HubError(
        .malformed,
        """
        \(path) is a link out of the cache, to \(real): no hub's client makes such links, so it is not used. Remove \
        \(folder(repository)) and download it again
        """)
    }
  }

  // MARK: Lists of files

  /// All files at a commit, where a client has noted them.
  package func listing(_ repository: Repository, _ commit: String) -> [RepositoryFile]? {
    for folder in ["trees", ".coppice"] {
      let path = join(self.folder(repository), "\(folder)/\(commit).json")
      guard let json = try? WholeFile.json(path, limit: 1 << 30) else { continue }
      if let files = TreeFile.files(json, of: repository) { return files }
    }
    return nil
  }

  /// The files of a snapshot, as their links tell of them: for caches of clients that note no lists.
  func snapshotFiles(_ repository: Repository, _ commit: String) -> [RepositoryFile] {
    let snapshot = snapshot(repository, commit)
    return files(below: snapshot).compactMap { path in
      let place = join(snapshot, path)
      guard let etag = linkTarget(place).map(lastName) else { return nil }
      return try? RepositoryFile(
        path: path, size: FileIdentity(path: place)?.size,
        // Git's hash of a large file is that of its pointer, which is not known here.
        blobID: isHexadecimal(etag, digits: 40) ? etag : String(repeating: "0", count: 40),
        sha256: isHexadecimal(etag, digits: 64) ? etag : nil, xetHash: nil, of: repository)
    }
  }

  package func setListing(_ repository: Repository, _ commit: String, _ files: [RepositoryFile]) throws {
    try writeListing(repository, commit, files, in: ".coppice")
  }

  /// Makes the list huggingface_hub's own where every file of it is cached.
  package func publishListing(_ repository: Repository, _ commit: String, _ files: [RepositoryFile]) throws {
    let snapshot = snapshot(repository, commit)
    guard files.allSatisfy({ FileIdentity(path: join(snapshot, $0.path))?.size == $0.size }) else { return }
    try writeListing(repository, commit, files, in: "trees")
  }

  /// Forgets a list that Coppice has noted, so that it is asked for again.
  func forgetListing(_ repository: Repository, _ commit: String) {
    unlink(join(folder(repository), ".coppice/\(commit).json"))
  }

  private func writeListing(
    _ repository: Repository, _ commit: String, _ files: [RepositoryFile], in name: String
  ) throws {
    let folder = join(folder(repository), name)
    try AtomicFile.makeDirectory(folder)
    try AtomicFile.write(TreeFile.json(files).serialized(indent: 1), to: join(folder, "\(commit).json"))
  }

  /// Notes that an optional file is not there, so that others need not ask either.
  package func setAbsent(_ repository: Repository, _ commit: String, _ path: String) {
    let note = join(folder(repository), ".no_exist/\(commit)/\(path)")
    guard kind(of: note) == .absent, let parent = try? split(note).parent else { return }
    // It only saves time.
    try? AtomicFile.makeDirectory(parent)
    try? AtomicFile.write("", to: note)
  }

  // MARK: Making it

  /// Makes the folders of a repository, and marks the cache for programs that make backups.
  package func prepare(_ repository: Repository) throws {
    for name in ["blobs", "refs", "snapshots"] { try AtomicFile.makeDirectory(join(folder(repository), name)) }
    try AtomicFile.makeDirectory(join(root, ".locks/\(repository.folder)"))
    let tag = join(root, "CACHEDIR.TAG")
    if kind(of: tag) == .absent {
      try AtomicFile.write(
        """
        Signature: 8a477f597d28d172789f06886806bc55
        # This file is a cache directory tag created by Coppice, in the layout of huggingface_hub.
        # For information about cache directory tags, see: https://bford.info/cachedir/

        """, to: tag)
    }
  }

  /// Puts a blob into a snapshot.
  ///
  /// - Throws: `FileError`; `HubError` for a folder that is a link out of the cache.
  package func link(_ repository: Repository, _ commit: String, _ file: RepositoryFile) throws {
    let snapshot = snapshot(repository, commit)
    let place = join(snapshot, file.path)
    if try has(repository, commit, file) { return }
    let (parent, name) = try split(place)
    try checkInside(parent, repository)
    try AtomicFile.makeDirectory(parent)
    let up = String(repeating: "../", count: 2 + file.path.utf8.count { $0 == UInt8(ascii: "/") })
    let temporary = join(parent, ".\(name).coppice-\(getpid())")
    unlink(temporary)
    guard symlink("\(up)blobs/\(file.etag)", temporary) == 0 else {
      guard [EPERM, ENOTSUP, EOPNOTSUPP, ENOSYS].contains(errno) else { throw systemError("create", temporary) }
      // A file system without links has the contents in the snapshot alone.
      guard rename(blob(repository, file.etag), place) == 0 else { throw systemError("create", place) }
      return
    }
    guard rename(temporary, place) == 0 else {
      let error = systemError("create", place)
      unlink(temporary)
      throw error
    }
  }

  /// Links a blob to the store that newer versions of huggingface_hub share between repositories; false where it is not
  /// there, or is not what its name says.
  ///
  /// Source: `_shared_blobs.py` of huggingface_hub 2.4.
  func linkShared(_ repository: Repository, _ file: RepositoryFile) -> Bool {
    guard let xetHash = file.xetHash, let sha256 = file.sha256 else { return false }
    let store = join(root, "blobs"), entry = join(store, "\(xetHash.prefix(2))/\(xetHash)")
    let marker = join(store, ".huggingface-shared-blobs")
    var status = stat()
    guard (try? WholeFile.read(marker, limit: 64)).map({ $0 == Array("1\n".utf8) }) ?? false,
      lstat(entry, &status) == 0, status.st_mode & S_IFMT == S_IFREG, Int(status.st_size) == file.size,
      let (opened, _) = try? OpenFile.reading(entry),
      (try? ContentHash.sha256(descriptor: opened.descriptor, path: entry)) == sha256
    else { return false }
    // Under the lock of those who remove unused entries; the reference is noted before the link is there.
    guard let lock = try? OpenFile.updating(entry + ".lock") else { return false }
    fchmod(lock.descriptor, 0o666)
    while flock(lock.descriptor, LOCK_EX) != 0 { guard errno == EINTR else { return false } }
    defer { withExtendedLifetime(lock) {} }
    guard lstat(entry, &status) == 0 else { return false }
    let manifest = open(entry + ".refs", O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o666)
    guard manifest >= 0 else { return false }
    defer { close(manifest) }
    let line = Array("\(repository.folder)/blobs/\(file.etag)\n".utf8)
    guard write(manifest, line, line.count) == line.count, fsync(manifest) == 0 else { return false }
    return symlink("../../blobs/\(xetHash.prefix(2))/\(xetHash)", blob(repository, file.etag)) == 0
  }
}

/// What a link says; nil for what is none.
private func linkTarget(_ path: String) -> String? {
  var buffer = [CChar](repeating: 0, count: 4096)
  let count = readlink(path, &buffer, buffer.count)
  guard count > 0, count < buffer.count else { return nil }
  return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
