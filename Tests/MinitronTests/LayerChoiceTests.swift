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

  private func choice(dropped: String = "", kept: String = "") throws -> LayerChoice {
    func numbers(_ text: String) throws -> LayerNumbers {
      text.isEmpty ? LayerNumbers() : try LayerNumbers(parsing: text)
    }
    return LayerChoice(dropped: try numbers(dropped), kept: try numbers(kept))
  }

  @Test func layersByHandGoBeforeTheirRank() throws {
    let model = try describe("mamba/nemotron_h_pattern")
    let ranking = [0, 6, 1, 2, 3, 5, 4]
    // What is dropped is gone, and the indispensable layer is in front all the same.
    #expect(model.keepingOrder(ranking, try choice(dropped: "1,3")) == [3, 6, 1, 5, 4])
    #expect(model.keepingOrder(ranking, try choice(kept: "5-6")) == [3, 5, 4, 0, 6, 1, 2])
    // One that attends is kept by choice: no other layer is indispensable.
    #expect(model.keepingOrder(ranking, try choice(dropped: "2", kept: "4,5")) == [3, 4, 0, 6, 2, 5])
    #expect(model.indispensableNote(ranking, try choice(kept: "4"), keeping: 1) == nil)
    for (kept, fewest) in [("", 1), ("1", 2), ("4", 1), ("1-3", 4), ("1-7", 7)] {
      #expect(model.fewestLayers(try choice(kept: kept)) == fewest, "\(kept)")
    }
    #expect(try describe("dense/llama2").fewestLayers(LayerChoice()) == 1)

    var scores = ImportanceScores()
    scores.layers = [7, 4, 3, 2, 0, 1, 6]
    scores.layerChoice = try choice(dropped: "1,7")
    #expect(try scores.selection(for: ExportConfig([(.numLayers, 3)]), of: model).layers == [1, 2, 3])
    scores.layerChoice = try choice(kept: "5")
    #expect(try scores.selection(for: ExportConfig([(.numLayers, 3)]), of: model).layers == [0, 3, 4])
    scores.layerDivergences = [0, 1, 2, 3, 4, 5, 6]
    scores.layerChoice = LayerChoice()
    #expect(try scores.selection(for: ExportConfig([(.numLayers, 3)]), of: model).layers == [3, 5, 6])
  }

  @Test func aSearchLeavesLayersByHandAlone() throws {
    let model = try describe("mamba/nemotron_h_pattern")
    let ranking = [0, 6, 1, 2, 3, 5, 4]
    let counter = MetricsCounter(model, rows: 1, tokens: 4096)
    var settings = SearchSettings()
    settings.maxDepthPruning = 1
    for (dropped, kept, depths) in [
      ("1,3", "", [5]), ("", "1-3", [4, 6, 7]), ("", "4-7", [4, 6, 7]), ("", "1-7", [7]), ("2", "1,7", [6]),
    ] {
      settings.layerChoice = try choice(dropped: dropped, kept: kept)
      for skipped in [[], [Hyperparameter.numLayers]] {
        settings.skipped = Set(skipped)
        let space = SearchSpace(model, settings)
        let found = space.choices.first { $0.hyperparameter == .numLayers }?.values
        // Layers that are said to go do so even where the depth is not searched.
        #expect(found == (skipped.isEmpty || !dropped.isEmpty ? depths : nil), "\(dropped), \(kept)")
        let result = try space.search(model, settings, Constraints(), layerRanking: ranking)
        for candidate in result.candidates {
          let order = model.keepingOrder(ranking, settings.layerChoice)
          let layers = Array(order.prefix(candidate.config[.numLayers] ?? order.count))
          let sizes = candidate.config.architecture(of: model).sizes
          #expect(candidate.metrics == counter.metrics(of: Architecture(layers: layers, sizes: sizes)))
          #expect(layers.allSatisfy { !settings.layerChoice.dropped.contains($0) } && layers.contains(3))
          #expect(settings.layerChoice.kept.layers(of: 7).allSatisfy(layers.contains))
        }
      }
    }
  }

  @Test func aTargetThatLayersByHandPutOutOfReachSaysSo() throws {
    let model = try describe("dense/llama2")
    var settings = SearchSettings()
    (settings.channelDivisor, settings.maxWidthPruning, settings.maxDepthPruning) = (1, 1, 1)
    settings.topK = .max
    let all = try SearchSpace(model, settings).search(model, settings, Constraints(), layerRanking: nil).candidates
    func least(_ layers: Int) throws -> Int {
      try #require(all.filter { $0.config[.numLayers] == layers }.map(\.metrics.params).min())
    }
    let (fewer, more) = (try least(2), try least(4))
    #expect(fewer < more)
    func problem(_ target: Int) -> String? {
      let error = #expect(throws: ModelError.self) {
        try SearchSpace(model, settings)
          .search(model, settings, Constraints(params: Double(target)), layerRanking: nil)
      }
      return error?.description
    }
    settings.layerChoice = try choice(kept: "1-3")
    #expect(problem(more - 1)?.contains("Name fewer layers in keep_layers, or raise the target") == true)
    #expect(problem(fewer - 1)?.contains("keep_layers") == false)
    settings.layerChoice = try choice(dropped: "2")
    #expect(problem(fewer - 1)?.contains("Name more layers in drop_layers, which fixes num_layers") == true)
  }

  /// Of nine layers the second of each three attends: they go in threes, the best layer with attention with its own.
  @Test func layersToldApartByTheirNumbersGoInWholePeriods() throws {
    let model = try describe("hybrid/jamba_dense", [("num_hidden_layers", .int(9))])
    #expect(model.layerStretch == 3)
    #expect(model.keepingOrder([8, 0, 4, 2, 7, 6, 1, 3, 5]) == [3, 4, 5, 6, 7, 8, 0, 1, 2])
    func config(_ layers: [Int]) throws -> JSON.Object {
      try model.prunedConfig(for: Architecture(layers: layers, sizes: model.sizes))
    }
    func refusal(_ layers: [Int]) -> String? { model.refusesLayers?(layers) }
    #expect(refusal([3, 4, 5, 6, 7, 8]) == nil && refusal([0, 1, 2, 3, 4]) == nil)
    #expect(try config([3, 4, 5, 6, 7, 8])["attn_layer_offset"] == .int(1))
    // Other periods where one fits.
    #expect(refusal([1, 2, 3, 4, 5, 6, 7, 8]) == nil && refusal([1, 4, 7]) == nil && refusal([0, 2, 4]) == nil)
    #expect(try config([1, 2, 3, 4, 5, 6, 7, 8])["attn_layer_offset"] == .int(0))
    #expect(try config([1, 4, 7])["attn_layer_period"] == .int(1))
    #expect(try config([0, 2, 4])["attn_layer_offset"] == .int(2))
    #expect(refusal([0, 1, 2, 3, 4, 6, 7])?.contains("whole stretches of 3") == true)
    // What is ranked goes in whole ones.
    for count in 1...9 {
      let shape = Architecture(layers: Array(0..<count), sizes: model.sizes)
      #expect((model.refusal(of: shape) == nil) == (count % 3 == 0))
    }
    // One that is not whole goes first.
    let five = try describe("hybrid/jamba_dense")
    #expect(five.keepingOrder([4, 3, 0, 2, 1]) == [3, 4, 0, 1, 2])
    #expect(five.keepingOrder([3, 1, 4, 0, 2]) == [0, 1, 2, 3, 4])
  }

  /// The third and the fourth layer lend their keys and values, and the last has to see all tokens.
  @Test func layersThatOthersReadAreKept() throws {
    let model = try describe("gemma4/shared")
    let ranking = [0, 1, 4, 5, 2, 3, 6]
    #expect(model.keepingOrder(ranking) == [2, 3, 6, 0, 1, 4, 5])
    #expect(model.fewestLayers(LayerChoice()) == 3)
    #expect(model.fewestLayers(LayerChoice(kept: try LayerNumbers(parsing: "1,3"))) == 4)
    #expect(model.indispensableNote(ranking, keeping: 5)?.contains("layers 4, 7 are kept") == true)
    #expect(model.indispensableNote([6, 2, 3, 0, 1, 4, 5], keeping: 3) == nil)
    #expect(try describe("gemma4/plain").required.layers == [4])
    // As does the configuration: of the layers that read others' keys one is left.
    let config = try model.prunedConfig(for: Architecture(layers: [0, 2, 3, 6], sizes: model.sizes))
    #expect(config["num_kv_shared_layers"] == .int(1))
    #expect(
      config["per_layer_config"]
        == .object([("1", .object([("head_dim", .int(16))])), ("3", .object([("head_dim", .int(16))]))]))
    let source = try SourceModel(directory: Golden.root + "/Tests/Goldens/gemma4/shared")
    #expect(throws: ModelError.self) { try Exporter(source, selection: Selection(layers: [0, 1, 2, 6])) }
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
