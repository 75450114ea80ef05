import Checkpoint
import Foundation
import JSON
import TestSupport
import Testing

/// What a run makes of an output that is there already, or that somebody else is writing.
@Suite struct FinishedOutputTests {
  private let search = [
    "--prune_target_params", "3M", "--ss_channel_divisor", "32", "--prune_score_func", "neg_loss", "--eval_num_samples",
    "2", "--top_k", "2", "--hparams_to_skip", "num_attention_heads",
  ]

  private func byHand(_ ffn: Int) -> [String] { ["--prune_export_config", #"{"ffn_hidden_size": \#(ffn)}"#] }

  private func contents(_ directory: String) throws -> [String: Data] {
    var files: [String: Data] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
      files[name] = try Data(contentsOf: URL(fileURLWithPath: directory + "/" + name))
    }
    return files
  }

  @Test func theSameCommandAgainHasNothingToDo() throws {
    try withTemporaryDirectory { directory in
      for (name, flags) in [("hand", byHand(256)), ("search", search)] {
        let output = directory + "/" + name
        let first = try Program.run(prune(to: output, flags + ["--json"]))
        first.expectSuccess()
        let before = try contents(output)
        // A trailing slash is no other directory, and another spelling no other architecture.
        let again = try Program.run(prune(to: output + "/", flags + ["--json"]))
        again.expectSuccess()
        #expect(again.output == first.output)
        #expect(again.error.contains("nothing to do") && !again.error.contains("calibrat"), "\(again.error)")
        #expect(try contents(output) == before)
        let quiet = try Program.run(prune(to: output, flags + ["--quiet"]))
        #expect(quiet.code == 0 && quiet.error.isEmpty && quiet.output.isEmpty)
      }
      let spelledOut = ["--prune_export_config", #"{"ffn_hidden_size": 256, "num_layers": 8}"#]
      try Program.run(prune(to: directory + "/hand", spelledOut)).expectSuccess()
      // A winner below the bound is as much of a failure the second time.
      try Program.run(prune(to: directory + "/search", search + ["--score_lower_bound", "-0.001"]))
        .expectFailure(saying: "--score_lower_bound")
    }
  }

  @Test func theResultOfSomethingElseIsRefusedWithWhatDiffers() throws {
    try withTemporaryDirectory { directory in
      let output = directory + "/out"
      try Program.run(prune(to: output, byHand(256))).expectSuccess()
      let before = try contents(output)
      func refused(_ arguments: [String], _ words: String..., not: String = "\u{0}") throws {
        let result = try Program.run(arguments)
        result.expectFailure(saying: output, "--output_hf_path")
        for word in words { #expect(result.error.contains(word), "\(result.error)") }
        #expect(!result.error.contains(not), "\(result.error)")
      }
      try refused(prune(to: output, byHand(64)), "was made for ffn_hidden_size 256; asked 64", not: "num_samples")
      try refused(prune(to: output, byHand(64) + ["--json"]), "was made for ffn_hidden_size 256; asked 64")
      try refused(
        prune(to: output, byHand(256) + ["--calib_num_samples", "5", "--seed", "7"]),
        "was made with calib_num_samples 4; asked 5", "was made with seed", not: "weights")
      try refused(prune(to: output, byHand(256) + ["--dry_run", "--seq_length", "32"]), "seq_length 64; asked 32")
      try refused(
        prune(to: output, byHand(256), data: Program.data + "/heldout.jsonl"), "was made of other calibration data")
      try refused(prune(to: output, search), "an architecture by hand; asked a search")
      let other = try copyOfModel(in: directory, changing: "model.safetensors") { $0[$0.count - 1] ^= 1 }
      try refused(prune(to: output, byHand(256), model: other), "was made of other model weights")
      #expect(try contents(output) == before)
    }
  }

  @Test func aSearchForSomethingElseIsRefused() throws {
    try withTemporaryDirectory { directory in
      let output = directory + "/out"
      try Program.run(prune(to: output, search)).expectSuccess()
      func refused(_ more: [String], _ word: String) throws {
        try Program.run(prune(to: output, search + more)).expectFailure(saying: word)
      }
      try refused(["--top_k", "1"], "top_k 2; asked 1")
      try refused(["--eval_num_samples", "3"], "eval_num_samples 2; asked 3")
      try refused(["--max_depth_pruning", "0.3"], "max_depth_pruning 0.2; asked 0.3")
      try refused(["--prune_score_func", "neg_kl"], "score_function neg_loss; asked neg_kl")
      try refused(["--prune_target_memory_mb", "100"], "no prune_target_memory_mb; asked 100")
    }
  }

  @Test func somebodyElsesCheckpointIsNoResult() throws {
    try withTemporaryDirectory { directory in
      let output = directory + "/out"
      try FileManager.default.copyItem(atPath: Program.model, toPath: output)
      try Program.run(prune(to: output, byHand(256))).expectFailure(saying: output, "coppice.json", "--output_hf_path")
      for text in ["", "{", "[]", "{}", #"{"made_of": 1, "export_config": {}}"#, #"{"made_of": {"weights": "x"}}"#] {
        try Data(text.utf8).write(to: URL(fileURLWithPath: output + "/coppice.json"))
        try Program.run(prune(to: output, byHand(256))).expectFailure(saying: output, "--output_hf_path")
      }
    }
  }

  @Test func theModelItselfIsNoPlaceForTheResult() throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/m/model"
      try FileManager.default.createDirectory(atPath: directory + "/m", withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: Program.model, toPath: model)
      try FileManager.default.createSymbolicLink(atPath: directory + "/link", withDestinationPath: "m/model")
      let before = try contents(model)
      for output in [
        model, model + "/", model + "/.", directory + "/m/../m/model", directory + "/link", model + "/pruned",
        directory + "/link/deep/er", directory + "/m",
      ] {
        for flags in [byHand(256), byHand(256) + ["--dry_run"]] {
          try Program.run(prune(to: output, flags, model: model)).expectFailure(64, saying: "--output_hf_path")
        }
      }
      try Program.run(prune(to: model, byHand(256), model: directory + "/link")).expectFailure(64, saying: "itself")
      // Kept scores inside the output would be in its way.
      for kept in ["/out", "/out/scores", "/x/../out/"] {
        try Program.run(prune(to: directory + "/out", byHand(256) + ["--prune_intermediate_ckpt", directory + kept]))
          .expectFailure(64, saying: "--prune_intermediate_ckpt")
      }
      try Program.run(prune(to: directory + "/out", byHand(256) + ["--prune_intermediate_ckpt", ""]))
        .expectFailure(64, saying: "--prune_intermediate_ckpt")
      #expect(try contents(model) == before)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).sorted() == ["link", "m"])
    }
  }

  @Test func aSecondRunIsToldWhoHoldsTheOutput() throws {
    try withTemporaryDirectory { directory in
      let output = directory + "/deep/out"
      let claim = try OutputClaim(output)
      let second = try Program.run(prune(to: output, byHand(256)))
      second.expectFailure(saying: output, "process \(ProcessInfo.processInfo.processIdentifier) on ", " since 20")
      #expect(!second.error.contains("calibrat"))
      withExtendedLifetime(claim) {}
    }
  }

  @Test func theLockOfADeadProcessIsNoObstacle() throws {
    try withTemporaryDirectory { directory in
      try Data("4000000 elsewhere 2020-01-01 00:00:00 UTC\n".utf8)
        .write(to: URL(fileURLWithPath: directory + "/.out.lock"))
      try Program.run(prune(to: directory + "/out", byHand(256))).expectSuccess()
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["out"])
    }
  }
}
