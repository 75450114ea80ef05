import Foundation
import JSON
import TestSupport
import Testing

/// `plan`, `inspect`, `doctor`: what is known without computing.
@Suite struct PlanInspectTests {
  private let without = ["COPPICE_LIBTORCH": "/nonexistent"]

  /// A directory with nothing but this config in it.
  private func withConfig<T>(_ json: JSON, _ body: (String) throws -> T) throws -> T {
    try withTemporaryDirectory { directory in
      try Data(json.serialized().utf8).write(to: URL(fileURLWithPath: directory + "/config.json"))
      return try body(directory)
    }
  }

  private func qwen3() throws -> JSON { try Golden.json(Golden.root + "/Tests/Goldens/plan/qwen3-8b.config.json") }

  @Test func planOfQwen3EqualsTheReference() throws {
    let expected = try Golden.json(Golden.root + "/Tests/Goldens/plan/qwen3-8b.json")
    let result = try withConfig(qwen3()) { directory in
      try Program.run(
        [
          "plan", "--hf_model_name_or_path", directory, "--prune_target_params", "6e9", "--hparams_to_skip",
          "num_attention_heads", "--json",
        ], environment: without)
    }
    result.expectSuccess()
    // Keys in their order, numbers by their spelling.
    #expect(result.json == expected)
    #expect(result.error.isEmpty)
  }

  @Test func inspectCountsWhatTheWeightsHold() throws {
    let result = try Program.run(
      ["inspect", "--hf_model_name_or_path", Program.model, "--json", "--seq_length", "256"], environment: without)
    result.expectSuccess()
    let json = try #require(result.json)
    #expect(json["family"]?.string == "qwen3")
    #expect(json["params"]?.int == 3_935_936)
    let parts = try #require(json["parts"]?.object)
    #expect(parts.reduce(0) { $0 + ($1.value["params"]?.int ?? 0) } == 3_935_936)
    // 8 layers of 192 channels, 8 heads on 4 of 32 channels, two norms of 32; ffn 512; a tied vocabulary of 2048.
    #expect(parts["embedding"]?["params"]?.int == 2048 * 192)
    #expect(parts["attention"]?["per_layer"]?.int == 192 * 32 * (8 + 4 + 4 + 8) + 2 * 32)
    #expect(parts["mlp"]?["per_layer"]?.int == 3 * 192 * 512)
    #expect(parts["norms"]?["per_layer"]?.int == 2 * 192)
    #expect(parts["head"] == nil)
    // Keys and values of 256 tokens in 16 bits.
    #expect(json["memory_mb"]?["caches"]?.double == Double(2 * 2 * 256 * 4 * 32 * 8) / 1_048_576)
    #expect(json["weights"]?["matches"]?.bool == true)
    #expect(json["weights"]?["types"]?["BF16"]?["bytes"]?.int == 2 * 3_935_936)
    #expect(json["hyperparameters"]?["num_attention_heads"]?["value"]?.int == 8)
  }

  @Test func inspectNeedsNoWeightsAndAgreesWithPlan() throws {
    try withConfig(qwen3()) { directory in
      let model = ["--hf_model_name_or_path", directory]
      let inspected = try Program.run(["inspect", "--json"] + model, environment: without)
      inspected.expectSuccess()
      let planned = try #require(try Program.run(["plan", "--json"] + model, environment: without).json)
      let json = try #require(inspected.json)
      #expect(json["weights"]?.isNull == true)
      #expect(json["params"] == planned["model"]?["params"])
      #expect(json["memory_mb"]?["total"] == planned["model"]?["memory_mb"])
      for (name, choices) in try #require(planned["search_space"]?.object) {
        #expect(json["hyperparameters"]?[name.description]?["choices"] == choices)
      }
      let text = try Program.run(["inspect"] + model, environment: without)
      text.expectSuccess()
      for word in ["attention", "head", "caches", "ffn_hidden_size", "8.19B", "none here"] {
        #expect(text.output.contains(word), "\(text.output)")
      }
    }
  }

  @Test func inspectSaysWhenWeightsAreNotTheConfigs() throws {
    try withTemporaryDirectory { directory in
      let model = try copyOfModel(in: directory, config: [("intermediate_size", .int(480))])
      let result = try Program.run(["inspect", "--hf_model_name_or_path", model, "--json"])
      #expect(result.code == 1)
      #expect(result.json?["weights"]?["matches"]?.bool == false)
      #expect(
        result.error.contains("mlp") && result.error.contains("[192, 480]") && result.error.contains("[192, 512]"))
    }
  }

  /// A plan refuses what a run of pruning would.
  @Test func modulesThatTheWeightsLackAreNotPlannedWith() throws {
    let golden = Golden.root + "/Tests/Goldens/moe/qwen3_next"
    func plan(_ directory: String) throws -> Program.Result {
      try Program.run(["plan", "--hf_model_name_or_path", directory, "--mtp", "keep", "--prune_target_params", "1M"])
    }
    try plan(golden).expectFailure(saying: "the weights have no multi-token-prediction modules")
    try withTemporaryDirectory { directory in
      try FileManager.default.copyItem(atPath: golden + "/config.json", toPath: directory + "/config.json")
      let planned = try plan(directory)
      planned.expectSuccess()
      #expect(planned.error.contains("multi-token-prediction modules are kept"))
    }
  }

  @Test func aLayerRankingIsCheckedLayerByLayer() throws {
    try withTemporaryDirectory { directory in
      for (ranking, isGood) in [
        ("[8,7,6,5,4,3,2,1]", true), ("[1,2,3]", false), ("[0,1,2,3,4,5,6,7]", false), ("[1,1,2,3,4,5,6,7]", false),
        ("[1,2,3,4,5,6,7,8,9]", false), ("[1,2,3,4,5,6,7,\"8\"]", false), ("{}", false), ("", false),
      ] {
        let file = directory + "/ranking.json"
        try Data(ranking.utf8).write(to: URL(fileURLWithPath: file))
        let result = try Program.run(["plan", "--hf_model_name_or_path", Program.model, "--layer_ranking", file])
        if isGood { result.expectSuccess() } else { result.expectFailure(saying: file) }
      }
    }
  }

  @Test func doctorSaysWhatIsMissing() throws {
    let well = try Program.run(["doctor", "--json"])
    well.expectSuccess()
    #expect(well.json?["ok"]?.bool == true)
    #expect(well.json?["libtorch"]?.string == "2.11.0")
    let ill = try Program.run(["doctor", "--json"], environment: without)
    #expect(ill.code == 1)
    #expect(ill.json?["ok"]?.bool == false)
    #expect(ill.json?["problems"]?.array?.first?.string?.contains("COPPICE_LIBTORCH") == true)
    let parquet = try Program.run(["doctor"], environment: ["COPPICE_PARQUET_SHIM": "/nonexistent"])
    #expect(parquet.code == 1)
    #expect(parquet.error.contains("Scripts/setup"))
  }

  @Test func standardOutputThatIsFullIsAnError() throws {
    let result = try Program.shell("\"$COPPICE\" plan --hf_model_name_or_path '\(Program.model)' --json > /dev/full")
    result.expectFailure(saying: "No space left")
  }
}
