import Files
import Foundation
import Hub
import JSON
import Testing

/// The cache as huggingface_hub has it, and what is not used of one that somebody has tampered with.
@Suite struct CacheTests {
  private let commit = String(repeating: "a", count: 40)
  private let blob = String(repeating: "b", count: 40)
  private let sha256 = String(repeating: "c", count: 64)

  private func repository() throws -> Repository { try Repository("Qwen/Qwen3-8B") }

  private func file(_ path: String, size: Int = 2) throws -> RepositoryFile {
    try RepositoryFile(path: path, size: size, blobID: blob, sha256: nil, xetHash: nil, of: repository())
  }

  @Test func revisionsAreFilesWithTheCommit() throws {
    let scratch = try Scratch()
    let (cache, repository) = (HubCache(root: scratch.path), try repository())
    #expect(cache.commit(of: repository, .main) == nil)
    try cache.prepare(repository)
    try cache.setCommit(of: repository, Revision("refs/pr/1"), commit)
    #expect(try String(contentsOfFile: scratch.at("models--Qwen--Qwen3-8B/refs/refs/pr/1"), encoding: .utf8) == commit)
    #expect(try cache.commit(of: repository, Revision("refs/pr/1")) == commit)
    #expect(cache.revisions(of: repository).map(\.name) == ["refs/pr/1"])
    for text in ["", "main", "../../etc", String(repeating: "g", count: 40)] {
      try scratch.write("models--Qwen--Qwen3-8B/refs/main", text)
      #expect(cache.commit(of: repository, .main) == nil)
    }
    try scratch.write("models--Qwen--Qwen3-8B/refs/main", commit + "\n")
    #expect(cache.commit(of: repository, .main) == commit)
    // A commit is there when its snapshot is.
    #expect(try cache.commit(of: repository, Revision(commit)) == nil)
  }

  @Test func snapshotsAreLinksToBlobs() throws {
    let scratch = try Scratch()
    let (cache, repository) = (HubCache(root: scratch.path), try repository())
    try cache.prepare(repository)
    try scratch.write("models--Qwen--Qwen3-8B/blobs/\(blob)", "{}")
    for path in ["config.json", "a/b/c.json"] {
      try cache.link(repository, commit, file(path))
      let place = scratch.at("models--Qwen--Qwen3-8B/snapshots/\(commit)/\(path)")
      let target = try FileManager.default.destinationOfSymbolicLink(atPath: place)
      #expect(target == (path == "config.json" ? "../../blobs/" : "../../../../blobs/") + blob)
      #expect(try cache.file(repository, commit, path) == place)
      // Again, as a second process does.
      try cache.link(repository, commit, file(path))
    }
    #expect(kind(of: scratch.at("CACHEDIR.TAG")) == .file)
    #expect(cache.contents().map(\.bytes) == [2])
  }

  @Test func linksOutOfTheCacheAreRefused() throws {
    let (scratch, elsewhere) = (try Scratch(), try Scratch())
    let (cache, repository) = (HubCache(root: scratch.path), try repository())
    let secret = try elsewhere.write("secret", "{}")
    let snapshot = "models--Qwen--Qwen3-8B/snapshots/\(commit)"
    try scratch.link(snapshot + "/config.json", to: secret)
    try scratch.link("models--Qwen--Qwen3-8B/blobs/\(blob)", to: secret)
    try scratch.link(snapshot + "/tokenizer.json", to: "../../blobs/\(blob)")
    try scratch.link(snapshot + "/folder", to: elsewhere.path)
    for path in ["config.json", "tokenizer.json", "folder/secret"] {
      let said = try #require(message { _ = try cache.file(repository, commit, path) })
      #expect(said.contains("out of the cache"))
    }
    #expect(try cache.file(repository, commit, "../../../x") == nil)
    // Nothing is written through such a folder either.
    #expect(message { try cache.link(repository, commit, file("folder/new")) } != nil)
    #expect(!FileManager.default.fileExists(atPath: elsewhere.at("new")))
  }

  @Test func aRepositoryMayLieOnAnotherDiskAndBlobsInTheSharedStore() throws {
    let (scratch, disk) = (try Scratch(), try Scratch())
    let (cache, repository) = (HubCache(root: scratch.path), try repository())
    let snapshot = "snapshots/\(commit)"
    try disk.write("blobs/\(blob)", "{}")
    try disk.link(snapshot + "/config.json", to: "../../blobs/\(blob)")
    try scratch.link("models--Qwen--Qwen3-8B", to: disk.path)
    #expect(try cache.file(repository, commit, "config.json") != nil)
    let store = "blobs/cc/\(sha256)"
    try scratch.write(store, "weights")
    let other = try Repository("gpt2")
    try scratch.link("models--gpt2/blobs/\(sha256)", to: "../../\(store)")
    try scratch.link("models--gpt2/\(snapshot)/model.safetensors", to: "../../blobs/\(sha256)")
    #expect(try cache.file(other, commit, "model.safetensors") != nil)
  }

  @Test func listsOfFilesAreThoseOfHuggingfaceHub() throws {
    let scratch = try Scratch()
    let (cache, repository) = (HubCache(root: scratch.path), try repository())
    let files = [
      try file("config.json"),
      try RepositoryFile(
        path: "model.safetensors", size: 7, blobID: blob, sha256: sha256, xetHash: sha256, of: repository),
    ]
    try cache.setListing(repository, commit, files)
    #expect(cache.listing(repository, commit) == files)
    // Not as huggingface_hub's own while a file is missing.
    try cache.publishListing(repository, commit, files)
    #expect(kind(of: scratch.at("models--Qwen--Qwen3-8B/trees")) == .absent)
    for (path, text) in [("config.json", "{}"), ("model.safetensors", "weights")] {
      try scratch.write("models--Qwen--Qwen3-8B/snapshots/\(commit)/\(path)", text)
    }
    try cache.publishListing(repository, commit, files)
    let tree = try WholeFile.json(scratch.at("models--Qwen--Qwen3-8B/trees/\(commit).json"))
    #expect(tree["format_version"]?.int == 1)
    #expect(tree["files"]?["model.safetensors"]?["lfs_size"]?.int == 7)
    for damaged in ["", "[]", #"{"format_version": 2, "files": {}}"#, #"{"format_version": 1, "files": {"../x": {}}}"#]
    {
      try scratch.write("models--Qwen--Qwen3-8B/trees/\(commit).json", damaged)
      #expect(cache.listing(repository, commit) == files)
    }
  }

  @Test func entriesThatNameNoFileBelowTheRootAreRefused() throws {
    let repository = try repository()
    for path in ["../x", "/etc/passwd", "a/../../b", "a\\b", "", "a\u{0}b"] {
      #expect(throws: HubError.self) { try file(path) }
    }
    for (blobID, sha) in [("", nil), ("../../x", nil), (blob, "../x"), (sha256, nil), (blob.uppercased(), nil)] {
      #expect(throws: HubError.self) {
        try RepositoryFile(path: "a", size: 1, blobID: blobID, sha256: sha, xetHash: nil, of: repository)
      }
    }
    #expect(throws: HubError.self) { try file("a", size: -1) }
  }

  @Test func offlineItSaysWhatIsThere() throws {
    let scratch = try Scratch()
    let settings = HubSettings(environment(["HF_HUB_CACHE": scratch.path, "HF_HUB_OFFLINE": "1"]))
    let (hub, repository) = (try Hub(settings), try repository())
    func said(_ body: () throws -> Void) -> String { message(body) ?? "" }
    let nothing = said { _ = try hub.commit(of: repository, .main) }
    for text in ["Qwen/Qwen3-8B", scratch.path, "HF_HUB_OFFLINE"] { #expect(nothing.contains(text)) }
    try scratch.write("models--Qwen--Qwen3-8B/refs/main", commit)
    try scratch.write("models--Qwen--Qwen3-8B/snapshots/\(commit)/config.json", "{}")
    let other = said { _ = try hub.commit(of: repository, Revision("v2")) }
    for text in ["main (aaaaaaa)", "not at v2"] { #expect(other.contains(text)) }
    let near = said { _ = try hub.commit(of: Repository("Qwen/Qwen3-8b"), .main) }
    #expect(near.contains("Qwen/Qwen3-8B is"))
    let missing = said { _ = try hub.fetch(repository, .main, commit, [file("tokenizer.json")]) }
    #expect(missing.contains("without tokenizer.json"))
    // What is there needs nobody to be asked.
    #expect(try hub.fetch(repository, .main, commit, [file("config.json")]).bytes == 0)
  }
}
