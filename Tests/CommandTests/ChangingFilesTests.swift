import Foundation
import TestSupport
import Testing

/// Weight files that something else writes to while they are used.
@Suite(.serialized) struct ChangingFilesTests {
  private let byHand = ["--prune_export_config", #"{"ffn_hidden_size": 256}"#, "--calib_num_samples", "400"]

  /// Starts the program on a copy of the model and does something to the weights once it has begun.
  private func run(_ directory: String, _ arguments: [String], after seconds: Double, _ change: String) throws
    -> Program.Result
  {
    let words = arguments.map { "'\($0)'" }.joined(separator: " ")
    return try Program.shell("\"$COPPICE\" \(words) & pid=$!; sleep \(seconds); \(change); wait $pid")
  }

  private func copy(_ directory: String) throws -> (model: String, weights: String) {
    let model = try copyOfModel(in: directory, changing: "config.json") { _ in }
    return (model, model + "/model.safetensors")
  }

  @Test func aFileThatIsCutIsOneClearMessage() throws {
    for (number, seconds) in [0.1, 0.3, 0.5, 0.7, 0.9, 1.2].enumerated() {
      try withTemporaryDirectory { directory in
        let (model, weights) = try copy(directory)
        let arguments =
          number % 3 == 2
          ? [
            "eval", "--hf_model_name_or_path", model, "--eval_dataset_name", Program.data + "/heldout.jsonl",
            "--seq_length", "64", "--eval_num_samples", "250", "--quiet",
          ] : prune(to: directory + "/out", byHand + ["--quiet"], model: model)
        let result = try run(directory, arguments, after: seconds, "truncate -s 100000 '\(weights)'")
        // It may have ended before.
        if result.code == 0 { return }
        #expect(result.code == 1, "\(result.error)")
        #expect(result.error.contains("model.safetensors") && result.output.isEmpty, "\(result.error)")
        #expect(result.error.split(separator: "\n").count == 1, "\(result.error)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["model"])
      }
    }
  }

  @Test func aFileThatIsOverwrittenMakesNoResult() throws {
    try withTemporaryDirectory { directory in
      let (model, weights) = try copy(directory)
      let kept = directory + "/kept"
      let flags = byHand + ["--prune_intermediate_ckpt", kept]
      // The lock is there as long as the run: the change comes after hashing, before the end.
      let change =
        "while ! [ -d '\(kept)' ]; do :; done; sleep 0.3; dd if=/dev/zero of='\(weights)' bs=1000 count=500 seek=1000 "
        + "conv=notrunc 2>/dev/null"
      let result = try run(directory, prune(to: directory + "/out", flags, model: model), after: 0, change)
      #expect(result.code == 1, "\(result.error)")
      #expect(result.error.contains("model.safetensors was changed while it was"), "\(result.error)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["model"])
    }
  }

  @Test func attributesAndLinksMayChange() throws {
    try withTemporaryDirectory { directory in
      let (model, weights) = try copy(directory)
      let change = "chmod 600 '\(weights)'; ln '\(weights)' '\(directory)/link'"
      let result = try run(directory, prune(to: directory + "/out", byHand, model: model), after: 0.5, change)
      #expect(result.code == 0, "\(result.error)")
    }
  }
}
