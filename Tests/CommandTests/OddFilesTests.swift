import Foundation
import JSON
import TestSupport
import Testing

/// Files as other programs and people leave them: read as `transformers` reads them, or refused with their name.
@Suite struct OddFilesTests {
  private let cut = ["--prune_export_config", #"{"ffn_hidden_size": 256}"#]

  /// A copy of the bundled model with entries of its JSON files changed; null removes one.
  private func model(in directory: String, _ changes: [(file: String, key: String, value: JSON)]) throws -> String {
    let copy = directory + "/model"
    try FileManager.default.copyItem(atPath: Program.model, toPath: copy)
    for (file, key, value) in changes {
      let url = URL(fileURLWithPath: copy + "/" + file)
      var object = try #require(try JSON(parsing: Data(contentsOf: url)).object)
      object[key] = value.isNull ? nil : value
      try Data(JSON.object(object).serialized(indent: 2).utf8).write(to: url)
    }
    return copy
  }

  private func encode(_ text: String, with model: String) throws -> String {
    let result = try Program.shell("printf '%s' '\"\(text)\"' | \"$COPPICE\" encode --hf_model_name_or_path '\(model)'")
    result.expectSuccess()
    return result.output
  }

  /// Published configs hold Infinity, editors leave byte order marks; both are in every file here.
  @Test func whatPythonAndEditorsWriteIsReadEverywhere() throws {
    try withTemporaryDirectory { directory in
      let limit = try JSON(parsing: "[0.0, Infinity, -Infinity, NaN]")
      let files = ["config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"]
      let model = try model(in: directory, files.map { ($0, "time_step_limit", limit) })
      for file in files {
        let url = URL(fileURLWithPath: model + "/" + file)
        try (Data([0xEF, 0xBB, 0xBF]) + Data(contentsOf: url)).write(to: url)
      }
      #expect(try encode("Hello", with: model) == encode("Hello", with: Program.model))
      let path = ["--hf_model_name_or_path", model]
      try Program.run(["inspect"] + path).expectSuccess()
      try Program.run(["generate", "--prompt", "The", "--max_new_tokens", "2"] + path).expectSuccess()
      try Program.run(prune(to: directory + "/out", cut, model: model)).expectSuccess()
      let config = try JSON(parsing: Data(contentsOf: URL(fileURLWithPath: directory + "/out/config.json")))
      #expect(config["time_step_limit"] == limit)
    }
  }

  @Test func absentTokensMayBeNegativeNullOrEmpty() throws {
    for value: JSON in [.int(-1), .object([]), .array([])] {
      try withTemporaryDirectory { directory in
        let model = try model(
          in: directory,
          [
            ("config.json", "pad_token_id", value), ("config.json", "bos_token_id", value),
            ("generation_config.json", "pad_token_id", value), ("generation_config.json", "eos_token_id", value),
            ("tokenizer_config.json", "pad_token", .null), ("special_tokens_map.json", "pad_token", .null),
          ])
        #expect(try encode("Hello", with: model) == encode("Hello", with: Program.model))
        try Program.run(["generate", "--prompt", "The", "--max_new_tokens", "2", "--hf_model_name_or_path", model])
          .expectSuccess()
      }
    }
  }

  @Test func aRunawayPatternEndsWithTheRowItMet() throws {
    try withTemporaryDirectory { directory in
      let split = try JSON(
        parsing: #"{"type": "Split", "pattern": {"Regex": "(?:(?:a|a){1,22}b)?."}, "behavior": "Isolated"}"#)
      let model = try model(in: directory, [("tokenizer.json", "pre_tokenizer", split)])
      let data = directory + "/data.jsonl"
      let rows = ["short", String(repeating: "a", count: 3000)].map { "{\"text\": \"\($0)\"}\n" }
      try Data(rows.joined().utf8).write(to: URL(fileURLWithPath: data))
      let result = try Program.run(prune(to: directory + "/out", cut, model: model, data: data))
      result.expectFailure(saying: "data.jsonl:2")
      result.expectFailure(saying: "tokenizer.json: a pattern of the tokenizer took more than")
      try Program.run(["eval", "--eval_dataset_name", data, "--seq_length", "64", "--hf_model_name_or_path", model])
        .expectFailure(saying: "data.jsonl:2")
    }
  }

  @Test func rowsOfNullAreCountedOnce() throws {
    try withTemporaryDirectory { directory in
      let data = directory + "/data.jsonl"
      let rows = (0..<20).map { number in
        "{\"id\": NaN, \"text\": \(number % 5 == 2 ? "null" : "\"Some words of text, number \(number).\"")}\n"
      }
      try Data(rows.joined().utf8).write(to: URL(fileURLWithPath: data))
      let result = try Program.run(prune(to: directory + "/out", cut, data: data))
      result.expectSuccess()
      #expect(result.error.components(separatedBy: "is null").count == 2, "\(result.error)")
      #expect(result.error.contains("4 rows were passed over") || result.error.contains("the row was passed over"))
    }
  }

  /// A token that only the tokenizer knows has no row in the embedding.
  @Test func tokensBeyondTheModelsVocabularyAreRefusedWhereTheyAreMet() throws {
    try withTemporaryDirectory { directory in
      let model = try model(
        in: directory, [("tokenizer_config.json", "extra_special_tokens", .array([.text("<new>")]))])
      #expect(try encode("<new>", with: model) == "[2048]\n")
      let data = directory + "/data.jsonl"
      try Data("{\"text\": \"a<new>\"}\n".utf8).write(to: URL(fileURLWithPath: data))
      try Program.run(prune(to: directory + "/out", cut, model: model, data: data)).expectFailure(saying: "2048")
      try Program.run(prune(to: directory + "/out", cut, model: model)).expectSuccess()
    }
  }

  @Test func anIndexThatIsWrongAboutOtherTensorsIsAWarning() throws {
    try withTemporaryDirectory { directory in
      let model = try model(in: directory, [])
      let (shard, index) = ("model-00001-of-00001.safetensors", model + "/model.safetensors.index.json")
      try FileManager.default.moveItem(atPath: model + "/model.safetensors", toPath: model + "/" + shard)
      func write(_ names: [String], _ file: String) throws {
        let map = JSON.object([("weight_map", .object(names.map { ($0, .text(file)) }))])
        try Data(map.serialized().utf8).write(to: URL(fileURLWithPath: index))
      }
      try write(["model.norm.weight", "mtp.fc.weight"], shard)
      for command in [["inspect"], ["generate", "--prompt", "The", "--max_new_tokens", "1"]] {
        let result = try Program.run(command + ["--hf_model_name_or_path", model])
        result.expectSuccess()
        #expect(result.error.contains("warning") && result.error.contains("mtp.fc.weight"), "\(result.error)")
      }
      try write(["model.norm.weight"], "other.safetensors")
      try Program.run(["generate", "--prompt", "The", "--hf_model_name_or_path", model])
        .expectFailure(saying: "other.safetensors")
    }
  }
}
