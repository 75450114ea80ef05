import Datasets
import Foundation
import JSON
import Testing

/// Names, places, and what is fetched of them.
@Suite struct SourceTests {
  func hub(_ files: [String: String], name: String = "owner/name") throws -> (place: RecordedPlace, keep: Scratch) {
    let scratch = try Scratch()
    for (path, text) in files { try scratch.write(path, text) }
    return (try RecordedPlace(scratch.path, name: name), scratch)
  }

  func line(_ text: String) -> String { "{\"text\": \"\(text)\"}\n" }

  @Test func tellsWhatANameStandsFor() throws {
    func source(_ name: String) throws -> DatasetSource { try #require(DatasetSource.groups([name]).first?.first) }
    #expect(try source("cnn_dailymail").location == .repository("abisee/cnn_dailymail", revision: nil))
    #expect(try source("cnn_dailymail").config == "3.0.0")
    #expect(try source(DatasetRegistry.defaultName).splits == ["stem", "chat", "math", "code"])
    #expect(try source(DatasetRegistry.defaultName).isGated && DatasetRegistry.isGated("cnn_nemotron_v2_mix"))
    #expect(DatasetRegistry.isGated(DatasetRegistry.openText) == false)
    let other = try source("owner/name@v1[config:a,b]")
    #expect(other.location == .repository("owner/name", revision: "v1"))
    #expect(other.config == "config" && other.splits == ["a", "b"])
    #expect(try source("owner/name[:test]").config == nil && source("owner/name[:test]").splits == ["test"])
    #expect(try source("owner/name[c]").splits == [])
    // By its name on the hub it is the same set.
    #expect(try source("nvidia/OpenMathReasoning").splits == ["cot", "tir", "genselect"])
    #expect(try source("cnn_dailymail[2.0.0]").config == "2.0.0")
    #expect(try DatasetSource.groups(["nemotron-post-training-v3"])[0].count == 7)
  }

  @Test(arguments: [
    (["cnn_dailymial"], "is \"cnn_dailymail\" meant?"),
    (["nemotron-post-training-v4"], "is \"nemotron-post-training-v3\""),
    (["wikitxt"], "is \"wikitext\" meant?"), (["open-code-reasoning"], "is \"open_code_reasoning\" meant?"),
    (["multilingual"], "is \"nemotron-sft-multilingual-v1\" meant?"),
    (["something"], "Registered are open_code_reasoning"),
    (["data/train.jsonl"], "there is no file or directory data/train.jsonl"),
    (["./data"], "no file or directory ./data"),
    (["a/b/c"], "no file or directory a/b/c"), (["owner/na me"], "no file or directory"), ([""], "empty"),
    (["../x"], "no file or directory ../x"), (["owner/x.parquet"], "no file or directory owner/x.parquet"),
    (["owner/name[]"], "in brackets"), (["owner/name[a:b,b]"], "in brackets"), (["cnn_nemotron_v2_mix[x]"], "a mix"),
    (["c4", "c4"], "named twice"), (["owner/name", "owner/name"], "named twice"), (["c4", "c4[en]"], "named twice"),
    (["cnn_nemotron_v2_mix", "cnn_nemotron_v2_mix"], "named twice"),
    (["cnn_nemotron_v2_mix", "cnn_dailymail"], "part of the mix"),
    (["c4"], "the hub"), (["owner/name"], "is on the hub, which is not reached"),
  ])
  func saysWhatIsWrongWithANameOrNames(names: [String], because: String) throws {
    let said = message { _ = try CalibrationData(sources: names) }
    #expect(said.contains(because), "\(said)")
  }

  @Test func fetchesNoMoreFilesThanTheRowsNeed() throws {
    var files: [String: String] = ["README.md": "---\nconfigs:\n- config_name: default\n  data_files:\n"]
    for split in ["a", "b"] {
      files["README.md", default: ""] += "  - split: \(split)\n    path: \(split)-*\n"
      for shard in 0..<5 { files["\(split)-\(shard).jsonl"] = (0..<4).map { line("\(split)\(shard)\($0)") }.joined() }
    }
    files["README.md", default: ""] += "---\n"
    let (place, keep) = try hub(files)
    let places = RecordedPlaces(places: ["owner/name": place])
    let data = try CalibrationData(sources: ["owner/name[:a,b]"], places: places)
    _ = try data.fingerprint()
    #expect(place.fetched.isEmpty && data.identities.isEmpty)
    // Sixteen documents for a row, half of them from each split; tokens for the row are there after the first file.
    #expect(try data.pack(encoder: ByteEncoding(), seqLength: 8, count: 1).rows.count == 1)
    #expect(place.fetched == ["a-0.jsonl"])
    #expect(texts(try data.pack(encoder: ByteEncoding(), seqLength: 1000, count: 1).rows).count == 16)
    #expect(place.fetched == ["a-0.jsonl", "a-0.jsonl", "a-1.jsonl", "b-0.jsonl", "b-1.jsonl"])
    withExtendedLifetime(keep) {}
  }

  @Test func fingerprintOfARepositoryIsThatOfItsListing() throws {
    let files = ["train.jsonl": line("a"), "test.jsonl": line("b")]
    let (_, keep) = try hub(files)
    func print(_ commit: String, _ name: String = "owner/name", root: Scratch? = nil) throws -> String {
      let place = try RecordedPlace((root ?? keep).path, name: "owner/name", commit: commit)
      return try CalibrationData(sources: [name], places: RecordedPlaces(places: ["owner/name": place])).fingerprint()
    }
    let first = try print("1")
    #expect(try print("1") == first && print("2") != first)
    #expect(try print("1", "owner/name[:test]") != first && print("1", "owner/name[:train,test]") != first)
    // Local contents are hashed, wherever they lie.
    #expect(try CalibrationData(sources: [keep.path]).fingerprint() != first)
  }

  /// What was kept of earlier runs on the same files is still known: SHA-256 of "source", the number of files, and name,
  /// size and hash of each.
  @Test func fingerprintOfFilesIsWhatItWas() throws {
    let scratch = try Scratch()
    try scratch.write("d/a.jsonl", "{\"text\": \"a\"}\n")
    try scratch.write("d/b.jsonl", "{\"text\": \"b\"}\n")
    #expect(
      try CalibrationData(sources: [scratch.at("d")]).fingerprint()
        == "c9507b8659525d7bad02ea116b879503e429f519bc6e0c8488e8560f50be3d4b")
    #expect(
      try CalibrationData(sources: [scratch.at("d/a.jsonl"), scratch.at("d/b.jsonl")]).fingerprint()
        == "10e566eab9c1a92f3bea006fe1d6aa92c07ece4e3caa1d1481b137363b33bb9b")
  }

  @Test func takesConvertedFilesWhereThereIsOnlyAScript() throws {
    let parquet = Array(try Data(contentsOf: URL(fileURLWithPath: data("many.parquet"))))
    let converted = try Scratch()
    for path in ["default/train/0000.parquet", "default/test/0000.parquet", "big/partial-train/0000.parquet"] {
      try converted.write(path, parquet)
    }
    let scripted = try Scratch()
    try scripted.write("name.py", "print('never')")
    try scripted.write("data/list.txt", "no row")
    func rows(_ name: String, converted: RecordedPlace?) throws -> Int {
      let place = try RecordedPlace(scripted.path, name: "owner/name", converted: converted)
      let data = try CalibrationData(sources: [name], places: RecordedPlaces(places: ["owner/name": place]))
      return texts(try data.pack(encoder: ByteEncoding(), seqLength: 1 << 20, count: 100).rows).count
    }
    let other = try RecordedPlace(converted.path, name: "owner/name (converted)")
    #expect(try rows("owner/name", converted: other) == 1000)
    #expect(try rows("owner/name[big]", converted: other) == 1000)
    #expect(other.fetched == ["default/train/0000.parquet", "big/partial-train/0000.parquet"])
    // A registered name's configuration, which the converted files need not have.
    let place = try RecordedPlace(scripted.path, name: "pg19", converted: other)
    #expect(throws: Never.self) {
      try CalibrationData(sources: ["pg19"], places: RecordedPlaces(places: ["pg19": place]))
    }
    try FileManager.default.removeItem(atPath: scripted.at("data"))
    #expect(message { _ = try rows("owner/name", converted: nil) }.contains("a script instead of data"))
  }

  @Test func aDirectoryWithARegisteredNameHoldsACopyOfIt() throws {
    let scratch = try Scratch()
    try scratch.write("abisee/cnn_dailymail/train.jsonl", #"{"article": "yes", "text": "no"}"# + "\n")
    #expect(try documents(scratch.at("abisee/cnn_dailymail")) == ["yes"])
    // One that is laid out in another manner is read as any directory is.
    try scratch.write("nemotron-math-v2/rows.jsonl", #"{"messages": [1]}"# + "\n")
    let packed = try CalibrationData(sources: [scratch.at("nemotron-math-v2")]).pack(
      encoder: SpyEncoding(), seqLength: 100, count: 1)
    #expect(texts(packed.rows) == ["[[1], null]"])
    try scratch.write("wikitext/train.jsonl", #"{"article": "x"}"# + "\n")
    #expect(
      message { _ = try documents(scratch.at("wikitext")) }.contains("\"text\" is missing; there are \"article\""))
  }

  @Test(arguments: [
    (#"{"instruction": "i", "input": "x", "output": "o"}"#, "i\nx\no"),
    (#"{"instruction": "i", "input": "", "output": "o"}"#, "i\no"),
    (#"{"instruction": "i", "input": null, "output": "o"}"#, "i\no"),
    (#"{"instruction": "i", "input": "x", "output": "o", "text": "t"}"#, "t"),
    (#"{"instruction": null, "input": "x", "output": "o"}"#, "x\no"),
    (#"{"messages": [{"a": 1}], "tools": [], "text": "t"}"#, #"[[{"a": 1}], []]"#),
    (#"{"conversations": "x", "tools": null}"#, #"["x", null]"#),
    (#"{"messages": null, "conversations": [], "tools": "[]"}"#, #"[[], "[]"]"#),
  ])
  func takesTextFromColumns(line: String, text: String) throws {
    let scratch = try Scratch()
    let path = try scratch.write("a.jsonl", line)
    let rows = try CalibrationData(sources: [path]).pack(encoder: SpyEncoding(), seqLength: 1000, count: 1).rows
    #expect(texts(rows) == [text])
  }

  @Test func aTemplateThatRefusesIsSaidWithTheRow() throws {
    struct Refusal: Error, CustomStringConvertible { let description = "roles must alternate" }
    struct Strict: TextEncoding {
      var eosTokenID: Int? { nil }
      func encode(_ text: String) throws -> [Int] { [1] }
      func render(_ conversation: Conversation) throws -> String { throw Refusal() }
    }
    let scratch = try Scratch()
    let path = try scratch.write("a.jsonl", "{\"text\": \"x\"}\n{\"messages\": []}\n")
    let said = message { _ = try CalibrationData(sources: [path]).pack(encoder: Strict(), seqLength: 9, count: 1) }
    #expect(said.contains("a.jsonl:2: column \"messages\" is a chat: roles must alternate"), "\(said)")
  }

  @Test func readsQuestionsOfAPlace() throws {
    let question = MMLUTests.line + "\n"
    let card = """
      ---
      configs:
      - config_name: abstract_algebra
        data_files: abstract_algebra/*
      - config_name: all
        data_files:
        - split: test
          path: all/test-*
        - split: dev
          path: all/dev-*
      ---

      """
    let (place, keep) = try hub(
      [
        "README.md": card, "all/test-00000-of-00001.jsonl": question,
        "all/dev-00000-of-00001.jsonl": question + question,
      ],
      name: "cais/mmlu")
    let places = RecordedPlaces(places: ["cais/mmlu": place])
    #expect(try MMLU.load(path: MMLU.defaultName, split: "test", places: places).count == 1)
    #expect(place.fetched == ["all/test-00000-of-00001.jsonl"])
    #expect(try MMLU.load(path: "cais/mmlu", split: "dev", places: places).count == 2)
    #expect(try MMLU.load(path: keep.path, split: "dev").count == 2)
    #expect(
      message { _ = try MMLU.load(path: "cais/mmlu", split: "validation", places: places) }.contains("\"validation\""))
    #expect(message { _ = try MMLU.load(path: "cais/mmlu") }.contains("the hub is not reached"))
    // Without a card, `dev` is no other word for validation.
    let (plain, own) = try hub([
      "all/validation-00000-of-00001.jsonl": question, "all/dev-00000-of-00001.jsonl": question,
    ])
    #expect(try MMLU.load(place: plain, split: "dev").count == 1)
    #expect(plain.fetched == ["all/dev-00000-of-00001.jsonl"])
    withExtendedLifetime(own) {}
  }
}
