import Foundation
import JSON
import TestSupport
import Testing

/// Cuts in stages, each followed by learning from the original.
@Suite struct StageTests {
  private func arguments(_ output: String, _ more: [String] = []) -> [String] {
    [
      "prune", "--quiet", "--json", "--hf_model_name_or_path", Program.model, "--output_hf_path", output,
      "--calib_dataset_name", Program.data + "/calib.jsonl", "--calib_num_samples", "32", "--seq_length", "96",
      "--prune_target_params", "2.4M", "--ss_channel_divisor", "32", "--eval_dataset_name",
      Program.data + "/heldout.jsonl", "--eval_num_samples", "8", "--prune_score_func", "neg_kl", "--top_k", "2",
      "--stage_tokens", "20K", "--stage_lr", "1e-3",
    ] + more
  }

  @Test func eachStageIsASmallerCutThatLearns() throws {
    try withTemporaryDirectory { place in
      let output = place + "/out"
      let result = try Program.run(arguments(output, ["--stages", "2"]))
      result.expectSuccess()
      let stages = try #require(result.json?["stages"]?.array)
      let params = stages.compactMap { $0["params"]?.int }
      // The first stage's target is the geometric mean of the whole model's size and the target.
      #expect(params.count == 2 && params[0] <= 3_073_519 && params[0] > 2_700_000 && params[1] <= 2_400_000)
      for stage in stages {
        #expect(try #require(stage["kl_after"]?.double) < #require(stage["kl_before"]?.double))
      }
      #expect(stages.compactMap { $0["output"]?.string }.last == output)
      let cut = try Program.divergence(place + "/out.stages/2/pruned")
      #expect(try Program.divergence(output) < 0.8 * cut)
      // The second cut is made in what the first has learned.
      #expect(stages.compactMap { $0["original_params"]?.int } == [3_935_936, params[0]])
      #expect(try FileManager.default.contentsOfDirectory(atPath: place + "/out.stages").sorted() == ["1", "2"])

      // Given again it finds everything, and with another target what differs.
      let weights = try #require(FileManager.default.contents(atPath: output + "/model.safetensors"))
      let again = try Program.run(arguments(output, ["--stages", "2"]))
      again.expectSuccess()
      #expect(again.json?["stages"] == result.json?["stages"])
      #expect(try #require(FileManager.default.contents(atPath: output + "/model.safetensors")) == weights)
      try Program.run(arguments(output, ["--stages", "2", "--prune_target_params", "2.2M"]))
        .expectFailure(1, saying: "prune_target_params")
      // A run that was ended goes on: what the second stage had come to is found again.
      try FileManager.default.removeItem(atPath: output)
      try Program.run(arguments(output, ["--stages", "2"])).expectSuccess()
      #expect(try #require(FileManager.default.contents(atPath: output + "/model.safetensors")) == weights)
    }
  }

  @Test func anArchitectureByHandHasOneStage() throws {
    try withTemporaryDirectory { place in
      var flags = arguments(place + "/out", ["--stages", "1", "--prune_export_config", #"{"ffn_hidden_size": 256}"#])
      let target = try #require(flags.firstIndex(of: "--prune_target_params"))
      flags.removeSubrange(target...target + 1)
      let result = try Program.run(flags)
      result.expectSuccess()
      #expect(result.json?["stages"]?.array?.count == 1)
      flags[try #require(flags.firstIndex(of: "--stages")) + 1] = "2"
      try Program.run(flags).expectFailure(64, saying: "--stages 2 needs a target")
    }
  }

  /// What is at the output already shows before anything is computed, and is left as it is.
  @Test func foreignOutputsAreLeftAsTheyAre() throws {
    try withTemporaryDirectory { place in
      let output = place + "/out"
      try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
      try Data("mine".utf8).write(to: URL(fileURLWithPath: output + "/mine"))
      try Program.run(arguments(output, ["--stages", "2"])).expectFailure(1, saying: "is left as it is")
      #expect(try FileManager.default.contentsOfDirectory(atPath: output) == ["mine"])
      #expect(!FileManager.default.fileExists(atPath: place + "/out.stages/1"))
    }
  }

  static let wrong: [(arguments: [String], says: String)] = [
    (["--stages", "0"], "--stages should be at least 1"), ([], "belong to --stages"),
    (["--stages", "2", "--stage_lr", "0"], "--stage_lr should be a number above zero"),
    (["--stages", "2", "--stage_tokens", "0"], "--stage_tokens should be at least 1"),
    (["--stages", "2", "--stage_tokens", "many"], "--stage_tokens"),
    (["--stages", "2", "--keep_layers", "1"], "--keep_layers numbers the original's layers"),
    (["--stages", "2", "--nproc", "2"], "--stages cannot be combined with --nproc"),
    (["--stages", "2", "--pp_size", "2"], "--pp_size"),
    (["--stages", "2", "--dry_run"], "--stages cannot be combined with --dry_run"),
  ]

  @Test(arguments: wrong) func wrongUsageIsSaid(_ wrong: (arguments: [String], says: String)) throws {
    let result = try Program.run(arguments("/nonexistent/out", wrong.arguments))
    #expect(result.code == 64 && result.error.contains(wrong.says), "\(result.error)")
  }
}
