import Checkpoint
import Foundation
import JSON
import TestSupport
import Testing

/// `prune` from end to end, and what it makes of results and scores that are there already.
@Suite struct PruneTests {
  private let search = [
    "--prune_target_params", "3M", "--ss_channel_divisor", "32", "--prune_score_func", "neg_loss", "--eval_num_samples",
    "2", "--top_k", "3", "--hparams_to_skip", "num_attention_heads",
  ]
  private let byHand = ["--prune_export_config", #"{"ffn_hidden_size": 256, "num_layers": 6}"#]

  @Test func aSearchPrintsItsCandidatesAndWritesTheBest() throws {
    try withTemporaryDirectory { directory in
      let output = directory + "/out"
      let result = try Program.run(prune(to: output, search + ["--json", "--quiet"]))
      result.expectSuccess()
      // Nothing but JSON on standard output, and nothing at all beside it when quiet.
      let json = try #require(result.json)
      #expect(result.error.isEmpty, "\(result.error)")
      let candidates = try #require(json["candidates"]?.array)
      #expect(candidates.count == 3)
      let scores = candidates.compactMap { $0["score"]?.double }
      let best = try #require(json["best"])
      #expect(scores.count == 3 && best["score"]?.double == scores.max())
      #expect(candidates.allSatisfy { ($0["score_stderr"]?.double ?? 0) > 0 && ($0["params"]?.int ?? 0) <= 3_000_000 })
      let chosen = try #require(candidates.first { $0["export_config"] == best["export_config"] })
      let written = try CheckpointReader(directory: output)
      #expect(written.tensors.reduce(0) { $0 + $1.elementCount } == chosen["params"]?.int)
      #expect(written.config["intermediate_size"] == best["export_config"]?["ffn_hidden_size"])
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["out"])
    }
  }

  @Test func talkGoesToStandardErrorAndWithoutControlCharacters() throws {
    try withTemporaryDirectory { directory in
      let result = try Program.run(prune(to: directory + "/out", byHand + ["--json"]))
      result.expectSuccess()
      #expect(result.json?["best"]?["export_config"]?["num_layers"]?.int == 6)
      #expect(result.json?["best"]?["score"] == nil)
      #expect(result.error.contains("calibrat"))
      #expect(!result.error.contains("\u{1B}") && !result.error.contains("\r"))
    }
  }

  @Test func anOutputThatHoldsSomethingElseIsRefused() throws {
    try withTemporaryDirectory { directory in
      let output = directory + "/out"
      try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
      let file = output + "/model.safetensors"
      try Data("half".utf8).write(to: URL(fileURLWithPath: file))
      let result = try Program.run(prune(to: output, byHand))
      result.expectFailure(saying: output, "exists")
      #expect(try FileManager.default.contentsOfDirectory(atPath: output) == ["model.safetensors"])
      #expect(!result.error.contains("calibrat"))
    }
  }

  @Test func keptScoresServeAnotherTargetAndAreRefusedWhenStale() throws {
    try withTemporaryDirectory { directory in
      let kept = ["--prune_intermediate_ckpt", directory + "/scores"]
      let first = try Program.run(prune(to: directory + "/a", byHand + kept))
      first.expectSuccess()
      #expect(first.error.contains("calibrating"))
      let second = try Program.run(
        prune(to: directory + "/b", ["--prune_export_config", #"{"num_layers": 4}"#] + kept))
      second.expectSuccess()
      #expect(!second.error.contains("calibrating"))
      let other = ["--calib_num_samples", "5"]
      let stale = try Program.run(prune(to: directory + "/c", byHand + kept + other))
      stale.expectFailure(saying: "calib_num_samples was 4 and is 5", "--fresh")
      #expect(!FileManager.default.fileExists(atPath: directory + "/c"))
      let fresh = try Program.run(prune(to: directory + "/c", byHand + kept + other + ["--fresh"]))
      fresh.expectSuccess()
      #expect(fresh.error.contains("calibrating"))
      // Damaged ones are neither used nor overwritten in silence.
      try Data("{\"fingerprint".utf8).write(to: URL(fileURLWithPath: directory + "/scores/importance.json"))
      try Program.run(prune(to: directory + "/d", byHand + kept + other))
        .expectFailure(saying: "importance.json", "--fresh")
    }
  }

  @Test func candidateScoresAreKept() throws {
    try withTemporaryDirectory { directory in
      let kept = ["--prune_intermediate_ckpt", directory + "/scores", "--json"]
      let first = try Program.run(prune(to: directory + "/a", search + kept))
      first.expectSuccess()
      let second = try Program.run(prune(to: directory + "/b", search + kept))
      second.expectSuccess()
      #expect(second.output == first.output)
      #expect(second.error.contains("3 of 3 candidates are scored already"), "\(second.error)")
      func weights(_ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: directory + "/\(name)/model.safetensors"))
      }
      #expect(try weights("a") == weights("b"))
    }
  }

  @Test func aRaceAsksFewerQuestionsAndSaysHowSureItIs() throws {
    try withTemporaryDirectory { directory in
      let flags = [
        "--prune_target_params", "3M", "--ss_channel_divisor", "32", "--prune_score_func", "mmlu_20pct_bs1",
        "--mmlu_dataset", Program.data + "/mmlu", "--prune_intermediate_ckpt", directory + "/scores", "--json",
      ]
      let first = try Program.run(prune(to: directory + "/a", flags + ["--racing"]))
      first.expectSuccess()
      let candidates = try #require(first.json?["candidates"]?.array)
      let asked = candidates.compactMap { $0["score_items"]?.int }
      #expect(asked.count == 10 && asked.allSatisfy { (1...360).contains($0) } && asked.reduce(0, +) < 2400)
      let best = try #require(first.json?["best"])
      let certainty = try #require(best["certainty"]?.double)
      #expect(certainty > 0.5 && certainty <= 1)
      // Who wins was asked as much as anybody.
      let winner = try #require(candidates.first { $0["export_config"] == best["export_config"] })
      #expect(winner["score_items"]?.int == asked.max())
      #expect(first.error.contains("out,") && first.error.contains("sure that none"), "\(first.error)")
      // What was asked is kept, apart from whole scores.
      let second = try Program.run(prune(to: directory + "/b", flags + ["--racing"]))
      #expect(second.output == first.output)
      let whole = try Program.run(prune(to: directory + "/c", flags))
      whole.expectSuccess()
      #expect(whole.json?["candidates"]?.array?.allSatisfy { $0["score_items"] == nil } == true)
      #expect(whole.json?["best"]?["certainty"] == nil)
    }
  }

  @Test func aSmallMemoryBudgetChangesThePlanAndNotTheResult() throws {
    try withTemporaryDirectory { directory in
      let rows = ["--calib_num_samples", "24"]
      let roomy = try Program.run(prune(to: directory + "/a", byHand + rows))
      let tight = try Program.run(prune(to: directory + "/b", byHand + rows + ["--memory_budget", "200KiB"]))
      tight.expectSuccess()
      #expect(roomy.error.contains("1 pass over"))
      #expect(tight.error.contains("of them on disk") || tight.error.contains("passes over"), "\(tight.error)")
      for name in ["model.safetensors", "coppice_importance.json"] {
        let files = try ["a", "b"].map { try Data(contentsOf: URL(fileURLWithPath: directory + "/\($0)/\(name)")) }
        #expect(files[0] == files[1], "\(name)")
      }
    }
  }

  @Test func aScoreBelowTheBoundFailsAndIsWritten() throws {
    try withTemporaryDirectory { directory in
      let result = try Program.run(prune(to: directory + "/out", search + ["--score_lower_bound", "-0.001"]))
      #expect(result.code == 1)
      #expect(result.error.contains("--score_lower_bound"))
      #expect(OutputDirectory.isFinished(directory + "/out"))
    }
  }

  @Test func aDryRunWritesNothing() throws {
    try withTemporaryDirectory { directory in
      let result = try Program.run(prune(to: directory + "/out", search + ["--dry_run", "--json"]))
      result.expectSuccess()
      #expect(result.json?["candidates"]?.int == 3)
      #expect((result.json?["seconds"]?.double ?? 0) > 0)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
  }

  @Test func aDryRunSaysWhatSeveralProcessesWouldDo() throws {
    try withTemporaryDirectory { directory in
      for (flags, replicas, stages) in [(["--pp_size", "2"], 1, 2), (["--nproc", "4", "--pp_size", "2"], 2, 2)] {
        let flags = search + flags + ["--dry_run"]
        let result = try Program.run(prune(to: directory + "/out", flags + ["--json"]))
        result.expectSuccess()
        #expect(result.json?["processes"]?["replicas"]?.int == replicas)
        #expect(result.json?["processes"]?["layers"]?.array?.count == stages)
        let table = try Program.run(prune(to: directory + "/out", flags))
        #expect(table.code == 0 && table.output.contains("\(replicas * stages) processes"))
      }
      let uneven = try Program.run(
        prune(to: directory + "/out", search + ["--nproc", "3", "--pp_size", "2", "--dry_run"]))
      #expect(uneven.code == 64 && uneven.error.contains("--nproc 3 is no multiple of --pp_size 2"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
  }

  @Test func theReferencesScriptTakesItsFlags() throws {
    try withTemporaryDirectory { directory in
      var flags = prune(to: directory + "/out", byHand)
      flags.removeFirst()
      let result = try Program.run(
        flags + ["--trust_remote_code", "--no_moe_grouped_gemm", "--pp_size", "1", "--calib_batch_size", "2"],
        name: "prune_minitron")
      result.expectSuccess()
      #expect(OutputDirectory.isFinished(directory + "/out"))
    }
  }
}
