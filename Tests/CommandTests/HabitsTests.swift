import Foundation
import JSON
import TestSupport
import Testing

/// What people do that nobody meant them to: files that are there already, flags that change nothing, places that are gone.
@Suite struct HabitsTests {
  private let model = ["--hf_model_name_or_path", Program.model]
  private let few = ["--mmlu_dataset", Program.data + "/mmlu/test.jsonl", "--mmlu_percent", "1"]

  @Test func predictionsReplaceNothing() throws {
    try withTemporaryDirectory { directory in
      let there = directory + "/there"
      try Data("mine".utf8).write(to: URL(fileURLWithPath: there))
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/link", withDestinationPath: directory + "/nothing")
      for place in [there, directory + "/link", "/dev/null"] {
        for flags in [["--mmlu_predictions", place] + few, ["--exact_questions", "1", "--exact_predictions", place]] {
          try Program.run(["eval", "--exact_dataset", Program.data + "/mmlu/test.jsonl"] + model + flags + few)
            .expectFailure(saying: place)
        }
      }
      #expect(try String(contentsOfFile: there, encoding: .utf8) == "mine")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).sorted() == ["link", "there"])
      try Program.run(
        [
          "eval", "--mmlu_predictions", directory + "/a", "--exact_questions", "1", "--exact_predictions",
          directory + "/./a",
        ]
          + model + few
      ).expectFailure(64, saying: "one file")
    }
  }

  @Test func whatIsWrittenCanBeReadByItsName() throws {
    for name in ["answers", "a.jsonl.gz", "a.parquet", "a/"] {
      try Program.run(
        ["calibrate", "--out", "/nonexistent/" + name, "--calib_dataset_name", Program.data + "/chat.jsonl"] + model
      )
      .expectFailure(64, saying: "--out", ".jsonl")
    }
  }

  @Test func tokensAndScoresGoNowhereThatIsTaken() throws {
    try withTemporaryDirectory { directory in
      try FileManager.default.createSymbolicLink(
        atPath: directory + "/t.bin", withDestinationPath: directory + "/nothing")
      try Program.run(
        ["tokenize", "--calib_dataset_name", Program.data + "/calib.jsonl", "--output_prefix", directory + "/t"] + model
      ).expectFailure(saying: "t.bin exists")
      let copy = directory + "/model"
      try FileManager.default.copyItem(atPath: Program.model, toPath: copy)
      let before = try FileManager.default.contentsOfDirectory(atPath: copy).sorted()
      for kept in [copy, copy + "/kept"] {
        try Program.run(
          [
            "prune", "--hf_model_name_or_path", copy, "--output_hf_path", directory + "/out", "--calib_dataset_name",
            Program.data + "/calib.jsonl", "--prune_intermediate_ckpt", kept, "--drop_layers", "2",
          ]
        ).expectFailure(64, saying: "--prune_intermediate_ckpt", "model's directory")
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: copy).sorted() == before)
    }
  }

  @Test func flagsWithoutEffectAreNamed() throws {
    try withTemporaryDirectory { directory in
      func notes(_ flags: [String]) throws -> String {
        let result = try Program.run(
          [
            "prune", "--output_hf_path", directory + "/out", "--calib_dataset_name", Program.data + "/calib.jsonl",
            "--calib_num_samples", "2", "--seq_length", "32", "--dry_run",
          ] + model + flags)
        result.expectSuccess()
        return result.error
      }
      let byHand = try notes([
        "--prune_export_config", #"{"hidden_size": 128}"#, "--top_k", "3", "--racing", "--hparams_to_skip",
        "hidden_size",
        "--refit_rows", "4", "--layer_score_rows", "4", "--kd_runoff_lr", "1", "--few_shots", "2",
      ])
      #expect(byHand.contains("by hand: --top_k, --racing, --hparams_to_skip, --few_shots"), "\(byHand)")
      #expect(
        byHand.contains("without --refit: --refit_rows") && byHand.contains("kl: --layer_score_rows"), "\(byHand)")
      #expect(byHand.contains("without --kd_runoff: --kd_runoff_lr"), "\(byHand)")
      let search = [
        "--prune_target_params", "3M", "--ss_channel_divisor", "32", "--prune_score_func", "neg_loss",
        "--eval_num_samples", "2",
      ]
      let searched = try notes(search + ["--mmlu_dataset", "/nope", "--refit_candidates", "2"])
      #expect(
        searched.contains("neg_loss: --mmlu_dataset") && searched.contains("sequential: --refit_candidates"),
        "\(searched)")
      #expect(try !notes(search + ["--top_k", "3", "--racing"]).contains("without effect"))
      let generated = try Program.run(
        ["generate", "--prompt", "a", "--max_new_tokens", "1", "--top_k", "3", "--seed", "2"] + model)
      #expect(generated.error.contains("--top_k, --seed"), "\(generated.error)")
    }
  }

  @Test func hugeNumbersOfProcessesAndRowsAreRefused() throws {
    let plan = ["plan", "--prune_export_config", #"{"hidden_size": 128}"#] + model
    let huge = "\(Int.max)"
    for flags in [
      ["--nproc", huge], ["--nproc", "2", "--calib_num_samples", huge], ["--pp_size", "3", "--nproc", "1000000000001"],
      ["--pp_size", "2", "--num_layers_in_first_pipeline_stage", huge, "--num_layers_in_last_pipeline_stage", huge],
      ["--pp_size", "2", "--num_layers_in_last_pipeline_stage", huge],
    ] {
      let result = try Program.run(plan + flags)
      #expect(!result.signalled && [1, 64].contains(result.code), "\(flags): \(result.error)")
      #expect(result.error.components(separatedBy: "rror: ").count == 2, "\(result.error)")
    }
  }

  @Test func aDirectoryThatIsGoneIsSaid() throws {
    let gone = try Program.shell(
      "mkdir gone && cd gone && rmdir ../gone && $COPPICE generate --prompt a --hf_model_name_or_path \(Program.model)")
    gone.expectFailure(saying: "working directory is gone")
  }

  @Test func wordsThatAreNoTextAreRefused() throws {
    let result = try Program.shell(
      "$COPPICE generate --hf_model_name_or_path \(Program.model) --prompt \"$(printf 'a\\377')\"")
    result.expectFailure(64, saying: "not UTF-8")
  }

  @Test func helpThatNobodyCanReadFails() throws {
    for words in ["--help", "--version", "help prune", "--generate-completion-script bash"] {
      let result = try Program.shell("$COPPICE \(words) > /dev/full")
      #expect(result.code == 1 && result.error.contains("standard output"), "\(words): \(result.error)")
    }
  }

  @Test func noModelIsMeasuredBeforeAllCanBeRead() throws {
    let result = try Program.run(
      [
        "eval", "--eval_dataset_name", Program.data + "/heldout.jsonl", "--eval_num_samples", "2", "--seq_length", "64",
        "--beside", Program.model, "/nonexistent/model",
      ] + model)
    result.expectFailure(saying: "/nonexistent/model")
    #expect(!result.error.contains("loss:"))
  }
}
