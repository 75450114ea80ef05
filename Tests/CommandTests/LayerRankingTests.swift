import Foundation
import JSON
import TestSupport
import Testing

/// `prune --layer_ranking`: layers in an order that somebody else has found.
@Suite struct LayerRankingTests {
  private func record(_ output: String) throws -> JSON { try Golden.json(output + "/coppice.json") }

  @Test func layersAloneAreDroppedWithoutCalibration() throws {
    try withTemporaryDirectory { directory in
      let list = "[8, 1, 2, 3, 5, 7, 4, 6]"
      try Data(list.utf8).write(to: URL(fileURLWithPath: directory + "/ranking.json"))
      for (name, ranking) in [("list", list), ("file", directory + "/ranking.json")] {
        let result = try Program.run([
          "prune", "--hf_model_name_or_path", Program.model, "--output_hf_path", directory + "/" + name,
          "--prune_export_config", #"{"num_layers": 5}"#, "--layer_ranking", ranking,
        ])
        result.expectSuccess()
        #expect(!result.error.contains("calibrat"), "\(result.error)")
        let record = try record(directory + "/" + name)
        #expect(record["kept_layers"]?.serialized() == "[1, 2, 3, 5, 8]")
        #expect(record["made_of"]?["layer_ranking"]?.string == list)
      }
    }
  }

  @Test func aRankingReplacesTheMeasuredOrderAndNotTheScoresOfWidths() throws {
    try withTemporaryDirectory { directory in
      let cache = ["COPPICE_CACHE": directory + "/cache"]
      func run(_ name: String, _ more: [String]) throws -> Program.Result {
        let result = try Program.run(
          prune(
            to: directory + "/" + name,
            [
              "--prune_target_params", "3M", "--ss_channel_divisor", "64", "--top_k", "2", "--prune_score_func",
              "neg_loss", "--eval_num_samples", "2", "--max_depth_pruning", "0.5",
            ] + more), environment: cache)
        result.expectSuccess()
        return result
      }
      let first = try run("first", ["--layer_ranking", "[5,6,7,8,1,2,3,4]"])
      #expect(first.error.contains("calibrating"))
      let second = try run("second", ["--layer_ranking", "[1,2,3,4,5,6,7,8]"])
      // Scores of widths are the same, those of candidates are not.
      #expect(second.error.contains("no calibration needed") && !second.error.contains("are scored already"))
      let again = try run("again", ["--layer_ranking", "[1,2,3,4,5,6,7,8]"])
      #expect(again.error.contains("are scored already"), "\(again.error)")
      for (name, layers) in [("first", [5, 6, 7, 8, 1, 2, 3, 4]), ("second", Array(1...8))] {
        let record = try record(directory + "/" + name)
        let kept = try #require(record["kept_layers"]?.array).compactMap(\.int)
        #expect(kept == layers.prefix(kept.count).sorted())
      }
    }
  }

  @Test(arguments: ["[1,2,3]", "[0,1,2,3,4,5,6,7]", "[1,1,2,3,4,5,6,7]", "[1,2,3,4,5,6,7,\"8\"]", "[", "{}"])
  func rankingsAreCheckedBeforeWork(_ ranking: String) throws {
    try withTemporaryDirectory { directory in
      let result = try Program.run(
        prune(to: directory + "/out", ["--prune_export_config", #"{"num_layers": 4}"#, "--layer_ranking", ranking]))
      result.expectFailure(1, saying: "layer_ranking")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
    }
  }
}
