import Checkpoint
import Foundation
import JSON
import TestSupport
import Testing

/// Models and data that cannot be used: one clear message, exit code 1, nothing written.
@Suite struct HostileInputTests {
  /// Prunes, expects a failure that says all of `words`, and that nothing appeared at the output or beside it.
  private func refuse(
    _ model: String = Program.model, data: String? = nil,
    _ more: [String] = ["--prune_export_config", #"{"ffn_hidden_size": 256}"#],
    saying words: [String], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try withTemporaryDirectory { directory in
      let result = try Program.run(prune(to: directory + "/out", more, model: model, data: data))
      result.expectFailure(sourceLocation: sourceLocation)
      for word in words { #expect(result.error.contains(word), "\(result.error)", sourceLocation: sourceLocation) }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty, sourceLocation: sourceLocation)
    }
  }

  @Test func whatIsNeitherDirectoryNorCachedIsSaidToBeNeither() throws {
    try refuse("Qwen/Qwen3-8B", saying: ["no directory Qwen/Qwen3-8B", "not in the cache", "HF_HUB_OFFLINE"])
    try refuse("/no/such/place", saying: ["/no/such/place"])
    try refuse(Program.model + "/config.json", saying: ["directory"])
  }

  @Test func picklesAreRefusedWithWhatToDo() throws {
    try withTemporaryDirectory { directory in
      try FileManager.default.copyItem(atPath: Program.model, toPath: directory + "/model")
      try FileManager.default.moveItem(
        atPath: directory + "/model/model.safetensors", toPath: directory + "/model/pytorch_model.bin")
      try refuse(directory + "/model", saying: ["pytorch_model.bin", "safetensors"])
    }
  }

  @Test(arguments: [
    ([("vision_config", JSON.object([("depth", .int(2))]))], ["vision_config", "text"]),
    ([("quantization_config", JSON.object([("bits", .int(4))]))], ["quantization_config", "quantise"]),
    ([("model_type", JSON.text("falcon_mamba"))], ["falcon_mamba", "qwen3"]),
    ([("model_type", JSON.int(3))], ["model_type"]),
    ([("hidden_size", JSON.int(0))], ["hidden_size"]), ([("hidden_size", JSON.text("192"))], ["hidden_size"]),
    ([("hidden_size", JSON.int(-192))], ["hidden_size"]), ([("hidden_size", JSON.double(192.5))], ["hidden_size"]),
    ([("num_hidden_layers", JSON.int(1 << 24))], ["num_hidden_layers"]),
    ([("num_hidden_layers", JSON.int(9))], ["model.layers.8"]),
    ([("num_hidden_layers", JSON.int(7))], ["model.layers.7"]),
    ([("num_key_value_heads", JSON.int(3))], ["num_key_value_heads"]),
    (
      [("hidden_size", JSON.int(1 << 24)), ("num_attention_heads", .int(1 << 24)), ("head_dim", .int(1 << 24))],
      ["larger than any model"]
    ), ([("vocab_size", JSON.int(1 << 24))], ["embed_tokens"]), ([("head_dim", JSON.int(33))], ["head_dim"]),
    ([("rope_scaling", JSON.object([("rope_type", .text("wavy"))]))], ["wavy"]),
    ([("hidden_act", JSON.text("sine"))], ["hidden_act"]), ([("layer_types", JSON.array([]))], ["layer_types"]),
  ])
  func configsThatCannotBe(_ changes: [(String, JSON)], _ words: [String]) throws {
    try withTemporaryDirectory { directory in
      let model = try copyOfModel(in: directory, config: changes)
      try refuse(model, saying: words)
      // Those that are wrong by themselves are so for every command.
      if !words[0].hasPrefix("model.layers"), words[0] != "embed_tokens" {
        for command in ["plan", "inspect"] {
          try Program.run([command, "--hf_model_name_or_path", model]).expectFailure()
        }
      }
    }
  }

  @Test(arguments: ["", "{", "[]", "null", "{\"model_type\": \"qwen3\"}", "\u{0}\u{1}\u{2}", "{\"a\": 1, \"a\": 2}"])
  func configsThatAreNone(_ text: String) throws {
    try withTemporaryDirectory { directory in
      let model = try copyOfModel(in: directory, changing: "config.json") { $0 = Data(text.utf8) }
      try refuse(model, saying: ["config.json"])
    }
  }

  @Test func damagedFilesAreNamed() throws {
    for (file, change) in [
      ("model.safetensors", { $0.removeLast(1000) }), ("model.safetensors", { $0.removeAll() }),
      ("model.safetensors", { $0.replaceSubrange(0..<8, with: [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]) }),
      ("tokenizer.json", { $0.removeLast(1000) }), ("tokenizer.json", { $0 = Data("{}".utf8) }),
    ] as [(String, (inout Data) -> Void)] {
      try withTemporaryDirectory { directory in
        let model = try copyOfModel(in: directory, changing: file, change)
        try refuse(model, saying: [file])
      }
    }
  }

  /// Sets the first number of a bf16 tensor to NaN.
  private func withNaN(in tensor: String, _ body: (String) throws -> Void) throws {
    try withTemporaryDirectory { directory in
      let entries = try SafetensorsFile(path: Program.model + "/model.safetensors").tensors
      let entry = try #require(entries.first { $0.name == tensor })
      let model = try copyOfModel(in: directory, changing: "model.safetensors") { data in
        data.replaceSubrange(entry.range.lowerBound..<entry.range.lowerBound + 2, with: [0xC0, 0x7F])
      }
      try body(model)
    }
  }

  @Test func weightsThatAreNoNumbersGiveNoResult() throws {
    try withNaN(in: "model.layers.3.mlp.up_proj.weight") { model in
      try refuse(model, saying: ["NaN"])
      try refuse(
        model,
        [
          "--prune_target_params", "3M", "--ss_channel_divisor", "32", "--prune_score_func", "neg_loss",
          "--eval_num_samples", "2",
        ],
        saying: ["NaN"])
      let path = ["--hf_model_name_or_path", model]
      try Program.run(["generate", "--prompt", "The"] + path).expectFailure(saying: "NaN")
      try Program.run(
        [
          "eval", "--eval_dataset_name", Program.data + "/heldout.jsonl", "--eval_num_samples", "2", "--seq_length",
          "32",
        ]
          + path
      ).expectFailure(saying: "NaN")
      try Program.run(["eval", "--mmlu_dataset", Program.data + "/mmlu", "--mmlu_percent", "1"] + path)
        .expectFailure(saying: "NaN")
    }
  }

  @Test func dataThatIsNone() throws {
    try withTemporaryDirectory { directory in
      func file(_ text: String, _ name: String = "data.jsonl") throws -> String {
        try Data(text.utf8).write(to: URL(fileURLWithPath: directory + "/" + name))
        return directory + "/" + name
      }
      try refuse(data: directory + "/absent.jsonl", saying: ["absent.jsonl"])
      try refuse(data: directory, saying: [directory])
      try refuse(data: file(""), saying: ["data.jsonl"])
      try refuse(data: file("\n\n"), saying: ["data.jsonl"])
      try refuse(data: file("{\"text\": 3}\n"), saying: ["data.jsonl", "text"])
      try refuse(data: file("{\"words\": \"a\"}\n"), saying: ["data.jsonl", "text"])
      try refuse(data: file("{\"text\": \"a\"}\nnonsense\n"), saying: ["data.jsonl", "2"])
      try refuse(data: file("no parquet", "data.parquet"), saying: ["data.parquet"])
      // One token predicts nothing: there is no loss of it.
      let one = try file("{\"text\": \"\"}\n")
      let model = ["--hf_model_name_or_path", Program.model]
      try Program.run(["eval", "--eval_dataset_name", one, "--seq_length", "1"] + model).expectFailure()
      try Program.run(["eval", "--eval_dataset_name", Program.data + "/heldout.jsonl", "--seq_length", "1"] + model)
        .expectFailure(saying: "two tokens")
      try Program.run(["eval", "--mmlu_dataset", one] + model).expectFailure(saying: "data.jsonl")
      try Program.run(["eval", "--mmlu_dataset", directory] + model).expectFailure(saying: directory)
      try Program.run(["eval", "--mmlu_dataset", Program.data + "/mmlu", "--few_shots", "99"] + model)
        .expectFailure(saying: "--few_shots")
    }
  }

  @Test func aCalibrationOfOneTokenIsEnough() throws {
    try withTemporaryDirectory { directory in
      let data = directory + "/data.jsonl"
      try Data("{\"text\": \"a\"}\n".utf8).write(to: URL(fileURLWithPath: data))
      let result = try Program.run(
        prune(
          to: directory + "/out",
          ["--prune_export_config", #"{"ffn_hidden_size": 256}"#, "--calib_num_samples", "1", "--seq_length", "1"],
          data: data))
      result.expectSuccess()
    }
  }

  @Test func aTargetThatNothingMeetsSaysHowSmallItGets() throws {
    try refuse(["--prune_target_params", "1000"], saying: ["3935936 parameters", "--max_width_pruning"])
    try refuse(["--prune_target_memory_mb", "0.5"], saying: ["MiB"])
    try refuse(["--prune_export_config", #"{"num_layers": 9}"#], saying: ["num_layers", "1…8"])
    try refuse(
      ["--prune_export_config", #"{"num_attention_heads": 6}"#], saying: ["num_attention_heads", "multiple of 4"])
    try refuse(["--prune_export_config", #"{"num_moe_experts": 8}"#], saying: ["num_moe_experts", "qwen3"])
  }

  private func refuse(_ more: [String], saying words: [String], sourceLocation: SourceLocation = #_sourceLocation)
    throws
  {
    try refuse(Program.model, data: nil, more, saying: words, sourceLocation: sourceLocation)
  }

  @Test func outputsThatCannotBeWrittenAreFoundOutFirst() throws {
    try withTemporaryDirectory { directory in
      let file = directory + "/file"
      try Data().write(to: URL(fileURLWithPath: file))
      for output in [file + "/out", file, "/proc/coppice/out", "/dev/null", ""] {
        let result = try Program.run(prune(to: output, ["--prune_export_config", #"{"ffn_hidden_size": 256}"#]))
        result.expectFailure(output.isEmpty ? 64 : 1)
        // Before anything was computed.
        #expect(!result.error.contains("calibrat"), "\(result.error)")
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["file"])
    }
  }

  @Test func aDiskThatIsFullLeavesNothingBehind() throws {
    try withTemporaryDirectory { directory in
      // No file may grow beyond a megabyte or two (of the shell's blocks): the weights have 7.5.
      let command = prune(to: directory + "/out", ["--prune_export_config", #"{"num_layers": 8}"#])
        .map { "'\($0)'" }.joined(separator: " ")
      let result = try Program.shell("ulimit -f 2000; exec \"$COPPICE\" \(command)")
      result.expectFailure(saying: "File too large")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
  }
}
