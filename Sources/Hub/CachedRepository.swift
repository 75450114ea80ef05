import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the cache has of a repository.
public struct CachedRepository: Sendable {
  public let repository: Repository
  public let path: String
  /// Branches and tags, and the commits that they stand for here.
  public let revisions: [(name: String, commit: String)]
  /// Commits of which files are here, whether a revision stands for them or not.
  public let commits: [String]
  /// Bytes of all contents, each counted once; those shared with other repositories too.
  public let bytes: Int
  /// Bytes of files that were not fetched to their end.
  public let partialBytes: Int
}

extension HubCache {
  /// Everything that it has, by name.
  public func contents() -> [CachedRepository] {
    repositories().map { repository in
      let blobs = join(folder(repository), "blobs")
      var (bytes, partial) = (0, 0)
      for name in (try? names(in: blobs)) ?? [] {
        let size = FileIdentity(path: join(blobs, name))?.size ?? 0
        if name.hasSuffix(".coppice-partial") || name.hasSuffix(".incomplete") {
          partial += size
        } else {
          bytes += size
        }
      }
      return CachedRepository(
        repository: repository, path: folder(repository), revisions: revisions(of: repository),
        commits: commits(of: repository), bytes: bytes, partialBytes: partial)
    }
  }
}
