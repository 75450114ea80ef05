import Foundation
import JSON
import TestSupport
import Testing

/// What the guide to the reference shows, pasted behind our commands; and `plan` behind the flags of `prune`.
@Suite struct PlanFlagsTests {
  private let small = ["--hf_model_name_or_path", Program.model]
  private let target = ["--prune_target_params", "3.6M", "--ss_channel_divisor", "32"]

  private func flags(_ command: [String]) throws -> Set<String> {
    let help = try Program.run(command + ["--help-hidden"])
    help.expectSuccess()
    return Set(help.output.matches(of: /--[a-z_]+/).map { String($0.output) })
  }

  @Test func planTakesEveryFlagOfPrune() throws {
    let flags = try flags(["prune"])
    #expect(flags.count > 40)
    #expect(flags.isSubset(of: try self.flags(["plan"])))
  }

  /// The stages of the guide: 36 layers on 8 with 3 at both ends.
  @Test func aPlanForProcessesSaysWhatEachHasToDo() throws {
    try withTemporaryDirectory { directory in
      let config = """
        {"model_type": "qwen3", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 36, "head_dim": 16,
         "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "tie_word_embeddings": true}
        """
      try Data(config.utf8).write(to: URL(fileURLWithPath: directory + "/config.json"))
      func plan(_ flags: String...) throws -> Program.Result { try plan(flags) }
      func plan(_ flags: [String]) throws -> Program.Result {
        try Program.run(["plan", "--json", "--hf_model_name_or_path", directory, "--seq_length", "128"] + flags)
      }
      let ends = ["--num_layers_in_first_pipeline_stage", "3", "--num_layers_in_last_pipeline_stage", "3"]
      let uneven = try plan("--pp_size", "8", ends[0], ends[1], ends[2], ends[3])
      uneven.expectSuccess()
      let processes = try #require(uneven.json?["processes"])
      #expect(processes["layers"]?.array?.compactMap(\.int) == [3, 5, 5, 5, 5, 5, 5, 3])
      #expect(processes["replicas"]?.int == 1)
      #expect(try plan("--nproc", "16", "--pp_size", "8").json?["processes"]?["replicas"]?.int == 2)
      #expect(try plan("--nproc", "1").json?["processes"] == nil)
      // Stages with room for their layers hold them all and send batches on one by one; without it they take turns.
      let sized = ["--compute_dtype", "float32", "--calib_num_samples", "512"]
      let roomy = try plan(["--pp_size", "2", "--memory_budget", "1TB"] + sized)
      let tight = try plan(["--pp_size", "2", "--memory_budget", "1500KB"] + sized)
      #expect(roomy.error.isEmpty && tight.error.isEmpty, "used flags are noted: \(roomy.error) \(tight.error)")
      let (held, less) = (
        roomy.json?["processes"]?["memory_bytes"]?.int, tight.json?["processes"]?["memory_bytes"]?.int
      )
      #expect(try #require(held) > #require(less))
      #expect(try (0..<1).contains(#require(roomy.json?["processes"]?["idle"]?.double)))
      try plan("--pp_size", "37").expectFailure(64, saying: "--pp_size 37", "36 layers")
      try plan("--pp_size", "2", ends[0], "36").expectFailure(64, saying: ends[0], "leave 0")
      try plan("--nproc", "9", "--pp_size", "2").expectFailure(64, saying: "--pp_size", "1, 3, 9")
    }
  }

  @Test func planSaysWhichFlagsHaveNoBearing() throws {
    let plain = try Program.run(["plan", "--json"] + small + target)
    plain.expectSuccess()
    #expect(plain.error.isEmpty, "\(plain.error)")
    let pasted = try Program.run(
      ["plan", "--json"] + small + target + [
        "--calib-bos", "--output_hf_path", "/nonexistent/out", "--calib_dataset_name", "a.jsonl", "b.parquet",
        "--prune_score_func=neg_loss", "--trust_remote_code", "--mmlu_dataset", "--dashed",
      ])
    pasted.expectSuccess()
    #expect(pasted.output == plain.output)
    #expect(
      pasted.error
        == "without effect on a plan: --calib_bos, --output_hf_path, --calib_dataset_name, --prune_score_func, "
        + "--trust_remote_code, --mmlu_dataset\n")
    for wrong in [
      ["--pp_size", "0"], ["--prune_score_func", "neg_los"], ["--calib_num_samples", "0"], ["--device", "gpu"],
      ["--few_shots", "-1"], ["--num_layers_in_first_pipeline_stage", "0"], ["--output_megatron_path", "x"],
    ] {
      try Program.run(["plan"] + small + target + wrong).expectFailure(64, saying: wrong[0])
    }
  }

  @Test func planCountsAnArchitectureGivenByHand() throws {
    let config = #"{"hidden_size": 128, "ffn_hidden_size": 256, "num_layers": 6}"#
    let result = try Program.run(
      ["plan", "--json", "--output_hf_path", "out", "--prune_export_config", config] + small)
    result.expectSuccess()
    let candidate = try #require(result.json?["candidates"]?.array?.first)
    #expect(candidate["export_config"] == (try JSON(parsing: config)))
    let layer = 128 * 32 * (8 + 4 + 4 + 8) + 2 * 32 + 3 * 128 * 256 + 2 * 128
    #expect(candidate["params"]?.int == 2048 * 128 + 6 * layer + 128)
    #expect(result.json?["size"]?.int == 1 && result.json?["fitting"]?.int == 1)
    try Program.run(["plan", "--prune_export_config", config] + small).expectSuccess()
    try Program.run(["plan", "--prune_export_config", #"{"hidden_size": 193}"#] + small)
      .expectFailure(1, saying: "hidden_size")
  }

  /// The commands of the guide as they are there.
  private static let guide = [
    """
    --pp_size 2 --hf_model_name_or_path Qwen/Qwen3-8B --prune_target_params 6e9 --hparams_to_skip num_attention_heads
    --output_hf_path /tmp/Qwen3-8B-Pruned-6B
    """,
    """
    --pp_size 2 --hf_model_name_or_path Qwen/Qwen3-8B
    --prune_export_config {"hidden_size":3584,"ffn_hidden_size":9216} --output_hf_path /tmp/Qwen3-8B-Pruned-6B-manual
    """,
    """
    --pp_size 8 --num_layers_in_first_pipeline_stage 3 --num_layers_in_last_pipeline_stage 3
    --hf_model_name_or_path Qwen/Qwen3-8B --prune_target_params 6e9 --output_hf_path /tmp/Qwen3-8B-Pruned-6B
    """,
  ]

  @Test(arguments: guide) func commandsOfTheGuideAreUnderstood(_ line: String) throws {
    let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
    // There is nothing in the way but the model.
    for (name, command) in [("prune_minitron", []), ("coppice", ["prune"])] {
      try Program.run(command + words, name: name)
        .expectFailure(1, saying: "no directory Qwen/Qwen3-8B", "not in the cache", "HF_HUB_OFFLINE")
    }
    // One error, though the note on flags comes before it where the model is there.
    try Program.run(["plan"] + words).expectFailure(1, saying: "no directory Qwen/Qwen3-8B")
  }

  @Test func listsOfMillionsAreShortened() throws {
    try withTemporaryDirectory { directory in
      let config = """
        {"model_type": "qwen3", "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 8, "head_dim": 32,
         "num_attention_heads": 16777216, "num_key_value_heads": 4, "vocab_size": 2048, "tie_word_embeddings": true}
        """
      try Data(config.utf8).write(to: URL(fileURLWithPath: directory + "/config.json"))
      for command in [["plan"], ["inspect"], ["inspect", "--json"]] {
        let result = try Program.run(command + ["--hf_model_name_or_path", directory])
        result.expectSuccess()
        #expect(result.output.utf8.count < 10_000, "\(result.output.prefix(5000))")
        #expect(result.output.contains("16777216"))
        if command.count == 1 { #expect(result.output.contains("1,677,722 choices")) }
      }
      // Scripts are promised the list.
      let json = try Program.run(["plan", "--json", "--hf_model_name_or_path", directory]).json
      #expect(json?["search_space"]?["num_attention_heads"]?.array?.count == 1_677_722)
    }
  }

  @Test func sizesThatNeverChangeMayBeNamed() throws {
    func plan(_ config: String) throws -> Program.Result {
      try Program.run(["plan", "--json", "--prune_export_config", config] + small)
    }
    let with = try plan(#"{"num_query_groups": 4, "num_attention_heads": 4, "kv_channels": 32}"#)
    with.expectSuccess()
    #expect(with.output == (try plan(#"{"num_attention_heads": 4}"#)).output)
    try plan(#"{"num_attention_heads": 4, "kv_channels": 16}"#)
      .expectFailure(1, saying: "kv_channels is 32", "never pruned", "found 16")
    // Groups go with their heads.
    let groups = try plan(#"{"num_query_groups": 2}"#)
    groups.expectSuccess()
    #expect(groups.output == (try plan(#"{"num_query_groups": 2, "num_attention_heads": 4}"#)).output)
    try plan(#"{"mamba_num_groups": 4}"#).expectFailure(1, saying: "qwen3 model has no mamba_num_groups")
    try plan(#"{"num_query_groups": "4"}"#).expectFailure(64, saying: "num_query_groups", "whole number")
  }
}
