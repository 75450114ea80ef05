/// Pointers of git-lfs. A clone made without git-lfs has these small texts in place of its large files; no other kind
/// of damaged checkpoint is as common.
///
/// Source: git-lfs/docs/spec.md ("The Pointer"); the first releases wrote the name hawser.
public enum GitLFS {
  /// Longer files are not pointers: the specification allows less than 1024 bytes.
  public static let maximumLength = 1024

  private static let starts = ["version https://git-lfs", "version https://hawser", "version http://git-media.io"]

  /// Whether a file that starts with these bytes, all of it or its first hundred, is a pointer.
  public static func isPointer(_ start: some Collection<UInt8>) -> Bool {
    starts.contains { start.starts(with: $0.utf8) }
  }

  /// The sentence for the person who named such a file.
  public static func message(_ path: String) -> String {
    "\(path) is only a pointer of git-lfs: the file itself was not downloaded. Run `git lfs pull` in its directory, or "
      + "get the repository with `hf download`"
  }
}
