import Checkpoint
import Foundation
import JSON
import TestSupport
import Testing

/// The bundled model, cut by half and taught by the original.
@Suite struct DistillTests {
  /// A cut of the bundled model, made once.
  private static let student: Result<String, any Error> = Result {
    let place = NSTemporaryDirectory() + "coppice-distill-\(ProcessInfo.processInfo.processIdentifier)"
    try? FileManager.default.removeItem(atPath: place)
    try Program.run([
      "prune", "--quiet", "--hf_model_name_or_path", Program.model, "--output_hf_path", place, "--prune_export_config",
      "{\"hidden_size\": 96, \"ffn_hidden_size\": 192, \"num_layers\": 5}", "--calib_dataset_name",
      Program.data + "/calib.jsonl", "--calib_num_samples", "32", "--seq_length", "96",
    ]).expectSuccess()
    return place
  }

  private func arguments(_ output: String, steps: Int = 12, _ more: [String] = []) throws -> [String] {
    [
      "distill", "--student_hf_path", try Self.student.get(), "--teacher_hf_path", Program.model, "--output_dir",
      output,
      "--seq_length", "64", "--mbs", "4", "--gbs", "8", "--train_iters", "\(steps)", "--lr", "2e-3",
      "--lr_warmup_iters",
      "3", "--eval_interval", "6", "--eval_iters", "1", "--log_interval", "3",
    ] + more
  }

  private let text = ["--data_paths", Program.data + "/calib.jsonl"]

  private func metrics(_ output: String) throws -> [JSON] {
    try String(contentsOfFile: output + "/metrics.jsonl", encoding: .utf8).split(separator: "\n")
      .map { try JSON(parsing: Array($0.utf8)) }
  }

  @Test func theStudentComesNearerToItsTeacher() throws {
    try withTemporaryDirectory { place in
      let output = place + "/out"
      let result = try Program.run(arguments(output, steps: 30, text + ["--json"]))
      result.expectSuccess()
      #expect(result.json?["steps"] == .int(30) && result.json?["output"]?.string == output + "/hf")
      let (before, after) = (try Program.divergence(Self.student.get()), try Program.divergence(output + "/hf"))
      #expect(after < 0.5 * before, "\(before) → \(after)")
      let lines = try metrics(output)
      let held = lines.compactMap { $0["validation_kl"]?.double }
      #expect(held.count == 6 && (held.last ?? .infinity) < (held.first ?? 0))
      #expect(lines.compactMap { $0["kl"]?.double }.count == 10)
      // The result is a checkpoint like the student, with what it was made of.
      let (own, other) = (
        try CheckpointReader(directory: output + "/hf"), try CheckpointReader(directory: Self.student.get())
      )
      #expect(own.tensors.map(\.name).sorted() == other.tensors.map(\.name).sorted())
      #expect(own.config == other.config)
      let record = try JSON(
        parsing: Array(try #require(FileManager.default.contents(atPath: output + "/hf/coppice.json"))))
      #expect(record["distilled_from"]?.string == Program.model)
      let card = try String(contentsOfFile: output + "/hf/README.md", encoding: .utf8)
      #expect(card.hasPrefix("---\nbase_model: ") && card.contains("- distillation") && !card.contains(place))
      #expect(card.contains("[README.source.md](README.source.md)") && card.contains("KL from the teacher"))
      #expect(FileManager.default.fileExists(atPath: output + "/hf/README.source.md"))
      let page = try String(contentsOfFile: output + "/report.html", encoding: .utf8)
      #expect(page.contains("<svg") && !page.contains("http") && !page.contains("<script"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: output + "/tensorboard").count == 1)
    }
  }

  /// With what is learned beside the student: the teacher is wider.
  @Test func aRunThatWasEndedGoesOnToTheSameBytes() throws {
    let text = text + ["--intermediate_layer_pairs", "2:3", "4:6:mse"]
    try withTemporaryDirectory { place in
      try Program.run(arguments(place + "/whole", text)).expectSuccess()
      let paused = try Program.run(arguments(place + "/parts", text + ["--exit_interval", "5", "--json"]))
      paused.expectSuccess()
      #expect(paused.json?["steps"] == .int(5) && paused.json?["output"] == .null)
      // With less memory it goes on as it has begun.
      try Program.run(arguments(place + "/parts", text + ["--memory_budget", "1MiB"])).expectSuccess()
      let files = try ["whole", "parts"].map {
        try #require(FileManager.default.contents(atPath: "\(place)/\($0)/hf/model.safetensors"))
      }
      #expect(files[0] == files[1])
      #expect(try metrics(place + "/parts").compactMap { $0["step"]?.int } == [0, 3, 6, 6, 9, 12, 12])
      // A finished result is known again and never overwritten, and a state is of one run alone.
      let again = try Program.run(arguments(place + "/whole", text + ["--json", "--nproc", "2"]))
      again.expectSuccess()
      #expect(again.error.contains("nothing to do") && again.json?["steps"] == .int(12))
      #expect(again.json?["validation_kl"] == .some(try metrics(place + "/whole").last?["validation_kl"] ?? .null))
      for (change, said) in [
        (["--lr", "0.003"], "with lr 0.002; asked 0.003"), (["--fresh", "--seed", "7"], "with seed 1234; asked 7"),
      ] {
        let unlike = try Program.run(arguments(place + "/whole", text + change))
        #expect(
          unlike.code == 1 && unlike.error.contains("of something else") && unlike.error.contains(said),
          "\(unlike.error)")
      }
      #expect(
        FileManager.default.contents(atPath: "\(place)/whole/hf/model.safetensors") == files[0])
      let other = try Program.run(
        arguments(place + "/parts", text + ["--seed", "7", "--hf_export_path", place + "/x"]))
      #expect(other.code == 1 && other.error.contains("seed was 1234 and is 7") && other.error.contains("--fresh"))
    }
  }

  /// Two processes share the rows of a step and the optimizer's state; what they come to is what one comes to, and either goes on
  /// from the other's states.
  @Test func replicasComeToTheSame() throws {
    try withTemporaryDirectory { place in
      let more = text + ["--compute_dtype", "float32"]
      try Program.run(arguments(place + "/one", more)).expectSuccess()
      try Program.run(arguments(place + "/two", more + ["--nproc", "2"])).expectSuccess()
      try Program.run(arguments(place + "/both", more + ["--nproc", "2", "--exit_interval", "6"])).expectSuccess()
      try Program.run(arguments(place + "/both", more)).expectSuccess()
      func weights(_ name: String) throws -> [String: [Float]] {
        let file = try SafetensorsFile(path: "\(place)/\(name)/checkpoints/iter_0000012/model.safetensors")
        return try Dictionary(
          uniqueKeysWithValues: file.tensors.map { tensor in
            let bytes = try file.bytes(of: tensor)
            return (
              tensor.name,
              (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
            )
          })
      }
      let one = try weights("one")
      for name in ["two", "both"] {
        let other = try weights(name)
        #expect(one.keys.sorted() == other.keys.sorted())
        for (key, values) in one where key.hasPrefix("weights.") {
          let apart = zip(values, other[key] ?? []).map { abs($0 - $1) }.max() ?? .infinity
          #expect(apart < 1e-5, "\(name), \(key): \(apart)")
        }
      }
      #expect(try metrics(place + "/two").compactMap { $0["step"]?.int } == [0, 3, 6, 6, 9, 12, 12])
    }
  }

  /// What a cache has of the teacher is used, and what is damaged there is made again.
  @Test func theTeachersStatesAreKept() throws {
    let text = text + ["--intermediate_layer_pairs", "2:3"]
    try withTemporaryDirectory { place in
      let more = text + ["--teacher_cache", place + "/cache"]
      try Program.run(arguments(place + "/first", more)).expectSuccess()
      let all = try FileManager.default.subpathsOfDirectory(atPath: place + "/cache")
      let files = all.filter { $0.hasSuffix(".states") }
      // Twelve steps of eight rows, and those that are held back; of the layer that is compared the former.
      let ofLayer = files.filter { $0.contains("layer-3/") }
      #expect(ofLayer.count == 96 && files.count - ofLayer.count > 96)
      for (number, name) in files.enumerated() where number % 3 == 0 {
        var bytes = try #require(FileManager.default.contents(atPath: place + "/cache/" + name))
        if number % 2 == 0 { bytes[40] ^= 4 } else { bytes = bytes.prefix(100) }
        try bytes.write(to: URL(fileURLWithPath: place + "/cache/" + name))
      }
      try Program.run(arguments(place + "/second", more)).expectSuccess()
      try Program.run(arguments(place + "/none", text)).expectSuccess()
      // In eight bits they are a little over half as large, and whoever reads them learns what those have learned who made them.
      let eight = text + ["--teacher_cache", place + "/eight", "--teacher_cache_bits", "8"]
      for name in ["third", "fourth"] { try Program.run(arguments("\(place)/\(name)", eight)).expectSuccess() }
      func size(_ name: String) throws -> Int {
        let files = try FileManager.default.subpathsOfDirectory(atPath: "\(place)/\(name)").filter {
          $0.hasSuffix(".states")
        }
        return try files.reduce(0) {
          $0 + (try FileManager.default.attributesOfItem(atPath: "\(place)/\(name)/\($1)")[.size] as? Int ?? 0)
        }
      }
      #expect(try Double(size("eight")) < 0.56 * Double(size("cache")))
      let few = try ["third", "fourth"].map {
        try #require(FileManager.default.contents(atPath: "\(place)/\($0)/hf/model.safetensors"))
      }
      #expect(few[0] == few[1])
      let held = try ["first", "third"].map { name -> Double in
        let found = try metrics("\(place)/\(name)").compactMap { $0["validation_kl"]?.double }
        return try #require(found.last)
      }
      #expect(abs(held[0] - held[1]) < 0.02 * held[0], "\(held)")
      let models = try ["first", "second", "none"].map {
        try #require(FileManager.default.contents(atPath: "\(place)/\($0)/hf/model.safetensors"))
      }
      #expect(models[0] == models[1] && models[0] == models[2])
    }
  }

  /// Of rows that are learned the likeliest tokens suffice; what is held back is measured by all of them.
  @Test func theTeachersLikeliestTokensAreKept() throws {
    try withTemporaryDirectory { place in
      let more = text + ["--teacher_cache", place + "/cache", "--teacher_cache_topk", "16"]
      try Program.run(arguments(place + "/first", steps: 30, more)).expectSuccess()
      func sizes(_ kind: String) throws -> [Int] {
        let cache = place + "/cache"
        return try FileManager.default.subpathsOfDirectory(atPath: cache).filter { $0.hasSuffix(kind) }.compactMap {
          try FileManager.default.attributesOfItem(atPath: "\(cache)/\($0)")[.size] as? Int
        }
      }
      // 30 steps of eight rows of 64 tokens, and eight rows that are held back.
      let (few, states) = (try sizes(".likeliest"), try sizes(".states"))
      #expect(few.count == 240 && few.allSatisfy { $0 == 64 * (16 * 6 + 2) + 32 })
      #expect(states.count == 8 && (few.max() ?? 0) * 3 < states.min() ?? 0)
      try Program.run(arguments(place + "/second", steps: 30, more)).expectSuccess()
      try Program.run(arguments(place + "/none", steps: 30, text)).expectSuccess()
      let models = try ["first", "second", "none"].map {
        try #require(FileManager.default.contents(atPath: "\(place)/\($0)/hf/model.safetensors"))
      }
      #expect(models[0] == models[1] && models[0] != models[2])
      let held = try ["first", "second", "none"].map { name in
        try metrics("\(place)/\(name)").compactMap { $0["validation_kl"]?.double }
      }
      // The same start by the same measure, and nearly the same end.
      #expect(held[0] == held[1] && held[0].first == held[2].first)
      let ends = try held.map { try #require($0.last) }
      #expect(ends[0] < 0.5 * held[0][0] && ends[0] < 1.1 * ends[2], "\(held)")
      // Another number of them is another run.
      let other = try Program.run(arguments(place + "/first", steps: 30, more.dropLast() + ["8"]))
      #expect(other.code == 1 && other.error.contains("teacher_cache_topk"), "\(other.error)")
      try Program.run(arguments(place + "/many", text + ["--teacher_cache", place, "--teacher_cache_topk", "4096"]))
        .expectFailure(1, saying: "--teacher_cache_topk is 4096; the vocabulary has")
    }
  }

  /// Text that `tokenize` has written is learned from as it is; so are answers, and random tokens.
  @Test func allKindsOfDataAreLearnedFrom() throws {
    try withTemporaryDirectory { place in
      let tokenized = try Program.run([
        "tokenize", "--hf_model_name_or_path", Program.model, "--calib_dataset_name", Program.data + "/calib.jsonl",
        "--output_prefix", place + "/text",
      ])
      tokenized.expectSuccess()
      #expect(tokenized.output.contains("documents"))
      try Program.run(arguments(place + "/plain", text)).expectSuccess()
      try Program.run(arguments(place + "/indexed", ["--data_paths", place + "/text"])).expectSuccess()
      let files = try ["plain", "indexed"].map {
        try #require(FileManager.default.contents(atPath: "\(place)/\($0)/hf/model.safetensors"))
      }
      #expect(files[0] == files[1])
      try FileManager.default.createDirectory(atPath: place + "/sft", withIntermediateDirectories: true)
      let rows = (1...20).map { "{\"input\": \"What is \($0) and \($0)? \", \"output\": \"It is \($0 * 2).\"}\n" }
      for name in ["training", "validation"] {
        try Data(rows.joined().utf8).write(to: URL(fileURLWithPath: "\(place)/sft/\(name).jsonl"))
      }
      let answers = ["--sft", "--sft_dataset_root", place + "/sft", "--no_skip_lm_loss"]
      try Program.run(arguments(place + "/answers", answers)).expectSuccess()
      let losses = try metrics(place + "/answers").compactMap { $0["loss"]?.double }
      #expect((losses.last ?? .infinity) < 0.7 * (losses.first ?? 0), "\(losses)")
      // Several to a row, kept apart, they are learned as well; so are documents.
      try Program.run(arguments(place + "/packed", answers + ["--pack_sequences"])).expectSuccess()
      let packed = try metrics(place + "/packed").compactMap { $0["loss"]?.double }
      #expect((packed.last ?? .infinity) < 0.7 * (packed.first ?? 0), "\(packed)")
      let apart = try Program.run(arguments(place + "/apart", text + ["--pack_sequences"]))
      apart.expectSuccess()
      func divergences(_ name: String) throws -> [Double] { try metrics(place + name).compactMap { $0["kl"]?.double } }
      #expect(try divergences("/apart").count == 4 && divergences("/apart") != divergences("/plain"))
      try Program.run(arguments(place + "/apart", text)).expectFailure(1, saying: "sequences")
      try Program.run(arguments(place + "/no", ["--use_mock_data", "--pack_sequences"]))
        .expectFailure(64, saying: "--pack_sequences", "--use_mock_data")
      try Program.run(arguments(place + "/mock", steps: 2, ["--use_mock_data"])).expectSuccess()
      let only = try Program.run(arguments(place + "/only", ["--validate_only", "--json"] + text))
      only.expectSuccess()
      #expect(only.json?["steps"] == .int(0) && (only.json?["validation_kl"]?.double ?? 0) > 0)
    }
  }

  /// What is not of a run is never written over, nor that of another run.
  @Test func foreignFilesAreLeftAsTheyAre() throws {
    try withTemporaryDirectory { place in
      for name in ["report.html", "metrics.jsonl", "checkpoints"] {
        let output = "\(place)/\(name)-out"
        try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
        try Data("mine".utf8).write(to: URL(fileURLWithPath: output + "/" + name))
        let result = try Program.run(arguments(output, steps: 2, ["--use_mock_data"]))
        #expect(result.code == 1 && result.error.contains("is there, and not of a distillation"), "\(result.error)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: output) == [name])
        #expect(try String(contentsOfFile: output + "/" + name, encoding: .utf8) == "mine")
      }
    }
  }

  static let wrong: [(arguments: [String], says: String)] = [
    (["--gbs", "6"], "--gbs 6 should be a multiple of --mbs 4"),
    (["--train_iters", "0"], "--train_iters should be at least 1"),
    (["--lr", "0"], "--lr should be a number above zero"), (["--min_lr", "1"], "--min_lr should be from 0"),
    (["--split", "1,2"], "--split should be three numbers"), (["--split", "0,1,0"], "--split should be three shares"),
    (["--teacher_cache_bits", "8"], "--teacher_cache"),
    (["--teacher_cache", "x", "--teacher_cache_bits", "4"], "8 or 16"),
    (["--teacher_cache_topk", "8"], "is about --teacher_cache, which is not given"),
    (["--teacher_cache", "x", "--teacher_cache_topk", "0"], "--teacher_cache_topk should be at least 1"),
    (["--teacher_cache", "x", "--teacher_cache_topk", "4097"], "--teacher_cache_topk can be 4096 at most"),
    (["--teacher_cache", "x", "--teacher_cache_topk", "8", "--logit_kl_topk", "8"], "are two losses"),
    (["--teacher_cache", "x", "--teacher_cache_topk", "8", "--teacher_cache_bits", "8"], "--teacher_cache_bits out"),
    (["--use_mock_data"], "more than one kind of data"), (["--sft"], "--sft and --sft_dataset_root belong together"),
    (["--student_megatron_path", "x"], "pickles"), (["--student_hf_model", "x"], "should be --student_hf_path"),
    (["--recompute_granularity", "some"], "full, selective or none"),
    (["--logit_kl_temperature", "nan"], "above zero"), (["--logit_kl_topk", "0"], "--logit_kl_topk"),
    (["--intermediate_layer_pairs", "2"], "such as 12:24"),
    (["--intermediate_layer_pairs", "1:2:far"], "such as 12:24"),
    (["--intermediate_layer_pairs", "0:1"], "at least 1"),
    (["--intermediate_layer_pairs", "1:1", "1:1:cosine"], "twice"),
    (["--seq_length", "99999999999"], "--seq_length should be at most 16777216"),
    (["--data_paths", "1.0"], "a weight stands before each name"),
    (["--data_paths", "a", "2.0", "b"], "a weight stands before each name"),
  ]

  @Test(arguments: wrong) func wrongUsageIsSaid(_ wrong: (arguments: [String], says: String)) throws {
    let result = try Program.run(arguments("/nonexistent/out", text + wrong.arguments))
    #expect(result.code == 64 && result.error.contains(wrong.says), "\(result.error)")
  }

  @Test func teachersOfOtherTokensAreRefused() throws {
    try withTemporaryDirectory { place in
      let teacher = place + "/teacher"
      try FileManager.default.copyItem(atPath: Program.model, toPath: teacher)
      let file = teacher + "/tokenizer.json"
      let text = try String(contentsOfFile: file, encoding: .utf8)
      try text.replacingOccurrences(of: "\"!\"", with: "\"!!!\"").write(toFile: file, atomically: true, encoding: .utf8)
      var words = try arguments(place + "/out", self.text)
      words[4] = teacher
      let result = try Program.run(words)
      #expect(result.code == 1 && result.error.contains("different tokenizers: token"), "\(result.error)")
      #expect(!FileManager.default.fileExists(atPath: place + "/out"))
    }
  }

  @Test func referencesFlagsWithoutABearingAreSaid() throws {
    try withTemporaryDirectory { place in
      let result = try Program.run(
        arguments(
          place + "/out", steps: 1,
          ["--use_mock_data", "--tp_size", "8", "--wandb_project", "p", "--recompute_granularity", "full"]))
      result.expectSuccess()
      #expect(result.error.contains("--tp_size: no bearing") && result.error.contains("nothing is sent anywhere"))
    }
  }

  /// A run-off tells the divergence of its candidates before and after, and chooses by it.
  @Test func aRunOffChoosesByWhatDistillationGives() throws {
    try withTemporaryDirectory { place in
      let result = try Program.run([
        "prune", "--json", "--hf_model_name_or_path", Program.model, "--output_hf_path", place + "/out",
        "--prune_intermediate_ckpt", place + "/scores", "--prune_target_params", "2.4M", "--ss_channel_divisor", "32",
        "--mmlu_dataset", Program.data + "/mmlu", "--prune_score_func", "mmlu_1pct_bs1", "--calib_dataset_name",
        Program.data + "/calib.jsonl", "--calib_num_samples", "40", "--seq_length", "64", "--top_k", "3", "--kd_runoff",
        "4K",
        "--kd_runoff_lr", "1e-3",
      ])
      result.expectSuccess()
      let candidates = try #require(result.json?["candidates"]?.array)
      let ran = candidates.filter { $0["kl_distilled"] != nil }
      #expect(ran.count == 3)
      for candidate in ran {
        #expect((candidate["kl_distilled"]?.double ?? 9) < (candidate["kl"]?.double ?? 0))
      }
      let most = ran.compactMap { $0["kd_tokens"]?.int }.max()
      let finalists = ran.filter { $0["kd_tokens"]?.int == most }
      let best = finalists.min { ($0["kl_distilled"]?.double ?? 9) < ($1["kl_distilled"]?.double ?? 9) }
      #expect(result.json?["best"]?["export_config"] == best?["export_config"])
      #expect(try FileManager.default.contentsOfDirectory(atPath: place + "/scores").contains("runoff") == false)
    }
  }
}
