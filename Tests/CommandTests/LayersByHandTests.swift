import Foundation
import JSON
import TestSupport
import Testing

/// `--drop_layers` and `--keep_layers`: which layers go is said, not measured.
@Suite struct LayersByHandTests {
  private static let sixLayers = ["--prune_export_config", #"{"num_layers": 6}"#]
  private static let search = [
    "--prune_target_params", "2.4M", "--ss_channel_divisor", "64", "--top_k", "2", "--prune_score_func", "neg_loss",
    "--eval_num_samples", "2",
  ]

  private func record(_ output: String) throws -> JSON { try Golden.json(output + "/coppice.json") }
  private func kept(_ output: String) throws -> [Int] {
    try #require(try record(output)["kept_layers"]?.array).compactMap(\.int)
  }

  @Test func namedLayersGoWithoutCalibration() throws {
    try withTemporaryDirectory { directory in
      let out = directory + "/out"
      // No text: nothing is measured on any.
      let asked = ["prune", "--hf_model_name_or_path", Program.model, "--output_hf_path", out, "--drop_layers"]
      let result = try Program.run(asked + ["7-8,3", "--json"])
      result.expectSuccess()
      #expect(!result.error.contains("calibrat"), "\(result.error)")
      #expect(result.json?["best"]?["export_config"]?.serialized() == #"{"num_layers": 5}"#)
      #expect(try kept(out) == [1, 2, 4, 5, 6])
      #expect(try record(out)["made_of"]?["drop_layers"]?.string == "3,7-8")
      #expect(try Golden.json(out + "/config.json")["num_hidden_layers"]?.int == 5)
      #expect(!FileManager.default.fileExists(atPath: out + "/coppice_importance.json"))
      // The same layers in other words are the same command; as many others are not.
      let again = try Program.run(asked + ["3,7,8"])
      #expect(again.error.contains("nothing to do"))
      try Program.run(asked + ["2,7,8"]).expectFailure(1, saying: "drop_layers 3,7-8", "asked 2,7-8")
    }
  }

  @Test func otherSizesAreCutAsEver() throws {
    try withTemporaryDirectory { directory in
      for (name, config) in [
        ("left", #"{"ffn_hidden_size": 256}"#), ("said", #"{"num_layers": 6, "ffn_hidden_size": 256}"#),
      ] {
        let out = directory + "/" + name
        try Program.run(
          prune(to: out, ["--drop_layers", "1,8", "--prune_export_config", config]),
          environment: ["COPPICE_CACHE": directory + "/cache"]
        ).expectSuccess()
        #expect(try kept(out) == [2, 3, 4, 5, 6, 7])
        let read = try Golden.json(out + "/config.json")
        #expect(read["num_hidden_layers"]?.int == 6 && read["intermediate_size"]?.int == 256)
      }
      let models = try ["left", "said"].map {
        try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\($0)/model.safetensors"))
      }
      #expect(models[0] == models[1])
    }
  }

  @Test func aSearchIsForTheRest() throws {
    try withTemporaryDirectory { directory in
      let out = directory + "/out"
      let result = try Program.run(prune(to: out, Self.search + ["--drop_layers", "4-5", "--json"]))
      result.expectSuccess()
      #expect(result.error.contains("num_layers is 6 for all candidates: --drop_layers"), "\(result.error)")
      #expect(!result.error.contains("layers by importance"))
      #expect(result.json?["search_space"]?["num_layers"]?.serialized() == "[6]")
      #expect(try kept(out) == [1, 2, 3, 6, 7, 8])
      #expect(try !String(contentsOfFile: out + "/report.md", encoding: .utf8).contains("Layers by importance"))
      let plan = try Program.run(
        ["plan", "--json", "--hf_model_name_or_path", Program.model, "--drop_layers", "4-5", "--calib_batch_size", "1"]
          + Self.search.prefix(4))
      #expect(plan.json?["size"] == result.json?["size"] && plan.json?["fitting"] == result.json?["fitting"])
      #expect(!plan.error.contains("without effect"), "\(plan.error)")
    }
  }

  @Test func keptLayersTakeThePlaceOfOthers() throws {
    try withTemporaryDirectory { directory in
      let cache = ["COPPICE_CACHE": directory + "/cache"]
      try Program.run(prune(to: directory + "/free", Self.sixLayers), environment: cache).expectSuccess()
      let free = try kept(directory + "/free")
      let dropped = (1...8).filter { !free.contains($0) }
      #expect(dropped.count == 2)
      let names = dropped.map(String.init).joined(separator: ",")
      let result = try Program.run(
        prune(to: directory + "/kept", Self.sixLayers + ["--keep_layers", names]), environment: cache)
      result.expectSuccess()
      #expect(
        result.error.contains("since --keep_layers names them: \(dropped.map(String.init).joined(separator: ", "))"))
      let kept = try kept(directory + "/kept")
      #expect(kept.count == 6 && dropped.allSatisfy(kept.contains))
      // In a search, depths that are too few for them are left out.
      let deep = Self.search + ["--max_depth_pruning", "0.6", "--keep_layers", "1-5", "--json"]
      let searched = try Program.run(prune(to: directory + "/searched", deep), environment: cache)
      searched.expectSuccess()
      #expect(searched.error.contains("num_layers 4 is left out: too few for --keep_layers 1-5, which keeps 5 layers"))
      #expect(searched.json?["search_space"]?["num_layers"]?.serialized() == "[6, 8]")
      #expect(try self.kept(directory + "/searched").starts(with: [1, 2, 3, 4, 5]))
      #expect(try record(directory + "/searched")["made_of"]?["keep_layers"]?.string == "1-5")
    }
  }

  @Test(arguments: [
    (["--drop_layers", ""], "names no layer"), (["--drop_layers", "0"], "counted from 1"),
    (["--drop_layers", "9"], "this model has 8"), (["--drop_layers", "2-9223372036854775807"], "this model has 8"),
    (["--drop_layers", "1-8"], "leaves none"), (["--drop_layers", "3-1"], "1-3"), (["--drop_layers", "-3"], "\"-3\""),
    (["--drop_layers", "3,x"], "\"x\""), (["--drop_layers", "2-4", "--keep_layers", "4-5"], "layer 4 is both"),
    (["--keep_layers", ""], "names no layer"), (["--keep_layers", "7-9"] + sixLayers, "this model has 8"),
    (["--keep_layers", "1-7"] + sixLayers, "too few for --keep_layers 1-7"),
    (["--drop_layers", "3"] + sixLayers, "leaves 7 of 8"),
    (["--drop_layers", "3", "--layer_ranking", "[1,2,3,4,5,6,7,8]"], "--layer_ranking"),
    (["--layer_score", "kl", "--layer_ranking", "[1,2,3,4,5,6,7,8]"] + sixLayers, "--layer_score"),
    (["--layer_score", "cosine", "--layer_ranking", "[1,2,3,4,5,6,7,8]"] + sixLayers, "--layer_score"),
    (["--layer_score", "entropy"] + sixLayers, "--layer_score"),
    (["--layer_score_rows", "0"] + sixLayers, "at least 1"),
    (["--drop_layers", "3", "--score_lower_bound", "0"], "--drop_layers scores nothing"),
  ])
  func contradictionsAreWrongUsage(_ flags: [String], _ word: String) throws {
    try withTemporaryDirectory { directory in
      try Program.run(prune(to: directory + "/out", flags)).expectFailure(64, saying: flags[0], word)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
      let plan = ["plan", "--hf_model_name_or_path", Program.model] + flags
      try Program.run(plan).expectFailure(64, saying: word)
    }
  }

  /// Layers to keep are no goal. (Without one a plan shows all there is.)
  @Test func keptLayersAloneSayNothingOfWhatToPrune() throws {
    let kept = ["--hf_model_name_or_path", Program.model, "--keep_layers", "1"]
    try Program.run(["prune", "--output_hf_path", "/nonexistent/out"] + kept)
      .expectFailure(64, saying: "say what to prune to", "--drop_layers")
    try Program.run(["plan"] + kept).expectSuccess()
  }

  /// M - M * - M -: the fourth layer attends.
  @Test func aHybridKeepsAnAttentionLayerByHandToo() throws {
    try withTemporaryDirectory { directory in
      let model = try Program.golden("mamba/nemotron_h_pattern", in: directory)
      func run(_ name: String, _ flags: [String]) throws -> Program.Result {
        try Program.run(prune(to: directory + "/" + name, flags, model: model))
      }
      try run("none", ["--drop_layers", "3-5"]).expectFailure(1, saying: "--drop_layers 3-5", "such as layer 4")
      try run("others", ["--drop_layers", "1-3,5"]).expectSuccess()
      #expect(try kept(directory + "/others") == [4, 6, 7])
      let three = ["--prune_export_config", #"{"num_layers": 3}"#, "--keep_layers"]
      try run("three", three + ["1-3"]).expectFailure(64, saying: "keeps 3 layers and one with attention", "at least 4")
      try run("two", three + ["1,3"]).expectSuccess()
      #expect(try kept(directory + "/two") == [1, 3, 4])
    }
  }
}
