import Crypto

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// SHA-256 of files, by path and identity, in one small file of the cache directory. It only saves time: whatever cannot be
/// read, written or believed in it is passed over.
///
/// A line for each file: hash, size, both times, inode, device, a checksum of the line, path. The file is replaced by
/// renaming, under a lock on its directory, so that concurrent runs lose nothing of each other's.
public struct HashCache: Sendable {
  /// The user's.
  public static var standard: HashCache? { Environment.process.cacheDirectory.map(HashCache.init(directory:)) }

  package static let name = "hashes"
  /// Lines that are kept, the newest last.
  package static let limit = 4096

  let directory: String
  private var file: String { directory + "/" + Self.name }

  public init(directory: String) { self.directory = directory }

  package func find(_ path: String, _ identity: FileIdentity) -> String? {
    read().last { $0.path == path && $0.identity == identity }?.hash
  }

  package func insert(_ path: String, _ identity: FileIdentity, _ hash: String) {
    guard !path.utf8.contains(UInt8(ascii: "\n")) else { return }
    try? AtomicFile.makeDirectory(directory)
    let lock = open(directory, O_RDONLY | O_CLOEXEC)
    guard lock >= 0 else { return }
    defer { close(lock) }
    // Waits: others hold it for milliseconds. Where there are no locks, at worst an entry is lost.
    while flock(lock, LOCK_EX) != 0, errno == EINTR {}
    var entries = read().filter { $0.path != path }
    entries.append(Entry(path: path, identity: identity, hash: hash))
    let text = Array(entries.suffix(Self.limit).map { $0.line + "\n" }.joined().utf8)
    // It only saves time: no need to wait for the disk.
    try? text.withUnsafeBytes { try AtomicFile.write($0, to: file, isDurable: false) }
  }

  private func read() -> [Entry] {
    guard let bytes = try? WholeFile.read(file, limit: 16 << 20) else { return [] }
    return bytes.split(separator: UInt8(ascii: "\n")).compactMap { Entry(line: String(decoding: $0, as: UTF8.self)) }
  }

  private struct Entry {
    let path: String
    let identity: FileIdentity
    let hash: String

    init(path: String, identity: FileIdentity, hash: String) {
      (self.path, self.identity, self.hash) = (path, identity, hash)
    }

    /// Nil for a line that is damaged.
    init?(line: String) {
      let parts = line.split(separator: " ", maxSplits: 7, omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 8, parts[0].utf8.count == 64, let size = Int(parts[1]), let modified = Int(parts[2]),
        let changed = Int(parts[3]), let inode = UInt64(parts[4]), let device = UInt64(parts[5])
      else { return nil }
      self.init(
        path: parts[7],
        identity: FileIdentity(size: size, modified: modified, changed: changed, inode: inode, device: device),
        hash: parts[0])
      guard self.line == line else { return nil }
    }

    var line: String {
      let facts =
        "\(hash) \(identity.size) \(identity.modified) \(identity.changed) \(identity.inode) \(identity.device)"
      let checksum = hexadecimal(SHA256.hash(data: Array("\(facts) \(path)".utf8)).prefix(8))
      return "\(facts) \(checksum) \(path)"
    }
  }
}
