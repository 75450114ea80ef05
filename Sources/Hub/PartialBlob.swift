import Crypto
import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The file that grows while a blob arrives, with the hash of what is in it.
final class PartialBlob {
  private let open: OpenFile
  private let file: RepositoryFile
  private var hash: BlobHash
  /// Bytes in it.
  private(set) var count = 0

  /// Opens it, and reads what an earlier process has left in it.
  init(_ path: String, _ file: RepositoryFile) throws {
    self.file = file
    hash = BlobHash(file)
    open = try OpenFile.updating(path)
    if try open.size() > file.size { try open.truncate() }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    while case let read = try open.read(into: buffer), read > 0 {
      hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<read]))
      count += read
    }
  }

  func append(_ bytes: UnsafeRawBufferPointer) throws {
    try open.write(bytes)
    hash.update(bytes)
    count += bytes.count
  }

  func restart() throws {
    try open.truncate()
    hash = BlobHash(file)
    count = 0
  }

  /// Whether the whole is what the hub lists.
  func isRight() throws -> Bool { count == file.size && hash.digits == file.checksum }

  /// Gives it its name.
  func publish(at blob: String) throws {
    try open.synchronize()
    guard rename(open.path, blob) == 0 else { throw systemError("replace", blob) }
  }
}

/// The checksum by which the hub knows a file: SHA-256 of large ones, git's of small ones.
private enum BlobHash {
  case sha256(SHA256)
  case git(Insecure.SHA1)

  init(_ file: RepositoryFile) {
    if file.sha256 != nil {
      self = .sha256(SHA256())
    } else {
      var hash = Insecure.SHA1()
      hash.update(data: Array("blob \(file.size)\0".utf8))
      self = .git(hash)
    }
  }

  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    switch self {
    case .sha256(var hash):
      hash.update(bufferPointer: bytes)
      self = .sha256(hash)
    case .git(var hash):
      hash.update(bufferPointer: bytes)
      self = .git(hash)
    }
  }

  var digits: String {
    switch self {
    case .sha256(let hash): hexadecimal(hash.finalize())
    case .git(let hash): hexadecimal(hash.finalize())
    }
  }
}
