import Files
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A directory that appears whole or not at all.
public enum OutputDirectory {
  /// Claims a destination and publishes one directory there; see `OutputClaim`.
  ///
  /// - Parameters:
  ///   - path: must not exist, or be an empty directory. Directories above it are made.
  ///   - claim: a claim on this path that is held already; nil to claim it for the time of this call.
  ///   - build: gets the path of an empty directory to fill.
  /// - Throws: as `OutputClaim` does; whatever `build` throws.
  public static func publish(
    to path: String, claim: OutputClaim? = nil, build: (_ temporary: String) throws -> Void
  ) throws {
    try (claim ?? OutputClaim(path)).publish(build: build)
  }

  /// Writes a file into a directory that is being built. It need not wait for the disk: `publish` does, for all of them.
  public static func write(_ bytes: some Collection<UInt8>, to path: String) throws {
    let file = try OpenFile.creating(path)
    let written: Void? = try bytes.withContiguousStorageIfAvailable { try file.write(UnsafeRawBufferPointer($0)) }
    if written == nil { try Array(bytes).withUnsafeBytes { try file.write($0) } }
  }

  /// Whether a directory holds a whole checkpoint: `config.json` and weights that keep their format's rules.
  public static func isFinished(_ path: String) -> Bool { (try? CheckpointReader(directory: path)) != nil }

  static func refuseOccupied(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR, try names(in: path).isEmpty { return }
    throw occupied(path)
  }

  static func occupied(_ path: String) -> CheckpointError {
    CheckpointError(
      .exists, "\(path) exists already and is left as it is: remove it yourself or choose another output")
  }

  /// The destination of a symbolic link to a directory; the path itself otherwise.
  static func resolved(_ path: String) -> String {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK, kind(of: path) == .directory,
      let real = realpath(path, nil)
    else { return path }
    defer { free(real) }
    return String(cString: real)
  }
}
