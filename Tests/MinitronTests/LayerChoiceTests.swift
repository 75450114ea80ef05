import Checkpoint
import JSON
import Minitron
import Models
import TestSupport
import Testing

/// Which layers are kept, and what a config says of them.
@Suite struct LayerChoiceTests {
  private func describe(_ name: String, _ more: [(String, JSON)] = []) throws -> ModelDescription {
    var (config, _) = try CheckpointReader.readConfig(directory: Golden.root + "/Tests/Goldens/" + name)
    for (key, value) in more { config[key] = value }
    return try Families.describe(config: config, file: "config.json")
  }

  /// M - M * - M -: the fourth layer attends.
  @Test func aHybridKeepsItsBestAttentionLayer() throws {
    let model = try describe("mamba/nemotron_h_pattern")
    let ranking = [0, 6, 1, 2, 3, 5, 4]
    #expect(model.indispensableLayer(ranking) == 3)
    #expect(model.keepingOrder(ranking) == [3, 0, 6, 1, 2, 5, 4])
    // Where its rank keeps it anyway, nothing changes and nothing is said.
    for count in 1...7 {
      let kept = Set(model.keepingOrder(ranking).prefix(count))
      #expect(kept.contains(3) && kept.count == count)
      #expect((model.indispensableNote(ranking, keeping: count) == nil) == (count >= 5))
      if count >= 5 { #expect(kept == Set(ranking.prefix(count))) }
    }
    #expect(model.indispensableNote(ranking, keeping: 2)?.contains("layer 4") == true)

    var scores = ImportanceScores()
    scores.layers = [7, 4, 3, 2, 0, 1, 6]
    #expect(try scores.selection(for: ExportConfig([(.numLayers, 2)]), of: model).layers == [0, 3])
  }

  /// What a search counts is what is written.
  @Test func aSearchCountsTheLayersThatAreKept() throws {
    let model = try describe("mamba/nemotron_h_pattern")
    var settings = SearchSettings()
    settings.maxDepthPruning = 1
    settings.skipped = Set(Hyperparameter.allCases).subtracting([.numLayers])
    let ranking = [0, 6, 1, 2, 3, 5, 4]
    let result = try SearchSpace(model, settings).search(model, settings, Constraints(), layerRanking: ranking)
    let counter = MetricsCounter(model, rows: 1, tokens: 4096)
    for candidate in result.candidates {
      let kept = model.keepingOrder(ranking).prefix(try #require(candidate.config[.numLayers]))
      #expect(candidate.metrics == counter.metrics(of: Architecture(layers: Array(kept), sizes: model.sizes)))
    }
    #expect(result.candidates.count > 1)
  }

  @Test(arguments: ["dense/llama2", "mamba/mamba2_tied", "moe/deepseek_v3", "dense2/gemma3_list"])
  func modelsOfOneKindKeepTheirRanking(_ name: String) throws {
    let model = try describe(name)
    let ranking = Array(model.layers.indices.reversed())
    #expect(model.keepingOrder(ranking) == ranking)
    #expect(model.indispensableNote(ranking, keeping: 1) == nil)
  }

  @Test func listsOfOneEntryALayerFollowTheLayersThatStay() throws {
    let count = try describe("dense/llama2").layers.count
    let flags = (0..<count).map { JSON.int($0 * 10) }
    let model = try describe(
      "dense/llama2",
      [
        ("some_list_by_layer", .array(flags)), ("eos_token_id", .array(flags)), ("shorter", .array([.int(1)])),
        ("nested", .object([("list", .array(flags))])),
      ])
    let pruned = try model.prunedConfig(for: Architecture(layers: [0, count - 1], sizes: model.sizes))
    #expect(pruned["some_list_by_layer"] == .array([flags[0], flags[count - 1]]))
    for key in ["eos_token_id", "shorter", "nested"] { #expect(pruned[key] == model.config[key]) }
    // All layers stay: nothing is touched.
    #expect(
      try model.prunedConfig(for: Architecture(layers: Array(0..<count), sizes: model.sizes))["some_list_by_layer"]
        == .array(flags))
  }
}
