import Foundation
import JSON
import TestSupport
import Testing

/// `--basis`: what `hidden_size` is cut in.
@Suite struct BasisTests {
  private static let data = Golden.root + "/Examples/data"
  private static let calibration = [
    "--calib_dataset_name", data + "/calib.jsonl", "--calib_num_samples", "64", "--seq_length", "192",
  ]

  private func prune(_ output: String, _ flags: [String], model: String = Program.model) throws -> Program.Result {
    try Program.run(
      ["prune", "--hf_model_name_or_path", model, "--output_hf_path", output] + Self.calibration + flags)
  }

  private func byHand(_ config: String) -> [String] { ["--prune_export_config", config] }

  /// The reason why there is a rotated basis: at the same architecture far less is lost.
  @Test func rotationLosesAFractionOfWhatSlicingDoes() throws {
    try withTemporaryDirectory { directory in
      for basis in ["channels", "rotated"] {
        try prune(
          directory + "/" + basis,
          byHand(#"{"hidden_size": 160}"#) + [
            "--basis", basis, "--prune_intermediate_ckpt", directory + "/kept-" + basis,
          ]
        ).expectSuccess()
      }
      let (sliced, rotated) = (
        try Program.divergence(directory + "/channels"), try Program.divergence(directory + "/rotated")
      )
      #expect(rotated < sliced / 3, "\(rotated) against \(sliced)")
      #expect(sliced > 0.2 && rotated > 0.01)
    }
  }

  @Test func whatWasRotatedSaysSo() throws {
    try withTemporaryDirectory { directory in
      let flags =
        byHand(#"{"hidden_size": 128}"#) + ["--basis", "rotated", "--prune_intermediate_ckpt", directory + "/kept"]
      let first = try prune(directory + "/first", flags + ["--json"])
      first.expectSuccess()
      #expect(first.json?["basis"]?.string == "rotated")
      #expect(first.error.contains("128 of 192 directions"))
      let record = try Golden.json(directory + "/first/coppice.json")
      #expect(record["made_of"]?["basis"]?.string == "rotated")
      for name in ["README.md", "report.md"] {
        let text = try String(contentsOfFile: directory + "/first/" + name, encoding: .utf8)
        #expect(text.contains("The residual stream was rotated before it was cut"), "\(name)")
      }
      // Another target needs no second calibration, and the basis is the same to the last bit.
      let second = try prune(directory + "/second", flags)
      second.expectSuccess()
      #expect(second.error.contains("no calibration needed"))
      func weights(_ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)/model.safetensors"))
      }
      #expect(try weights("first") == weights("second"))
      // A second run finds its result; in channels it is another one, and so are the scores.
      #expect(try prune(directory + "/first", flags).error.contains("nothing to do"))
      try prune(directory + "/first", byHand(#"{"hidden_size": 128}"#)).expectFailure(1, saying: "basis rotated")
      try prune(
        directory + "/third", byHand(#"{"hidden_size": 128}"#) + ["--prune_intermediate_ckpt", directory + "/kept"]
      ).expectFailure(1, saying: "basis was rotated")
    }
  }

  /// With its size kept there is nothing to rotate: the weights are the source's, and a note says so.
  @Test func withoutACutOfHiddenSizeNothingIsRotated() throws {
    try withTemporaryDirectory { directory in
      let kept = ["--prune_intermediate_ckpt", directory + "/kept"]
      let config = byHand(#"{"hidden_size": 192, "ffn_hidden_size": 384}"#)
      try prune(directory + "/channels", config + kept).expectSuccess()
      let rotated = try prune(directory + "/rotated", config + kept + ["--basis", "rotated"])
      rotated.expectSuccess()
      #expect(rotated.error.contains("--basis rotated changes nothing here"))
      func weights(_ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)/model.safetensors"))
      }
      #expect(try weights("channels") == weights("rotated"))
    }
  }

  /// What candidates score is what the winner scores once it is written.
  @Test func candidatesAreScoredAsTheyAreDelivered() throws {
    try withTemporaryDirectory { directory in
      let result = try prune(
        directory + "/out",
        [
          "--json", "--basis", "rotated", "--prune_intermediate_ckpt", directory + "/kept", "--prune_target_params",
          "3.0M", "--ss_channel_divisor", "32", "--top_k", "4", "--prune_score_func", "neg_kl", "--eval_dataset_name",
          Self.data + "/heldout.jsonl", "--compute_dtype", "float32",
        ])
      result.expectSuccess()
      let score = try #require(result.json?["best"]?["score"]?.double)
      let config = try Golden.json(directory + "/out/config.json")
      #expect(config["hidden_size"]?.int != 192)
      #expect(abs(try Program.divergence(directory + "/out") + score) < 0.02 * abs(score))
    }
  }

  @Test func modelsThatCannotBeRotatedAreRefusedBeforeAnyWork() throws {
    try withTemporaryDirectory { directory in
      for (model, reason) in [
        ("dense2/gemma2_tied", "norms stand after its blocks"), ("dense2/starcoder2_window", "LayerNorm"),
      ] {
        let source = Golden.root + "/Tests/Goldens/" + model
        let flags = byHand(#"{"hidden_size": 16}"#) + ["--basis", "rotated"]
        let result = try prune(directory + "/out", flags, model: source)
        result.expectFailure(1, saying: "--basis rotated is not possible", reason)
        #expect(!result.error.contains("calibration:"))
        try Program.run(["plan", "--hf_model_name_or_path", source] + flags)
          .expectFailure(1, saying: "--basis rotated is not possible", reason)
        #expect(!FileManager.default.fileExists(atPath: directory + "/out"))
      }
      try prune(directory + "/out", byHand(#"{"hidden_size": 128}"#) + ["--basis", "sideways"])
        .expectFailure(64, saying: "--basis", "rotated")
    }
  }
}
