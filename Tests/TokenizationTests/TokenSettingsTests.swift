import Foundation
import Testing
import Tokenization

/// Tokens that only the files beside a `tokenizer.json` know. Ids and flags are those of transformers 5.24;
/// `Tests/Oracle/added_tokens.py` compares many more.
@Suite struct TokenSettingsTests {
  /// Encodes with a directory of these files. The vocabulary's ids are 0 to 8.
  private func encode(_ text: String, _ files: [String: String], tokenizer: String = small()) throws -> [Int] {
    try load(files, tokenizer) { try $0.encode(text) }
  }

  private func load<R>(
    _ files: [String: String], _ tokenizer: String = small(), _ body: (Tokenizer) throws -> R
  ) throws -> R {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("settings-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    for (name, text) in files.merging(["tokenizer": tokenizer], uniquingKeysWith: { $1 }) {
      try Data(text.utf8).write(to: URL(filePath: "\(directory)/\(name).json"))
    }
    return try body(Tokenizer(directory: directory))
  }

  @Test(arguments: [
    (#"{"added_tokens_decoder": {"70": {"content": "<x>"}, "8": {"content": "<y>", "special": true}}}"#, [10, 9]),
    (#"{"additional_special_tokens": ["<x>", "<y>"]}"#, [9, 10]),
    (#"{"extra_special_tokens": ["<y>", "<x>"]}"#, [10, 9]),
    (#"{"extra_special_tokens": {"image_token": "<x>", "boi": "<y>"}}"#, [9, 10]),
    (#"{"pad_token": "<y>", "eos_token": "<x>"}"#, [9, 10]), (#"{"audio_token": "<y>", "eos_token": "<x>"}"#, [9, 10]),
    (#"{"bos_token": {"__type": "AddedToken", "content": "<x>"}, "cls_token": {"content": "<y>"}}"#, [9, 10]),
    (#"{"extra_special_tokens": [], "additional_special_tokens": ["<x>", "<y>"]}"#, [9, 10]),
    ("\u{feff}{\"eos_token\": \"<x>\", \"pad_token\": \"<y>\", \"model_max_length\": Infinity}", [9, 10]),
  ])
  func addsTokensThatOnlyTheConfigKnows(_ config: String, _ ids: [Int]) throws {
    #expect(try encode("h<x><y>", ["tokenizer_config": config]) == [1] + ids)
  }

  @Test func readsTheOlderFilesOnlyWithoutADecoder() throws {
    let map = #"{"eos_token": {"content": "<x>", "lstrip": true}, "pad_token": "<y>"}"#
    #expect(try encode("h <x><y>", ["special_tokens_map": map]) == [1, 9, 10])
    #expect(
      try encode("<x>", ["special_tokens_map": map, "tokenizer_config": #"{"added_tokens_decoder": {}}"#])
        == encode("<x>", [:]))
    #expect(try encode("<x><y>", ["added_tokens": #"{"<y>": 9, "<x>": 10}"#]) == [10, 9])
    let byName = try load(["special_tokens_map": map]) { ($0.eosTokenID, $0.padTokenID, $0.vocabularySize) }
    #expect(byName == (9, 10, 11))
  }

  @Test func takesFlagsFromTheConfig() throws {
    let decoder = #"{"added_tokens_decoder": {"9": {"content": "hic", "single_word": true, "rstrip": true}}}"#
    #expect(try encode("hic  ahic hic", ["tokenizer_config": decoder]) == [9, 6, 3, 8, 5, 9])
    // What tokenizer.json says of the same token gives way.
    let own = small(#""added_tokens": [{"id": 9, "content": "hic"}],"#)
    #expect(try encode("ahic", [:], tokenizer: own) == [6, 9])
    #expect(try encode("ahic", ["tokenizer_config": decoder], tokenizer: own) == [6, 3, 8])
  }

  /// A special token of the vocabulary is cut out of text like any other.
  @Test func specialTokensOfTheVocabularyKeepTheirIDs() throws {
    let tokenizer = small(vocabulary: ", \"<s>\": 9")
    #expect(try encode("<s>h", [:], tokenizer: tokenizer) != [9, 1])
    #expect(try encode("<s>h", ["tokenizer_config": #"{"bos_token": "<s>"}"#], tokenizer: tokenizer) == [9, 1])
    let skipped = try load(["tokenizer_config": #"{"bos_token": "<s>"}"#], tokenizer) {
      try $0.decode([9, 1], skipSpecialTokens: true)
    }
    #expect(skipped == "h")
  }

  @Test(arguments: [
    ("tokenizer_config", "[]"), ("tokenizer_config", "{"), ("tokenizer_config", ""), ("special_tokens_map", "7"),
    ("tokenizer_config", #"{"added_tokens_decoder": {"x": {"content": "a"}}}"#),
    ("tokenizer_config", #"{"added_tokens_decoder": {"1": "a"}}"#),
    ("tokenizer_config", #"{"added_tokens_decoder": {"1": {"content": 1}}}"#),
    ("tokenizer_config", #"{"added_tokens_decoder": [1]}"#), ("config", "version https://git-lfs.github.com/spec/v1\n"),
    ("generation_config", #"{"eos_token_id": 99999999999}"#),
  ])
  func namesTheFileThatIsWrong(_ name: String, _ text: String) throws {
    let said = message { _ = try encode("h", [name: text]) }
    #expect(said.contains("\(name).json"), "\(said)")
  }

  @Test func oddValuesSayNothing() throws {
    let config = #"{"bos_token": 1, "eos_token": null, "pad_token": {}, "extra_special_tokens": null, "unk_token": ""}"#
    let files = ["tokenizer_config": config, "special_tokens_map": "{}", "generation_config": "{}"]
    #expect(try encode("h", files) == [1])
  }

  @Test func saysThatTheTokenizerIsAPointerOfGitLFS() {
    let said = message { _ = try encode("h", [:], tokenizer: "version https://git-lfs.github.com/spec/v1\noid") }
    #expect(said.contains("tokenizer.json") && said.contains("git lfs pull"), "\(said)")
  }
}
