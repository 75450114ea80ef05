import Crypto

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// SHA-256 of a file's contents, computed once: what is known of an unchanged file is taken from a cache, or from the name
/// that the Hugging Face hub's cache gives it.
public enum ContentHash {
  /// Why there is none, in words that follow the file's name.
  public struct Failure: Error { public let reason: String }

  /// Smaller files are hashed in less time than it takes to look them up.
  package static let worthKeeping = 1 << 20

  /// - Parameters:
  ///   - descriptor: open to read; its offset is left alone.
  ///   - path: its path, for the cache.
  ///   - onlyKnown: do not read a large file.
  ///   - progress: gets the bytes done of this file.
  /// - Returns: 64 hexadecimal digits; nil where `onlyKnown` and it is not.
  /// - Throws: `Failure` when the file cannot be read, or changes meanwhile.
  public static func sha256(
    descriptor: Int32, path: String, cache: HashCache? = .standard, onlyKnown: Bool = false,
    progress: (_ done: Int) -> Void = { _ in }
  ) throws(Failure) -> String? {
    guard let identity = FileIdentity(descriptor: descriptor) else { throw Failure(reason: "is not a regular file") }
    let large = identity.size >= worthKeeping
    let place = large ? realPath(path) : nil
    if let place, let known = hubHash(place, identity) ?? cache?.find(place, identity) {
      progress(identity.size)
      return known
    }
    if onlyKnown, large { return nil }
    let settled = identity.isSettled()
    let hash = try read(descriptor, identity.size, progress)
    guard FileIdentity(descriptor: descriptor) == identity else {
      throw Failure(reason: "was changed while it was read: something else writes to it; run again when it is whole")
    }
    if let place, settled { cache?.insert(place, identity, hash) }
    return hash
  }

  private static func read(_ descriptor: Int32, _ size: Int, _ progress: (Int) -> Void) throws(Failure) -> String {
    var hash = SHA256()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var done = 0
    while done < size {
      let count = pread(descriptor, buffer.baseAddress, min(buffer.count, size - done), off_t(done))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Failure(reason: "cannot be read: \(String(cString: strerror(errno)))") }
      guard count > 0 else {
        let now = FileIdentity(descriptor: descriptor)?.size ?? done
        throw Failure(
          reason: "has shrunk from \(size) to \(now) bytes since it was opened: something else writes to it. Copy or "
            + "download it again, then run the same command again")
      }
      hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      done += count
      if done % (16 << 20) == 0 || done == size { progress(done) }
    }
    return hexadecimal(hash.finalize())
  }

  /// The hash in the name of a large file in the hub's cache: `models--OWNER--NAME/blobs/SHA256`, a regular file.
  ///
  /// In the layout of huggingface_hub 1.33 and later, large files lie in `blobs/2HEX/XETHASH` below the cache's root and are no
  /// SHA-256: they have another shape of path and are read.
  package static func hubHash(_ realPath: String, _ identity: FileIdentity) -> String? {
    let parts = realPath.split(separator: "/")
    guard parts.count >= 3, parts[parts.count - 2] == "blobs" else { return nil }
    let (name, repository) = (parts[parts.count - 1], parts[parts.count - 3])
    guard repository.hasPrefix("models--") || repository.hasPrefix("datasets--"), name.utf8.count == 64,
      name.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }),
      FileIdentity(path: realPath) == identity
    else { return nil }
    return String(name)
  }
}

/// Two digits for each byte.
package func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  let digits = Array("0123456789abcdef".utf8)
  return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}
