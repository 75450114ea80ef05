import Foundation
import JSON
import TestSupport
import Testing

/// `eval`, `generate`, `encode`, `decode` on the bundled model.
@Suite struct EvalGenerateTests {
  private let model = ["--hf_model_name_or_path", Program.model]
  private let questions = ["--mmlu_dataset", Program.data + "/mmlu/test.jsonl"]
  private let text = [
    "--eval_dataset_name", Program.data + "/heldout.jsonl", "--seq_length", "64", "--eval_num_samples", "4",
  ]

  @Test func predictionsAreThoseOfPyTorchQuestionByQuestion() throws {
    let expected = try #require(Golden.json(Golden.root + "/Tests/Goldens/fixture/expected.json")["mmlu"])
    try withTemporaryDirectory { directory in
      let file = directory + "/predictions.jsonl"
      let result = try Program.run(
        ["eval", "--json", "--mmlu_percent", "5", "--compute_dtype", "float32", "--mmlu_predictions", file] + model
          + questions)
      result.expectSuccess()
      let mmlu = try #require(result.json?["mmlu"])
      #expect(abs((mmlu["accuracy"]?.double ?? 0) - (expected["accuracy"]?["5"]?.double ?? 1)) < 1e-12)
      #expect(mmlu["questions"]?.int == 12 * 8)
      #expect(mmlu["subjects"]?.object?.count == 12)
      #expect(result.json?["loss"] == nil && result.json?["kl"] == nil)
      let lines = try String(decoding: Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self)
        .split(separator: "\n").map { try JSON(parsing: Array($0.utf8)) }
      #expect(lines.count == 12 * 8)
      // Of each subject the first eight of its 150, in the order of the data.
      var seen: [String: Int] = [:]
      let asked = try String(decoding: Data(contentsOf: URL(fileURLWithPath: questions[1])), as: UTF8.self)
        .split(separator: "\n").enumerated().filter { _, line in
          let subject = try #require(try JSON(parsing: Array(line.utf8))["subject"]?.string)
          seen[subject, default: 0] += 1
          return seen[subject, default: 0] <= 8
        }.map(\.offset)
      let letters = try #require(expected["predictions"]?.string).map { String($0) }
      let logits = try #require(expected["logits"]?.array)
      for ((number, line), at) in zip(lines.enumerated(), asked) {
        #expect(line["question"]?.int == number)
        #expect(letters[at] == ["A", "B", "C", "D"][line["predicted"]?.int ?? 0])
        let found = line["logits"]?.array?.compactMap(\.double) ?? []
        let wanted = logits[at].array?.compactMap(\.double) ?? []
        #expect(relativeDifference(found.map { Float($0) }, wanted.map { Float($0) }) < 1e-4)
      }
    }
  }

  @Test func divergenceFromItselfIsNothingAndFromAnotherSomething() throws {
    try withTemporaryDirectory { directory in
      let itself = try Program.run(["eval", "--json", "--quiet", "--reference_model", Program.model] + model + text)
      itself.expectSuccess()
      #expect(itself.error.isEmpty)
      let loss = try #require(itself.json?["loss"])
      let mean = try #require(loss["mean"]?.double)
      #expect(abs((loss["perplexity"]?.double ?? 0) - exp(mean)) < 1e-9)
      #expect(loss["rows"]?.int == 4 && loss["tokens"]?.int == 4 * 63)
      #expect((itself.json?["kl"]?["mean"]?.double ?? 1) < 1e-6)

      let cut = directory + "/cut"
      try Program.run(prune(to: cut, ["--prune_export_config", #"{"num_layers": 6, "ffn_hidden_size": 256}"#]))
        .expectSuccess()
      let other = try Program.run(
        ["eval", "--json", "--reference_model", Program.model, "--hf_model_name_or_path", cut] + text)
      other.expectSuccess()
      #expect((other.json?["kl"]?["mean"]?.double ?? 0) > 0.01)
      #expect((other.json?["kl"]?["stderr"]?.double ?? 0) > 0)
    }
  }

  @Test func rowsBeyondTheModelsPositionsAreWarnedOfOnce() throws {
    let warning = "tokens: beyond max_position_embeddings (1024)"
    let long = ["--seq_length", "1500"]
    let data = ["--eval_dataset_name", Program.data + "/heldout.jsonl", "--eval_num_samples", "1"]
    let eval = try Program.run(["eval"] + model + data + long)
    eval.expectSuccess()
    #expect(eval.error.components(separatedBy: warning).count == 2)
    #expect(eval.error.contains("--seq_length 1024"))
    try withTemporaryDirectory { directory in
      let result = try Program.run(
        ["prune", "--output_hf_path", directory + "/out", "--prune_target_params", "3e6", "--ss_channel_divisor", "32"]
          + ["--top_k", "1", "--prune_score_func", "neg_loss", "--calib_num_samples", "1"]
          + ["--calib_dataset_name", Program.data + "/calib.jsonl"] + model + data + long)
      result.expectSuccess()
      #expect(result.error.components(separatedBy: warning).count == 2)
    }
    let short = try Program.run(["eval"] + model + data + ["--seq_length", "1024"])
    #expect(!short.error.contains("max_position_embeddings"))
  }

  @Test func rowsThatBeginWithBOSHaveAnotherLoss() throws {
    try withTemporaryDirectory { directory in
      for name in ["model.safetensors", "tokenizer.json"] {
        try FileManager.default.createSymbolicLink(
          atPath: directory + "/" + name, withDestinationPath: Program.model + "/" + name)
      }
      var config = try #require(Golden.json(Program.model + "/config.json").object)
      config["bos_token_id"] = nil
      try Data(JSON.object(config).serialized().utf8).write(to: URL(fileURLWithPath: directory + "/config.json"))
      func eval(bos: String?, _ flags: [String]) throws -> Program.Result {
        let settings = JSON.object([("bos_token", bos.map { .text($0) } ?? .null), ("eos_token", .text("<|im_end|>"))])
        try Data(settings.serialized().utf8)
          .write(to: URL(fileURLWithPath: directory + "/tokenizer_config.json"))
        return try Program.run(["eval", "--json", "--hf_model_name_or_path", directory] + text + flags)
      }
      try eval(bos: nil, ["--calib_bos"]).expectFailure(saying: "--calib_bos", "no BOS token")
      let plain = try eval(bos: "<|endoftext|>", [])
      let begun = try eval(bos: "<|endoftext|>", ["--calib_bos"])
      begun.expectSuccess()
      #expect(begun.json?["loss"]?["tokens"]?.int == 4 * 63)
      #expect(begun.json?["loss"]?["mean"] != plain.json?["loss"]?["mean"])
    }
  }

  @Test func aReferenceWithAnotherVocabularyIsRefused() throws {
    let other = Golden.root + "/Tests/Goldens/dense/llama2"
    try Program.run(["eval", "--reference_model", other] + model + text).expectFailure(saying: "vocabulary", "2048")
    try Program.run(["eval", "--reference_model", Program.model] + model + questions)
      .expectFailure(64, saying: "--eval_dataset_name")
    try Program.run(["eval", "--mmlu_predictions", "x"] + model + text).expectFailure(64, saying: "--mmlu_dataset")
    try Program.run(["eval", "--mmlu_percent", "101"] + model + questions).expectFailure(64, saying: "--mmlu_percent")
  }

  @Test func aDeviceThatIsNotThereIsSaidSo() throws {
    // Nobody has a hundred of them.
    for device in ["cuda:100", "mps"] {
      try Program.run(["eval", "--device", device] + model + text).expectFailure(saying: device, "no such device")
    }
    try Program.run(["eval", "--device", "auto", "--json"] + model + text).expectSuccess()
  }

  @Test func theTableSaysAllOfIt() throws {
    let result = try Program.run(
      ["eval", "--mmlu_percent", "1", "--reference_model", Program.model] + model + questions + text)
    result.expectSuccess()
    for word in ["MMLU", "word_meanings", "loss per token", "perplexity", "KL"] {
      #expect(result.output.contains(word))
    }
    #expect(!result.output.contains("\u{1B}"))
  }

  private let prompt = "<|im_start|>user\nWhat is the basic ingredient of quearetta?<|im_end|>\n<|im_start|>assistant\n"

  @Test func generationStreamsWhatItReports() throws {
    let generate = ["generate", "--max_new_tokens", "24"] + model
    let plain = try Program.run(generate + ["--prompt", prompt])
    plain.expectSuccess()
    #expect(plain.output.contains("cheese"))
    let json = try #require(try Program.run(generate + ["--prompt", "-", "--json"], input: prompt).json)
    #expect((json["text"]?.string ?? "") + "\n" == plain.output)
    #expect(json["stopped"]?.string == "eos")
    let ids = try #require(json["tokens"]?.array)
    #expect(ids.count < 24 && !ids.contains(.int(2047)) && !ids.contains(.int(2045)))
    let short = try #require(
      try Program.run(["generate", "--max_new_tokens", "3", "--json", "--prompt", prompt] + model).json)
    #expect(short["stopped"]?.string == "length")
    #expect(short["tokens"]?.array.map { $0[...] } == ids.prefix(3))
  }

  @Test func chanceFollowsItsSeed() throws {
    func text(_ more: String...) throws -> String {
      try Program.run(["generate", "--prompt", "The", "--max_new_tokens", "12"] + model + more).output
    }
    let greedy = try text()
    #expect(try text("--temperature", "1.5", "--seed", "1") == text("--temperature", "1.5", "--seed", "1"))
    #expect(try Set((1...4).map { try text("--temperature", "3", "--seed", "\($0)") }).count > 1)
    // With one token to choose from there is no chance.
    #expect(try text("--temperature", "3", "--top_k", "1") == greedy)
    #expect(try text("--temperature", "3", "--top_p", "0.000001") == greedy)
    try Program.run(["generate", "--prompt", ""] + model).expectFailure(saying: "prompt")
    for bad in [
      ["--top_p", "0"], ["--top_p", "1.1"], ["--top_k", "-1"], ["--temperature", "-1"], ["--temperature", "nan"],
    ] {
      try Program.run(["generate", "--prompt", "a"] + model + bad).expectFailure(64, saying: bad[0])
    }
  }

  @Test func encodingAndDecodingNeedNoLibtorch() throws {
    let without = ["COPPICE_LIBTORCH": "/nonexistent"]
    let lines = ["\"hello world\"", "\"\"", "\"<|im_end|> \\u00e9 \\ud83d\\ude00\\n\""]
    let input = lines.joined(separator: "\n") + "\n"
    let encoded = try Program.run(["encode"] + model, input: input, environment: without)
    encoded.expectSuccess()
    #expect(encoded.output.split(separator: "\n").count == 3)
    let decoded = try Program.run(["decode"] + model, input: encoded.output, environment: without)
    decoded.expectSuccess()
    let (texts, originals) = (decoded.output.split(separator: "\n"), lines)
    #expect(texts.count == 3)
    for (text, original) in zip(texts, originals) {
      #expect(try JSON(parsing: Array(text.utf8)) == JSON(parsing: Array(original.utf8)))
    }
    let skipped = try Program.run(["decode", "--skip_special_tokens"] + model, input: "[2047, 257]\n")
    #expect(!skipped.output.contains("im_end"))
  }

  @Test(arguments: ["3", "{}", "\"open", "nonsense", "[1]"])
  func linesThatAreNoStringsAreNamed(_ line: String) throws {
    let result = try Program.run(["encode"] + model, input: "\"fine\"\n\(line)\n")
    #expect(result.code == 1 && !result.signalled)
    #expect(result.error.contains("line 2"), "\(result.error)")
    // What came before is answered.
    #expect(result.output.split(separator: "\n").count == 1)
  }

  @Test(arguments: ["\"text\"", "[1.5]", "[-1]", "[99999999]", "[99999999999999999999]", "[null]"])
  func linesThatAreNoIDsAreNamed(_ line: String) throws {
    try Program.run(["decode"] + model, input: "\(line)\n").expectFailure(saying: "line 1")
  }

  @Test func inputAndOutputThatFailAreErrors() throws {
    let encode = "\"$COPPICE\" encode --hf_model_name_or_path '\(Program.model)'"
    try Program.shell("\(encode) < /").expectFailure(saying: "cannot be read")
    try Program.shell("\(encode) <&-").expectFailure(saying: "cannot be read")
    try Program.shell("echo '\"a\"' | \(encode) > /dev/full").expectFailure()
    try Program.shell("\"$COPPICE\" generate --prompt a --hf_model_name_or_path '\(Program.model)' > /dev/full")
      .expectFailure(saying: "standard output")
  }

  @Test func promptsLongerThanTheModelWasMadeForAreSaid() throws {
    try withTemporaryDirectory { directory in
      let short = try copyOfModel(in: directory, config: [("max_position_embeddings", .int(16))])
      let result = try Program.run(["eval", "--mmlu_percent", "1", "--hf_model_name_or_path", short] + questions)
      result.expectSuccess()
      #expect(result.error.contains("warning: prompts of up to "), "\(result.error)")
      #expect(result.error.contains("beyond max_position_embeddings (16)"))
    }
    #expect(try !Program.run(["eval", "--mmlu_percent", "1"] + model + questions).error.contains("prompts of up to"))
  }

  @Test func theSeedIsZeroUnlessItIsGiven() throws {
    let sampled = ["generate", "--prompt", "The ", "--max_new_tokens", "12", "--temperature", "1.5", "--json"] + model
    let unseeded = try Program.run(sampled)
    unseeded.expectSuccess()
    #expect(try Program.run(sampled + ["--seed", "0"]).output == unseeded.output)
    #expect(try Program.run(sampled + ["--seed", "7"]).output != unseeded.output)
  }
}
