import Files
import Foundation
import Testing

/// Hashes of contents, computed once.
@Suite struct ContentHashTests {
  private let identity = FileIdentity(size: 5, modified: 1, changed: 2, inode: 3, device: 4)
  private func hash(_ digit: Character) -> String { String(repeating: digit, count: 64) }

  private func sha256(_ path: String, cache: HashCache?, onlyKnown: Bool = false) throws -> String? {
    let file = try #require(FileHandle(forReadingAtPath: path))
    return try ContentHash.sha256(
      descriptor: file.fileDescriptor, path: path, cache: cache, onlyKnown: onlyKnown)
  }

  @Test func isTheHashOfTheContents() throws {
    let scratch = try Scratch()
    // FIPS 180-2, appendix B.
    let abc = try scratch.write("abc", Array("abc".utf8))
    #expect(
      try sha256(abc, cache: nil) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    let million = try scratch.write("million", Array(repeating: UInt8(ascii: "a"), count: 1_000_000))
    #expect(
      try sha256(million, cache: nil) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test func aFileThatWasJustWrittenIsNotRemembered() throws {
    let scratch = try Scratch()
    let cache = HashCache(directory: scratch.at("cache"))
    let file = try scratch.write("file", Array(repeating: 1, count: ContentHash.worthKeeping))
    let first = try sha256(file, cache: cache)
    #expect(try sha256(file, cache: cache, onlyKnown: true) == nil)
    // What is kept of it counts as long as the system says it is the same file.
    cache.insert(file, try #require(FileIdentity(path: file)), hash("a"))
    #expect(try sha256(file, cache: cache, onlyKnown: true) == hash("a"))
    // The same size and time of modification, other contents.
    let modified = try FileManager.default.attributesOfItem(atPath: file)[.modificationDate]
    let handle = try #require(FileHandle(forWritingAtPath: file))
    try handle.write(contentsOf: Data([2]))
    try handle.close()
    try FileManager.default.setAttributes([.modificationDate: try #require(modified)], ofItemAtPath: file)
    #expect(try sha256(file, cache: cache, onlyKnown: true) == nil)
    #expect(try sha256(file, cache: cache) != first)
  }

  @Test func lookingUpNeedsEveryFactToAgree() throws {
    let scratch = try Scratch()
    let cache = HashCache(directory: scratch.at("deep/er/cache"))
    cache.insert("/a file", identity, hash("a"))
    cache.insert("/b", identity, hash("b"))
    #expect(cache.find("/a file", identity) == hash("a"))
    #expect(cache.find("/b", identity) == hash("b"))
    #expect(cache.find("/c", identity) == nil)
    for other in [
      FileIdentity(size: 6, modified: 1, changed: 2, inode: 3, device: 4),
      FileIdentity(size: 5, modified: 2, changed: 2, inode: 3, device: 4),
      FileIdentity(size: 5, modified: 1, changed: 3, inode: 3, device: 4),
      FileIdentity(size: 5, modified: 1, changed: 2, inode: 4, device: 4),
      FileIdentity(size: 5, modified: 1, changed: 2, inode: 3, device: 5),
    ] { #expect(cache.find("/b", other) == nil) }
    // A path has one entry, and nothing but the file lies there.
    cache.insert("/b", identity, hash("d"))
    #expect(cache.find("/b", identity) == hash("d"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.at("deep/er/cache")) == [HashCache.name])
  }

  @Test func aDamagedLineIsPassedOver() throws {
    let scratch = try Scratch()
    let cache = HashCache(directory: scratch.path)
    cache.insert("/a", identity, hash("a"))
    cache.insert("/b", identity, hash("b"))
    let file = URL(fileURLWithPath: scratch.at(HashCache.name))
    let good = try Data(contentsOf: file)
    for bit in 0..<good.count * 8 {
      var bad = good
      bad[bit / 8] ^= 1 << (bit % 8)
      try bad.write(to: file)
      for (path, right) in [("/a", hash("a")), ("/b", hash("b"))] {
        let found = cache.find(path, identity)
        #expect(found == nil || found == right, "bit \(bit)")
      }
    }
    try Data("no such thing\n".utf8).write(to: file)
    cache.insert("/c", identity, hash("c"))
    #expect(cache.find("/c", identity) == hash("c"))
  }

  @Test func itTakesTheEntriesOfConcurrentRuns() async throws {
    let scratch = try Scratch()
    let cache = HashCache(directory: scratch.path)
    let (identity, value) = (identity, hash("a"))
    await withTaskGroup(of: Void.self) { group in
      for writer in 0..<4 {
        group.addTask { for n in 0..<10 { cache.insert("/\(writer)/\(n)", identity, value) } }
      }
    }
    for writer in 0..<4 { for n in 0..<10 { #expect(cache.find("/\(writer)/\(n)", identity) == value) } }
    // Nowhere to write is no error.
    HashCache(directory: "/proc/nowhere").insert("/a", identity, value)
    HashCache(directory: scratch.at(HashCache.name) + "/x").insert("/a", identity, value)
  }

  @Test func theHubsBlobsAreNamedByTheirHash() throws {
    let scratch = try Scratch()
    let name = hash("e")
    for folder in ["models--a--b/blobs", "models--a--b/snapshots/1", "blobs/ee", "other/blobs"] {
      try FileManager.default.createDirectory(atPath: scratch.at(folder), withIntermediateDirectories: true)
    }
    let bytes = [UInt8](repeating: 3, count: ContentHash.worthKeeping)
    let real = try scratch.write("plain", bytes)
    let own = try sha256(real, cache: nil)
    func snapshot(to target: String) throws -> String {
      let link = scratch.at("models--a--b/snapshots/1/model.safetensors")
      try? FileManager.default.removeItem(atPath: link)
      try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target)
      return link
    }
    // A snapshot's link to a blob.
    try scratch.write("models--a--b/blobs/" + name, bytes)
    #expect(try sha256(snapshot(to: "../../blobs/" + name), cache: nil, onlyKnown: true) == name)
    // The shared store of newer hubs: the blob is a link, and what it leads to is named by another hash.
    try FileManager.default.removeItem(atPath: scratch.at("models--a--b/blobs/" + name))
    try scratch.write("blobs/ee/" + name, bytes)
    try FileManager.default.createSymbolicLink(
      atPath: scratch.at("models--a--b/blobs/" + name), withDestinationPath: "../../blobs/ee/" + name)
    #expect(try sha256(snapshot(to: "../../blobs/" + name), cache: nil, onlyKnown: true) == nil)
    #expect(try sha256(snapshot(to: "../../blobs/" + name), cache: nil) == own)
    // Small files have shorter names, and other folders say nothing.
    for place in ["models--a--b/blobs/" + String(repeating: "e", count: 40), "other/blobs/" + name] {
      try scratch.write(place, bytes)
      #expect(try sha256(scratch.at(place), cache: nil) == own)
    }
  }
}
