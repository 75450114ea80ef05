import Checkpoint
import Foundation
import Testing

@Suite struct CheckpointReaderTests {
  static let one = safetensors(tensor(#""U8""#, "[3]", 0, 3), data: 3)

  static func named(_ name: String) -> [UInt8] {
    safetensors(#"{"\#(name)":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#, data: 3)
  }

  @Test func readsASingleFile() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", #"{"z": 1e-06, "a": null}"#)
    try scratch.write("model.safetensors", Self.one)
    let reader = try CheckpointReader(directory: scratch.path)
    #expect(reader.config.entries.map(\.key.description) == ["z", "a"])
    #expect(reader.configFile == scratch.at("config.json"))
    #expect(reader.tensors.map(\.file) == ["model.safetensors"])
    #expect(reader.entry("a")?.shape == [3])
    #expect(reader.entry("b") == nil)
    #expect(Array(try reader.bytes(of: "a")) == [1, 8, 15])
    #expect(message { _ = try reader.bytes(of: "b") }.contains("no tensor \"b\""))
  }

  @Test func readsShardsInTheOrderOfTheirNames() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    try scratch.write("m-2.safetensors", Self.named("x"))
    try scratch.write("m-1.safetensors", Self.named("y"))
    try scratch.write(
      "model.safetensors.index.json", #"{"weight_map": {"x": "m-2.safetensors", "y": "m-1.safetensors"}}"#)
    let reader = try CheckpointReader(directory: scratch.path)
    #expect(reader.tensors.map(\.name) == ["y", "x"])
    #expect(reader.weightFiles == ["m-1.safetensors", "m-2.safetensors"])
    #expect(Array(try reader.bytes(of: "x")) == [1, 8, 15])
  }

  @Test func followsSymbolicLinksAsTheHubsCacheHasThem() throws {
    let (blobs, scratch) = (try Scratch(), try Scratch())
    try blobs.write("0123", Self.one)
    try scratch.write("config.json", "{}")
    try FileManager.default.createSymbolicLink(
      atPath: scratch.at("model.safetensors"), withDestinationPath: blobs.at("0123"))
    #expect(try CheckpointReader(directory: scratch.path).tensors.count == 1)
  }

  @Test(arguments: [
    (#"{"weight_map": {"a": "../a.safetensors"}}"#, "without any '/'"),
    (#"{"weight_map": {"a": "/etc/a.safetensors"}}"#, "without any '/'"),
    (#"{"weight_map": {"a": "sub/a.safetensors"}}"#, "without any '/'"),
    (#"{"weight_map": {"a": ".."}}"#, "without any '/'"),
    (#"{"weight_map": {"a": ""}}"#, "without any '/'"),
    (#"{"weight_map": {"a": "a\u0000.safetensors"}}"#, "without any '/'"),
    (#"{"weight_map": {"a": "a.bin"}}"#, "pickles"),
    (#"{"weight_map": {"a": 1}}"#, "a number as the file"),
    (#"{"weight_map": []}"#, "weight_map"),
    (#"{"weight_map": {}}"#, "names no tensor"),
    (#"{}"#, "weight_map"),
    (#"[]"#, "a list"),
    (#"{"weight_map": {"a": "a.safetensors"}"#, "not valid JSON"),
    (#"{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}"#, "twice"),
    (#"{"weight_map": {"a": "gone.safetensors"}}"#, "No such file"),
    (#"{"weight_map": {"b": "a.safetensors", "c": "again.safetensors"}}"#, "and again in"),
    (#"{"weight_map": {"a": "b.safetensors", "b": "a.safetensors", "c": "again.safetensors"}}"#, "names neither"),
    ("version https://git-lfs.github.com/spec/v1", "git lfs pull"),
  ])
  func refusesAnIndex(_ index: String, because: String) throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    try scratch.write("a.safetensors", Self.named("a"))
    try scratch.write("b.safetensors", Self.named("b"))
    try scratch.write("again.safetensors", Self.named("a"))
    try scratch.write("a.bin", Self.named("a"))
    try scratch.write("model.safetensors.index.json", index)
    let said = message { _ = try CheckpointReader(directory: scratch.path) }
    #expect(said.contains(because), "\(said)")
  }

  /// What counts is what the shards hold; an index that differs is worth a sentence.
  @Test(arguments: [
    (#"{"a": "a.safetensors", "b": "b.safetensors"}"#, []),
    (#"{"a": "a.safetensors", "b": "b.safetensors", "c": "a.safetensors"}"#, ["names tensor \"c\" that no shard"]),
    (#"{"a": "a.safetensors", "b": "b.safetensors", "c": "gone.safetensors"}"#, ["names tensor \"c\" that no shard"]),
    (#"{"a": "a.safetensors", "c": "b.safetensors"}"#, ["\"c\" that no shard", "does not name tensor \"b\" that is"]),
    (#"{"a": "b.safetensors", "b": "a.safetensors"}"#, ["puts 2 tensors (\"a\", …) into another shard than they are"]),
    (#"{"a": "a.safetensors", "b": "b.safetensors", "d": "again.safetensors"}"#, ["names tensor \"d\""]),
  ])
  func takesWhatTheShardsHold(_ map: String, _ says: [String]) throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    for (file, name) in [("a", "a"), ("b", "b"), ("again", "a")] {
      try scratch.write(file + ".safetensors", Self.named(name))
    }
    try scratch.write("model.safetensors.index.json", #"{"weight_map": \#(map)}"#)
    let reader = try CheckpointReader(directory: scratch.path)
    #expect(reader.tensors.map(\.name) == ["a", "b"])
    #expect(reader.entry("a")?.file == "a.safetensors" && reader.entry("b")?.file == "b.safetensors")
    #expect(reader.indexNotes.count == says.count, "\(reader.indexNotes)")
    for (note, part) in zip(reader.indexNotes, says) { #expect(note.contains(part), "\(note)") }
    #expect(try reader.sha256().count == 64)
  }

  @Test func saysWhereAMissingTensorShouldBe() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    try scratch.write("a.safetensors", Self.named("a"))
    func said(_ map: String) throws -> String {
      try scratch.write("model.safetensors.index.json", #"{"weight_map": \#(map)}"#)
      return try CheckpointReader(directory: scratch.path).whereabouts(ofMissing: ["b"]) ?? ""
    }
    #expect(try said(#"{"a": "a.safetensors", "b": "b.safetensors"}"#).contains("b.safetensors, which is not there"))
    #expect(try said(#"{"a": "a.safetensors", "b": "a.safetensors"}"#).contains("new index can be written"))
    #expect(try said(#"{"a": "a.safetensors"}"#).contains("is a shard missing?"))
    try scratch.write("b.safetensors", Self.named("b"))
    #expect(try said(#"{"a": "a.safetensors"}"#).contains("does not name the file b.safetensors"))
  }

  @Test func saysThatAWeightFileIsAPointerOfGitLFS() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    try scratch.write(
      "model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 7881504\n")
    #expect(message { _ = try CheckpointReader(directory: scratch.path) }.contains("git lfs pull"))
  }

  @Test(arguments: [
    ("pytorch_model.bin", "safe_serialization=True"), ("consolidated.00.pth", "safe_serialization=True"),
    ("pytorch_model.bin.index.json", "safe_serialization=True"), ("model-q4.gguf", "GGUF"),
    ("adapter.safetensors", "rename"), ("README.md", "holds no weights"),
  ])
  func saysWhatToDoWithOtherWeights(file: String, says: String) throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    try scratch.write(file, "x")
    let said = message { _ = try CheckpointReader(directory: scratch.path) }
    #expect(said.contains(says), "\(said)")
  }

  @Test(arguments: ["[]", "", "{", "1", "\u{feff}", #"{"a":1,"a":2}"#])
  func refusesAConfig(_ text: String) throws {
    let scratch = try Scratch()
    try scratch.write("config.json", text)
    try scratch.write("model.safetensors", Self.one)
    #expect(message { _ = try CheckpointReader(directory: scratch.path) }.contains("config.json"))
  }

  @Test func saysWhatIsMissing() throws {
    let scratch = try Scratch()
    #expect(message { _ = try CheckpointReader(directory: scratch.at("gone")) }.contains("there is no directory"))
    #expect(message { _ = try CheckpointReader(directory: scratch.path) }.contains("holds no config.json"))
    try scratch.write("config.json", "{}")
    #expect(message { _ = try CheckpointReader(directory: scratch.at("config.json")) }.contains("is not a directory"))
    #expect(throws: CheckpointError.self) { try CheckpointReader(directory: scratch.path + "\0x") }
    try FileManager.default.createDirectory(
      atPath: scratch.at("model.safetensors"), withIntermediateDirectories: false)
    #expect(message { _ = try CheckpointReader(directory: scratch.path) }.contains("not a regular file"))
  }

  @Test func neverWaitsForAPipe() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    #expect(mkfifo(scratch.at("model.safetensors"), 0o600) == 0)
    #expect(throws: CheckpointError.self) { try CheckpointReader(directory: scratch.path) }
  }

  @Test func noticesAFileThatShrinks() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    try scratch.write("model.safetensors", Self.one)
    let reader = try CheckpointReader(directory: scratch.path)
    #expect(truncate(scratch.at("model.safetensors"), 4) == 0)
    #expect(message { _ = try reader.bytes(of: "a") }.contains("has shrunk"))
  }

  @Test func adviceChangesNoByte() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    let plan = (0..<5).map { PlannedTensor(name: "t\($0)", type: .uint8, shape: [10_000 + $0]) }
    let writer = try CheckpointWriter(directory: scratch.path, tensors: plan)
    for (at, tensor) in plan.enumerated() {
      try writer.write(tensor.name) { append in
        try [UInt8](repeating: UInt8(at + 1), count: tensor.shape[0]).withUnsafeBytes { try append($0) }
      }
    }
    try writer.finish()
    let reader = try CheckpointReader(directory: scratch.path)
    for _ in 0..<3 {
      reader.willNeed(plan.map(\.name) + ["unknown"])
      for (at, tensor) in plan.enumerated() {
        #expect(try reader.bytes(of: tensor.name).allSatisfy { $0 == UInt8(at + 1) })
        reader.release([tensor.name, "unknown"])
      }
      reader.release(plan.map(\.name))
      reader.release([])
    }
  }

  @Test func hashSeesEveryByteOfConfigAndWeights() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    try scratch.write("model.safetensors", Self.one)
    func hash() throws -> String { try CheckpointReader(directory: scratch.path).sha256() }
    let first = try hash()
    #expect(first.count == 64)
    #expect(try hash() == first)
    try scratch.write("config.json", "{ }")
    let second = try hash()
    #expect(second != first)
    try scratch.write("config.json", "{}")
    var bytes = Self.one
    bytes[bytes.count - 1] ^= 1
    try scratch.write("model.safetensors", bytes)
    #expect(try hash() != first)
    var seen: [Int] = []
    _ = try CheckpointReader(directory: scratch.path).sha256 { done, total in seen += [done, total] }
    #expect(seen == [bytes.count, bytes.count])
  }

  @Test func seesThatAFileWasWrittenTo() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    func reader() throws -> CheckpointReader {
      try scratch.write("model.safetensors", Self.one)
      return try CheckpointReader(directory: scratch.path)
    }
    let path = scratch.at("model.safetensors")
    func change(_ reader: CheckpointReader, _ body: () throws -> Void) throws -> String {
      try reader.checkUnchanged()
      _ = try reader.sha256()
      try body()
      return message { try reader.checkUnchanged() }
    }
    #expect(try change(reader()) {}.isEmpty)
    // Neither permissions nor another name are contents.
    #expect(
      try change(reader()) {
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        try FileManager.default.linkItem(atPath: path, toPath: scratch.at("link"))
      }.isEmpty)
    try FileManager.default.removeItem(atPath: scratch.at("link"))
    #expect(
      try change(reader()) {
        usleep(20_000)
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.seek(toOffset: UInt64(Self.one.count - 1))
        try file.write(contentsOf: Data([77]))
      }.contains("model.safetensors was changed while it was used"))
    #expect(
      try change(reader()) { truncate(path, 9) }
        .contains("has shrunk from \(Self.one.count) to 9 bytes"))
    #expect(
      try change(reader()) { try FileManager.default.removeItem(atPath: path) }
        .contains("was removed while it was used"))
    let replaced = try reader()
    #expect(
      try change(replaced) {
        try scratch.write("other", Self.one)
        rename(scratch.at("other"), path)
      }.contains("was changed"))
    // What is mapped is another file than the one at the path.
    #expect(throws: CheckpointError.self) { try replaced.checkUnchanged() }
    let settings = try reader()
    try scratch.write("config.json", #"{"a": 1}"#)
    #expect(message { _ = try settings.sha256() }.contains("config.json was changed"))
  }
}
