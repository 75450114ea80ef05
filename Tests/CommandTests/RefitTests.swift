import Checkpoint
import Foundation
import JSON
import TestSupport
import Testing

/// `--refit` and `--recover`. `Tests/Oracle/refit.py` compares the weights with plain PyTorch.
@Suite struct RefitTests {
  private static let data = Golden.root + "/Examples/data"

  private func prune(_ output: String, _ config: String, _ flags: [String], model: String = Program.model) throws
    -> Program.Result
  {
    try Program.run(
      [
        "prune", "--hf_model_name_or_path", model, "--output_hf_path", output, "--calib_dataset_name",
        Self.data + "/calib.jsonl", "--calib_num_samples", "64", "--seq_length", "192", "--prune_export_config", config,
        "--prune_intermediate_ckpt", output + "-kept",
      ] + flags)
  }

  /// Each form at the same architecture: channels, directions and layers that are dropped.
  @Test func aRefitKeepsMostOfWhatSlicingLoses() throws {
    try withTemporaryDirectory { directory in
      func loss(_ name: String, _ config: String, _ flags: [String]) throws -> Double {
        let output = directory + "/" + name
        try prune(output, config, flags).expectSuccess()
        return try Program.divergence(output)
      }
      let narrow = #"{"hidden_size": 160, "ffn_hidden_size": 448}"#
      let sliced = try loss("sliced", narrow, [])
      let refitted = try loss("refitted", narrow, ["--refit", "sequential"])
      let recovered = try loss("recovered", narrow, ["--recover"])
      #expect(refitted < sliced / 3 && recovered < sliced / 8, "\(sliced), \(refitted), \(recovered)")
      // Each map for itself: between the two.
      let local = try loss("local", narrow, ["--refit", "local"])
      let rotated = try loss("local-rotated", narrow, ["--refit", "local", "--basis", "rotated"])
      #expect(local < sliced / 2 && rotated < local && recovered < rotated, "\(local), \(rotated)")
      let short = #"{"num_layers": 6}"#
      let (fewer, mended) = (try loss("fewer", short, []), try loss("mended", short, ["--refit", "sequential"]))
      #expect(mended < fewer / 10, "\(fewer), \(mended)")
    }
  }

  /// Candidates are scored with the weights that would be delivered, and chosen by a forecast of them.
  @Test func aSearchScoresWhatItWouldDeliver() throws {
    try withTemporaryDirectory { directory in
      let output = directory + "/out"
      let arguments = [
        "prune", "--hf_model_name_or_path", Program.model, "--output_hf_path", output, "--calib_dataset_name",
        Self.data + "/calib.jsonl", "--calib_num_samples", "32", "--seq_length", "192", "--eval_dataset_name",
        Self.data + "/heldout.jsonl", "--eval_num_samples", "8", "--prune_score_func", "neg_kl",
        "--prune_target_params",
        "3e6", "--ss_channel_divisor", "32", "--top_k", "3", "--recover", "--prefilter", "kl", "--json",
        "--prune_intermediate_ckpt", output + "-kept",
      ]
      let result = try Program.run(arguments)
      result.expectSuccess()
      let candidates = try #require(result.json?["candidates"]?.array)
      #expect(candidates.count == 3)
      func numbers(_ name: String) -> [Double] { candidates.compactMap { $0[name]?.double } }
      let (cut, local, finished) = (numbers("score_cut"), numbers("score_local"), numbers("score_finished"))
      #expect(cut.count == 3 && local.count == 3 && finished.count == 2, "the best two are finished")
      #expect(zip(cut, local).allSatisfy { $0 < $1 }, "\(cut), \(local)")
      let best = try #require(finished.max())
      #expect(best > local.max() ?? 0 && result.json?["best"]?["score"]?.double == best)
      #expect(numbers("forecast_kl") == numbers("forecast_kl").sorted())
      // What was forecast is what was found, roughly.
      for (forecast, score) in zip(numbers("forecast_kl"), local) {
        #expect(forecast > -score / 2 && forecast < -score * 2, "\(forecast), \(score)")
      }
      #expect(abs(try Program.divergence(output) + best) < 0.3 * -best, "the result is what was scored")
      let kept = try FileManager.default.contentsOfDirectory(atPath: output + "-kept")
      #expect(!kept.contains { $0.hasPrefix("refit-") }, "\(kept)")
      try FileManager.default.removeItem(atPath: output)
      // All scores are kept.
      let again = try Program.run(arguments)
      again.expectSuccess()
      #expect(again.json?["best"]?["score"]?.double == best)
      try Program.run(arguments + ["--refit_candidates", "0"]).expectFailure(64, saying: "refit_candidates")
    }
  }

  @Test func whatWasRefittedSaysSo() throws {
    try withTemporaryDirectory { directory in
      let output = directory + "/out"
      let flags = ["--refit", "sequential", "--refit_rows", "32", "--json"]
      let result = try prune(output, #"{"ffn_hidden_size": 384}"#, flags)
      result.expectSuccess()
      let refitted = try #require(result.json?["refit"]?["refitted"]?.int)
      // Before the first projection whose inputs were cut nothing is to be mended.
      #expect(refitted > 20 && result.json?["refit"]?["sliced"]?.int != nil)
      #expect(result.error.contains("refitting on 32 rows"))
      let record = try Golden.json(output + "/coppice.json")
      #expect(record["made_of"]?["refit"]?.string == "sequential" && record["made_of"]?["refit_rows"]?.string == "32")
      let card = try String(contentsOfFile: output + "/README.md", encoding: .utf8)
      #expect(card.contains("\(refitted) were solved anew"))
      // The same again is there; without a refit it is something else.
      try prune(output, #"{"ffn_hidden_size": 384}"#, flags).expectSuccess()
      try prune(output, #"{"ffn_hidden_size": 384}"#, ["--json"]).expectFailure(1, saying: "refit sequential")
      #expect(try FileManager.default.contentsOfDirectory(atPath: output + "-kept") == ["importance.json"])
    }
  }

  /// Layers that are done are not done again, and damaged ones are.
  @Test func anEndedRefitGoesOn() throws {
    try withTemporaryDirectory { directory in
      let config = #"{"hidden_size": 128, "num_layers": 6}"#
      let flags = ["--refit", "sequential", "--refit_rows", "64"]
      let whole = directory + "/whole"
      try prune(whole, config, flags).expectSuccess()
      let ended = directory + "/ended"
      func kept() -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: ended + "-kept")) ?? []).filter {
          $0.hasPrefix("refit-") && $0.hasSuffix(".json")
        }.sorted()
      }
      let line = """
        "$COPPICE" prune --hf_model_name_or_path \(Program.model) --output_hf_path \(ended) \
        --calib_dataset_name \(Self.data)/calib.jsonl --calib_num_samples 64 --seq_length 192 \
        --prune_export_config '\(config)' --prune_intermediate_ckpt \(ended)-kept \(flags.joined(separator: " ")) &
        until [ $(ls \(ended)-kept/refit-*.json | wc -l) -ge 2 ] || ! kill -0 $!; do sleep 0.02; done 2>/dev/null
        kill -9 $!; wait
        """
      _ = try Program.shell(line)
      let done = kept()
      #expect(done.count >= 2, "it was ended too late")
      // One of them loses a bit.
      let name = ended + "-kept/" + (done.first ?? "").replacingOccurrences(of: ".json", with: ".bin")
      var bytes = try Data(contentsOf: URL(fileURLWithPath: name))
      bytes[bytes.count / 2] ^= 1
      try bytes.write(to: URL(fileURLWithPath: name))
      try prune(ended, config, flags).expectSuccess()
      #expect(
        try Data(contentsOf: URL(fileURLWithPath: whole + "/model.safetensors"))
          == Data(contentsOf: URL(fileURLWithPath: ended + "/model.safetensors")))
      #expect(kept().isEmpty, "what is not needed any more is removed")
    }
  }

  /// Whether branches that are done are kept or computed again, in the type of the checkpoint and in a wider one.
  @Test(arguments: ["float32", "bfloat16"])
  func weightsDoNotDependOnTheRoom(_ dtype: String) throws {
    try withTemporaryDirectory { directory in
      func layers(_ name: String, _ flags: [String]) throws -> [String: [UInt8]] {
        let output = directory + "/" + name
        try prune(
          output, #"{"hidden_size": 160, "ffn_hidden_size": 448, "num_layers": 6}"#,
          ["--refit", "sequential", "--compute_dtype", dtype] + flags
        ).expectSuccess()
        let file = try CheckpointReader(directory: output)
        // The head is refitted on what there is room for.
        let names = try SafetensorsFile(path: output + "/model.safetensors").tensors.map(\.name).filter {
          $0.contains(".layers.")
        }
        return try Dictionary(uniqueKeysWithValues: names.map { ($0, Array(try file.bytes(of: $0))) })
      }
      let (kept, again) = (try layers("kept", []), try layers("again", ["--memory_budget", "1MiB"]))
      #expect(kept.count == 66 && kept == again)
    }
  }

  @Test func whatContradictsItselfIsWrongUsage() throws {
    try withTemporaryDirectory { directory in
      func fails(_ flags: [String], saying words: String...) throws {
        let result = try prune(directory + "/out", #"{"hidden_size": 128}"#, flags)
        #expect(result.code == 64, "\(result.error)")
        for word in words { #expect(result.error.contains(word), "\(result.error)") }
      }
      try fails(["--recover", "--basis", "channels"], saying: "--recover", "contradict")
      try fails(["--recover", "--refit", "none"], saying: "--recover", "contradict")
      try fails(["--refit", "sequential", "--refit_rows", "1"], saying: "--refit_rows", "2")
      try fails(["--refit", "locally"], saying: "--refit")
    }
  }

  /// Of a finalist that begins as the original nothing is refitted there, and it is scored all the same; so is the original itself.
  @Test(arguments: [["--prune_target_params", "3.5M", "--drop_layers", "5"], ["--prune_target_params", "5M"]])
  func finalistsThatBeginAsTheOriginalAreScored(_ target: [String]) throws {
    try withTemporaryDirectory { directory in
      for refit in [["--refit", "sequential", "--refit_candidates", "1"], ["--recover"]] {
        let output = directory + "/\(refit.count)"
        let result = try Program.run(
          [
            "prune", "--hf_model_name_or_path", Program.model, "--output_hf_path", output, "--calib_dataset_name",
            Self.data + "/calib.jsonl", "--calib_num_samples", "16", "--seq_length", "96", "--eval_dataset_name",
            Self.data + "/heldout.jsonl", "--eval_num_samples", "4", "--prune_score_func", "neg_kl", "--top_k", "2",
            "--ss_channel_divisor", "32", "--prune_intermediate_ckpt", output + "-kept", "--json",
          ] + target + refit)
        result.expectSuccess()
        #expect(result.json?["best"]?["export_config"]?["hidden_size"]?.int == 192)
      }
    }
  }
}
