import JSON
import Minitron
import Models
import TestSupport
import Testing

/// Searches compared with a walk that visits every point and counts each from the table of weights.
@Suite struct SearchTests {
  /// The same search, point by point.
  private struct EveryPoint {
    var fitting = 0
    var refused = 0
    var rule: String?
    var candidates: [Candidate] = []
    var ties = 0

    init(
      _ model: ModelDescription, _ space: SearchSpace, _ settings: SearchSettings, _ constraints: Constraints,
      ranking: [Int]
    ) {
      let counter = MetricsCounter(model, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
      func primary(_ metrics: Metrics) -> Double {
        if constraints.activeParams != nil { return Double(metrics.activeParams) }
        if constraints.params == nil, constraints.memoryMB != nil { return metrics.memoryMB }
        return Double(metrics.params)
      }
      for number in 0..<(space.size ?? 0) {
        let config = SearchTests.point(number, of: space)
        let architecture = config.architecture(of: model, ranking: ranking)
        if let (_, reason) = model.refusal(of: architecture) {
          refused += 1
          rule = reason
          continue
        }
        let metrics = counter.metrics(of: architecture)
        if let limit = constraints.params, Double(metrics.params) > limit { continue }
        if let limit = constraints.activeParams, Double(metrics.activeParams) > limit { continue }
        if let limit = constraints.memoryMB, metrics.memoryMB > limit { continue }
        candidates.append(Candidate(config: config, metrics: metrics))
      }
      fitting = candidates.count
      let order = candidates.indices.sorted { left, right in
        let (a, b) = (primary(candidates[left].metrics), primary(candidates[right].metrics))
        return a == b ? left < right : a > b
      }
      candidates = order.map { candidates[$0] }
      ties = zip(candidates, candidates.dropFirst()).count { primary($0.metrics) == primary($1.metrics) }
      candidates = Array(candidates.prefix(settings.topK))
    }
  }

  /// The last hyperparameter varies fastest.
  private static func point(_ number: Int, of space: SearchSpace) -> ExportConfig {
    var rest = number
    let pairs = space.choices.reversed().map { choice in
      let value = choice.values[rest % choice.values.count]
      rest /= choice.values.count
      return (choice.hyperparameter, value)
    }
    return ExportConfig(pairs.reversed())
  }

  private struct Search {
    var settings = SearchSettings()
    var constraints = Constraints()
    var ranking: [Int]

    /// Settings that give a space of some thousand points, and targets that are some point's own counts.
    init(_ model: ModelDescription, largest: Int, using generator: inout SplitMix64) {
      ranking = Array(model.layers.indices)
      if Bool.random(using: &generator) { ranking.shuffle(using: &generator) }
      ranking = model.keepingOrder(ranking)
      repeat {
        settings.channelDivisor = [1, 2, 3, 4, 8, 16].randomElement(using: &generator)
        settings.maxWidthPruning = Double.random(in: 0...1, using: &generator)
        settings.maxDepthPruning = Double.random(in: 0...1, using: &generator)
        settings.skipped = Set(model.hyperparameters.filter { _ in Int.random(in: 0..<4, using: &generator) == 0 })
      } while SearchSpace(model, settings).size ?? .max > largest
      settings.topK = [1, 2, 10, 57, 100_000].randomElement(using: &generator) ?? 1
      settings.seqLength = Int.random(in: 1...5000, using: &generator)
      settings.inferenceBatchSize = Int.random(in: 1...64, using: &generator)
      let counter = MetricsCounter(model, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
      let space = SearchSpace(model, settings)
      func some() -> Metrics {
        let config = SearchTests.point(Int.random(in: 0..<(space.size ?? 1), using: &generator), of: space)
        return counter.metrics(of: config.architecture(of: model, ranking: ranking))
      }
      let asked = Int.random(in: 0..<8, using: &generator)
      if asked & 1 != 0 { constraints.params = Double(some().params) }
      if asked & 2 != 0 { constraints.activeParams = Double(some().activeParams) }
      if asked & 4 != 0 { constraints.memoryMB = some().memoryMB }
    }
  }

  @Test func searchesFindWhatAWalkOverEveryPointFinds() throws {
    var generator = SplitMix64(state: 20)
    var (ties, refused, empty, fitting) = (0, 0, 0, 0)
    for golden in RandomArchitectureTests.models {
      let model = try SourceModel(directory: golden.directory).description
      for _ in 0..<12 {
        let search = Search(model, largest: 2000, using: &generator)
        let space = SearchSpace(model, search.settings)
        let expected = EveryPoint(model, space, search.settings, search.constraints, ranking: search.ranking)
        let what: Comment = "\(golden.name) \(space.choices) \(search)"
        guard expected.fitting > 0 else {
          empty += 1
          #expect(throws: ModelError.self, what) {
            try space.search(model, search.settings, search.constraints, layerRanking: search.ranking)
          }
          continue
        }
        let found = try space.search(model, search.settings, search.constraints, layerRanking: search.ranking)
        #expect(found.size == space.size, what)
        #expect(found.fitting == expected.fitting, what)
        #expect(found.refused == expected.refused, what)
        #expect(found.refusalRule == expected.rule, what)
        #expect(found.candidates == expected.candidates, what)
        try checkForecasts(model, space, search, using: &generator)
        ties += expected.ties
        refused += expected.refused
        fitting += expected.fitting
      }
    }
    // The searches were such that all of this came up.
    #expect(ties > 100 && refused > 1000 && empty > 5 && fitting > 3000, "\(ties) \(refused) \(empty) \(fitting)")
  }

  /// By a forecast the same points come in the order of what they cost.
  private func checkForecasts(
    _ model: ModelDescription, _ space: SearchSpace, _ search: Search, using generator: inout SplitMix64
  ) throws {
    let forecast = Forecast(
      space.choices.map { choice in choice.values.map { _ in Double.random(in: 0...1, using: &generator) } })
    var all = search.settings
    all.topK = .max
    let points = EveryPoint(model, space, all, search.constraints, ranking: search.ranking).candidates
    let cost = { (point: Candidate) in forecast.cost(of: point.config, in: space) ?? .infinity }
    let expected = points.sorted { cost($0) < cost($1) }.prefix(search.settings.topK).map(cost)
    let found = try space.search(
      model, search.settings, search.constraints, layerRanking: search.ranking, forecast: forecast)
    #expect(found.fitting == points.count)
    #expect(found.candidates.count == expected.count)
    for (point, cost) in zip(found.candidates.map(cost), expected) { #expect(abs(point - cost) < 1e-12) }
  }

  @Test func costsBetweenMeasuredOnesLieOnALine() {
    #expect(Forecast.measured(of: 5) == [0, 1, 2, 3, 4])
    let some = Forecast.measured(of: 100)
    #expect(some.count == 12 && some.first == 0 && some.last == 99)
    #expect(Forecast.interpolated([10, 20, 40, 50], [0: 3, 2: 1.5, 3: 0]) == [3, 2.5, 1.5, 0])
    #expect(Forecast.interpolated([1, 2, 3], [1: 4]) == [4, 4, 4], "beyond what is known it is the nearest")
    #expect(Forecast.interpolated([1, 2], [:]) == [0, 0])
  }

  /// A search asks a rule once for all sizes that it does not name, so it must not depend on them.
  @Test func rulesLookAtTheHyperparametersTheyNameAndNoOthers() throws {
    var generator = SplitMix64(state: 21)
    for golden in RandomArchitectureTests.models {
      let model = try SourceModel(directory: golden.directory).description
      func some() -> Architecture {
        var sizes = model.sizes
        for hyperparameter in model.hyperparameters where hyperparameter != .numLayers {
          let groups = model.groups(of: hyperparameter)
          let multiple = Int.random(in: 1...model.value(of: hyperparameter) / groups, using: &generator)
          if let dimension = hyperparameter.dimension { sizes[dimension] = multiple * groups }
        }
        let count = Int.random(in: 1...model.layers.count, using: &generator)
        return Architecture(
          layers: Array(model.layers.indices.shuffled(using: &generator).prefix(count)), sizes: sizes)
      }
      for rule in model.shapeRules {
        for _ in 0..<200 {
          let first = some()
          var second = some()
          for hyperparameter in rule.hyperparameters where hyperparameter != .numLayers {
            if let dimension = hyperparameter.dimension { second.sizes[dimension] = first.sizes[dimension] }
          }
          if rule.hyperparameters.contains(.numLayers) { second.layers = first.layers }
          #expect(rule.refusal(of: first) == rule.refusal(of: second), "\(golden.name)")
        }
      }
    }
  }

  private func model(_ config: String) throws -> ModelDescription {
    try Families.describe(config: #require(try JSON(parsing: config).object), file: "config.json")
  }

  private static let qwen3 = """
    {"model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
     "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936}
    """

  /// 64 million points, with every channel a choice.
  @Test func aSpaceOfManyMillionPointsIsNotWalkedPointByPoint() throws {
    let model = try model(Self.qwen3)
    var settings = SearchSettings()
    settings.channelDivisor = 1
    var reported: [Int] = []
    let space = SearchSpace(model, settings)
    let result = try space.search(model, settings, Constraints(params: 6e9), layerRanking: nil) { reported.append($0) }
    #expect(result.size == 4 * 1639 * 2 * 4916)
    #expect(result.candidates.allSatisfy { $0.metrics.params <= 6_000_000_000 })
    #expect(result.candidates.map(\.metrics.params) == result.candidates.map(\.metrics.params).sorted(by: >))
    #expect(reported == reported.sorted() && reported.allSatisfy { $0 <= result.size })
    // What fits, counted line by line from the formula of this architecture.
    var fitting = 0
    for layers in [30, 32, 34, 36] {
      for hidden in 2458...4096 {
        for heads in [24, 32] {
          let attention = 128 * hidden * (2 * heads + 16) + 256 + 2 * hidden
          let rest = 6_000_000_000 - 2 * 151_936 * hidden - hidden - layers * attention
          fitting += max(0, min(rest / (layers * 3 * hidden), 12288) - 7372)
        }
      }
    }
    #expect(result.fitting == fitting)
  }

  @Test func aSpaceThatCannotBeCountedIsRefused() throws {
    let model = try model(
      """
      {"model_type": "qwen2_moe", "hidden_size": 262144, "intermediate_size": 1048576, "num_hidden_layers": 2,
       "moe_intermediate_size": 1, "shared_expert_intermediate_size": 1048576, "num_attention_heads": 1048576,
       "num_key_value_heads": 1, "head_dim": 2, "num_experts": 1, "num_experts_per_tok": 1, "vocab_size": 1,
       "mlp_only_layers": [0]}
      """)
    var settings = SearchSettings()
    settings.channelDivisor = 1
    settings.maxWidthPruning = 1
    let space = SearchSpace(model, settings)
    #expect(space.size == nil)
    #expect(throws: ModelError.self) { try space.search(model, settings, Constraints(), layerRanking: nil) }
  }

  @Test func aTargetOutOfReachSaysWhichSettingsReachIt() throws {
    let model = try model(Self.qwen3)
    func message(_ constraints: Constraints, _ change: (inout SearchSettings) -> Void = { _ in }) -> String {
      var settings = SearchSettings()
      change(&settings)
      do {
        _ = try SearchSpace(model, settings).search(model, settings, constraints, layerRanking: nil)
        return ""
      } catch { return "\(error)" }
    }
    func reaches(_ constraints: Constraints, _ change: (inout SearchSettings) -> Void) -> Bool {
      message(constraints, change).isEmpty
    }
    // 30 layers of 2560 and 7680 with 24 heads.
    let least = 2 * 151_936 * 2560 + 2560 + 30 * (128 * 2560 * 64 + 256 + 2 * 2560 + 3 * 2560 * 7680)
    let below = Constraints(params: Double(least - 1))
    let text = message(below)
    #expect(text.contains("of \(least - 1) parameters") && text.contains("the smallest has \(least)"), "\(text)")
    #expect(text.contains("ss_channel_divisor 256"), "\(text)")
    #expect(reaches(below) { $0.channelDivisor = 256 })
    #expect(text.contains("max_width_pruning 0.45") && text.contains("max_depth_pruning 0.25"), "\(text)")
    #expect(reaches(below) { $0.maxWidthPruning = 0.45 } && reaches(below) { $0.maxDepthPruning = 0.25 })
    // Far away: several flags at once, which suffice.
    let far = message(Constraints(params: 2e6))
    let flags = try #require(
      try /Within reach with ss_channel_divisor (\d+) max_width_pruning ([\d.]+) max_depth_pruning ([\d.]+);/
        .firstMatch(in: far)?.output, "\(far)")
    let (divisor, width, depth) = try (
      #require(Int(flags.1)), #require(Double(flags.2)), #require(Double(flags.3))
    )
    #expect(divisor < 8 && width <= 1 && depth <= 1)
    func sizes(_ settings: inout SearchSettings) {
      settings.channelDivisor = divisor
      settings.maxWidthPruning = width
      settings.maxDepthPruning = depth
    }
    #expect(reaches(Constraints(params: 2e6), sizes))
    // What no flag reaches.
    let never = message(Constraints(params: 1000))
    #expect(never.contains("they allow has") && !never.contains("Within reach"), "\(never)")
    let skipping = message(Constraints(params: 2e9)) { $0.skipped = [.hiddenSize, .ffnHiddenSize, .numLayers] }
    #expect(skipping.contains("hparams_to_skip"), "\(skipping)")
    // Each of two targets within reach, both not.
    let memory = message(Constraints(params: 3e9, memoryMB: 100))
    #expect(memory.contains("of 3000000000 parameters: the smallest has"), "\(memory)")
    #expect(memory.contains("of 100 MiB: the smallest has"), "\(memory)")
    let cache = message(Constraints(params: 8e9, memoryMB: 1))
    #expect(cache.contains("they allow has") && cache.contains("MiB. Raise"), "\(cache)")
  }

  /// A hybrid's counts depend on which layers are kept: the bound holds for each order of layers, and for some it is met.
  @Test func whatNoOrderOfLayersReachesIsKnownWithoutOne() throws {
    let config = """
      {"model_type": "nemotron_h", "hidden_size": 128, "num_hidden_layers": 6, "hybrid_override_pattern": "M*-M-*",
       "mamba_num_heads": 8, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16, "conv_kernel": 4,
       "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 512, "vocab_size": 256}
      """
    let model = try model(config)
    var settings = SearchSettings()
    settings.channelDivisor = 32
    settings.maxDepthPruning = 0.5
    let space = SearchSpace(model, settings)
    let counter = MetricsCounter(model, rows: 1, tokens: settings.seqLength)
    let lowest = ExportConfig(space.choices.map { ($0.hyperparameter, $0.values[0]) })
    let depth = try #require(lowest[.numLayers])
    #expect(depth < 6)
    var least = Int.max
    for mask in 0..<64 where mask.nonzeroBitCount == depth {
      let layers = (0..<6).filter { mask >> $0 & 1 == 1 }
      least = min(least, counter.metrics(of: lowest.architecture(of: model, keeping: layers)).params)
    }
    try space.checkReachable(model, settings, Constraints(params: Double(least)))
    #expect(throws: ModelError.self) {
      try space.checkReachable(model, settings, Constraints(params: Double(least - 1)))
    }
  }
}
