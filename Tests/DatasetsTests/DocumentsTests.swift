import Datasets
import Foundation
import Testing

@Suite struct DocumentsTests {
  @Test func readsLinesHoweverTheyEnd() throws {
    let scratch = try Scratch()
    let path = try scratch.write(
      "a.jsonl",
      "\u{feff}{\"text\": \"one\"}\r\n\n  \n{\"text\": \"two\\u0000\\n\"}\n{\"text\": \"\"}\n{\"text\": \"é\"}")
    #expect(try documents(path) == ["one", "two\0\n", "é"])
  }

  @Test func readsLinesLongerThanItsBuffer() throws {
    let scratch = try Scratch()
    let long = (0..<5).map { String(repeating: "\($0)", count: 100_000 * ($0 + 1)) }
    let path = try scratch.write("a.jsonl", long.map { #"{"text": "\#($0)"}"# }.joined(separator: "\n") + "\n")
    #expect(try documents(path) == long)
  }

  @Test(arguments: [
    (#"{"prompt": "p", "output": "o", "response": "r", "completion": "c", "text": "t"}"#, "p\nc\nr\no"),
    (#"{"prompt": "p", "completion": null}"#, "p"), (#"{"text": "t", "input": "i", "output": "o"}"#, "t"),
    (#"{"input": "i", "output": "o"}"#, "i\no"), (#"{"input": "i", "id": 7}"#, "i"),
    (#"{"messages": null, "text": "t"}"#, "t"), (#"{"prompt": null, "text": "t"}"#, "t"),
  ])
  func takesTheFirstColumnsThatMatch(line: String, text: String) throws {
    let scratch = try Scratch()
    #expect(try documents(scratch.write("a.jsonl", line)) == [text])
  }

  @Test(arguments: [
    ("{", "not valid JSON"), ("[1]", "a list"), ("\"text\"", "a string"), (#"{"text": 1}"#, "a number"),
    (#"{"text": ["a"]}"#, "a list"), (#"{"prompt": "p", "response": {}}"#, "an object"),
    (#"{"content": "x"}"#, "no column with text"), ("{}", "there are none"),
    (#"{"messages": []}"#, "apply_chat_template"), (#"{"conversations": [{"from": "human"}]}"#, "no chat template"),
    (#"{"text": "a", "text": "b"}"#, "twice"), (#"{"text": "a"} {"text": "b"}"#, "after the end"),
    (#"{"text": "\ud800"}"#, "surrogate"), ("{\"text\": \"a\0\"}", "control character"), ("\0", "not valid JSON"),
  ])
  func saysWhichLineIsWrong(line: String, because: String) throws {
    let scratch = try Scratch()
    let path = try scratch.write("a.jsonl", "{\"text\": \"fine\"}\n\n\(line)\n")
    let said = message { _ = try documents(path) }
    #expect(said.contains("a.jsonl:3") && said.contains(because), "\(said)")
  }

  /// Columns that nobody asked for stop no row, whatever they hold.
  @Test(arguments: [
    #""id": NaN"#, #""id": -Infinity, "x": 1e999"#, #""meta": {"a": {"a": [null]}, "b": "\ud800"}"#,
    #""id": 1, "id": 2"#,
    "\"x\": " + String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000),
    #""output": NaN, "response": [1]"#, #""output": "\ud800", "completion": {"a": 1, "a": 2}"#,
  ])
  func otherColumnsMayHoldAnything(_ columns: String) throws {
    let scratch = try Scratch()
    let path = try scratch.write("a.jsonl", "{\(columns), \"text\": \"one\"}\n{\"text\": \"two\", \(columns)}\n")
    #expect(try documents(path) == ["one", "two"])
  }

  private func packed(_ sources: [String], rows: Int = 4, skipping: Int = 0) throws -> PackedRows {
    try CalibrationData(sources: sources).pack(
      encoder: ByteEncoding(), seqLength: 4, count: rows, skippingRows: skipping)
  }

  /// Web text has a few nulls among millions: they are passed over and told of once.
  @Test func passesOverRowsWhoseTextIsNull() throws {
    let scratch = try Scratch()
    func lines(_ nulls: Set<Int>) -> String {
      (0..<6).map { "{\"id\": \($0), \"text\": \(nulls.contains($0) ? "null" : "\"ab\($0)\"")}\n" }.joined()
    }
    let one = try scratch.write("one.jsonl", lines([2]))
    let result = try packed([one])
    #expect(texts(result.rows) == ["ab0", "ab1", "ab3", "ab4"])
    #expect(result.warnings == ["\(one):3: \"text\" is null; the row was passed over"])
    // Those among the rows before were told of by whoever used these.
    #expect(try packed([one], rows: 1, skipping: 4).warnings == [])
    let some = try scratch.write("some.jsonl", lines([0, 2, 5]))
    let warning = try #require(try packed([some, one], rows: 8).warnings.last).description
    #expect(warning.contains("4 rows were passed over") && warning.contains("some.jsonl:1"), "\(warning)")
    let every = try scratch.write("every.jsonl", lines([0, 1, 2, 3, 4, 5]))
    let said = message { _ = try packed([every]) }
    #expect(said.contains("\"text\" is null in every one of 6 rows") && said.contains("every.jsonl"), "\(said)")
    let blank = try scratch.write("blank.jsonl", lines([0, 1, 2]) + "{\"text\": \"\"}\n")
    let pairs = try scratch.write(
      "pairs.jsonl", #"{"prompt": null, "text": null}"# + "\n" + #"{"messages": null, "input": "abc"}"#)
    #expect(texts(try packed([pairs]).rows) == ["abc"])
    #expect(try packed([pairs]).warnings.last?.description.contains("\"prompt\" and \"text\" are null") == true)
    #expect(texts(try packed([blank]).rows) == ["ab3", "ab4", "ab5"])
  }

  @Test func textThatCannotBeEncodedIsNamed() throws {
    struct Refusal: Error, CustomStringConvertible { let description = "a pattern runs away" }
    struct Picky: TextEncoding {
      var eosTokenID: Int? { nil }
      func encode(_ text: String) throws -> [Int] { if text == "bad" { throw Refusal() } else { [1] } }
    }
    let scratch = try Scratch()
    let path = try scratch.write("a.jsonl", "{\"text\": \"good\"}\n{\"text\": \"bad\"}\n")
    for sources in [[path], [path, path]] {
      let said = message { _ = try CalibrationData(sources: sources).pack(encoder: Picky(), seqLength: 4, count: 4) }
      #expect(said.contains("a.jsonl:2: a pattern runs away"), "\(said)")
    }
  }

  @Test func saysThatAFileIsAPointerOfGitLFS() throws {
    let scratch = try Scratch()
    for name in ["a.jsonl", "a.parquet"] {
      let path = try scratch.write(
        name, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 788150\n")
      #expect(message { _ = try documents(path) }.contains("git lfs pull"))
      #expect(message { _ = try MMLU.load(path: path) }.contains("git lfs pull"))
    }
  }

  @Test func refusesTextThatIsNotUTF8() throws {
    let scratch = try Scratch()
    let path = try scratch.write("a.jsonl", Array("{\"text\": \"".utf8) + [0xFF] + Array("\"}".utf8))
    #expect(message { _ = try documents(path) }.contains("not UTF-8"))
  }

  @Test func saysWhatIsWrongWithAPath() throws {
    let scratch = try Scratch()
    func said(_ path: String) -> String { message { _ = try CalibrationData(sources: [path]) } }
    #expect(said(scratch.at("gone")).contains("there is no file or directory"))
    #expect(said(scratch.path).contains("holds no data file"))
    #expect(said(try scratch.write("a.pdf", "x")).contains("none of .jsonl"))
    #expect(message { _ = try CalibrationData(sources: []) }.contains("no calibration data"))
    #expect(throws: DatasetError.self) { try CalibrationData(sources: ["a\0.jsonl"]) }
    #expect(mkfifo(scratch.at("pipe.jsonl"), 0o600) == 0)
    #expect(message { _ = try documents(scratch.at("pipe.jsonl")) }.contains("not a regular file"))
    #expect(mkfifo(scratch.at("pipe.parquet"), 0o600) == 0)
    #expect(message { _ = try documents(scratch.at("pipe.parquet")) }.contains("not a regular file"))
  }

  @Test func readsDirectoriesInOrderAndTheirTrainingSplitOnly() throws {
    let scratch = try Scratch()
    func line(_ text: String) -> String { "{\"text\": \"\(text)\"}\n" }
    try scratch.write("plain/b.jsonl", line("b"))
    try scratch.write("plain/a.jsonl", line("a"))
    try scratch.write("plain/.hidden.jsonl", line("no"))
    try scratch.write("plain/README.md", "no")
    #expect(try documents(scratch.at("plain")) == ["a", "b"])
    try scratch.write("hub/en/train-00001-of-00002.jsonl", line("2"))
    try scratch.write("hub/en/train-00000-of-00002.jsonl", line("1"))
    try scratch.write("hub/en/test-00000-of-00001.jsonl", line("no"))
    #expect(try documents(scratch.at("hub")) == ["1", "2"])
    try scratch.write("folders/train/x.jsonl", line("yes"))
    try scratch.write("folders/validation/x.jsonl", line("no"))
    #expect(try documents(scratch.at("folders")) == ["yes"])
    try scratch.write("only/test.jsonl", line("no"))
    #expect(message { _ = try CalibrationData(sources: [scratch.at("only")]) }.contains("no training split"))
    try FileManager.default.createSymbolicLink(atPath: scratch.at("plain/loop"), withDestinationPath: "..")
    #expect(try CalibrationData(sources: [scratch.at("plain")]).fingerprint().count == 64)
  }

  @Test func fingerprintSeesNamesAndContents() throws {
    let (one, two) = (try Scratch(), try Scratch())
    for scratch in [one, two] {
      try scratch.write("d/a.jsonl", "{\"text\": \"a\"}\n")
      try scratch.write("d/b.jsonl", "{\"text\": \"b\"}\n")
    }
    func print(_ scratch: Scratch, _ names: String...) throws -> String {
      try CalibrationData(sources: names.map(scratch.at)).fingerprint()
    }
    let first = try print(one, "d")
    // Where the directory lies makes no difference.
    #expect(try print(two, "d") == first)
    #expect(try print(one, "d/a.jsonl", "d/b.jsonl") != first)
    #expect(try print(one, "d/a.jsonl", "d/b.jsonl") != print(one, "d/b.jsonl", "d/a.jsonl"))
    try two.write("d/b.jsonl", "{\"text\": \"c\"}\n")
    #expect(try print(two, "d") != first)
  }
}
