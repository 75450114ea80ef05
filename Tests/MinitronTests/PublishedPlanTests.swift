import Checkpoint
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing

/// Searches that NVIDIA publishes, and their independent recomputation (`Tests/Oracle/plan_reference.py`), from configs
/// and layer rankings alone: no weights are needed.
@Suite struct PublishedPlanTests {
  struct Search: Sendable, CustomTestStringConvertible {
    let name: String
    var settings = SearchSettings()
    let constraints: Constraints
    var testDescription: String { name }
  }

  static let searches: [Search] = {
    var hybrid = SearchSettings()
    hybrid.maxWidthPruning = 0.30
    hybrid.maxDepthPruning = 0.15
    hybrid.seqLength = 8192
    hybrid.inferenceBatchSize = 8
    let searches = [
      Search(name: "qwen3-8b", constraints: Constraints(params: 6e9)),
      Search(name: "nemotron-nano-9b-v2", constraints: Constraints(params: 7e9)),
      Search(
        name: "nemotron-3-nano-30b-a3b", settings: hybrid, constraints: Constraints(params: 24e9, activeParams: 3e9)),
    ]
    return searches.map { search in
      var search = search
      search.settings.skipped = [.numAttentionHeads]
      return search
    }
  }()

  private func path(_ search: Search, _ suffix: String) -> String {
    Golden.root + "/Tests/Goldens/plan/" + search.name + suffix
  }

  private func model(_ search: Search) throws -> ModelDescription {
    let file = path(search, ".config.json")
    let config = try JSON(parsing: Data(contentsOf: URL(fileURLWithPath: file)))
    return try Families.describe(config: #require(config.object), file: file)
  }

  private func expect(_ metrics: Metrics, _ expected: JSON?, _ what: String) {
    #expect(metrics.params == expected?["params"]?.int, "\(what)")
    #expect(metrics.activeParams == expected?["active_params"]?.int, "\(what)")
    #expect(metrics.referenceMemoryMB == expected?["memory_mb"]?.double, "\(what)")
  }

  @Test(arguments: searches) func searchesAreThoseOfTheReference(_ search: Search) throws {
    let model = try model(search)
    let expected = try Golden.json(path(search, ".json"))
    let ranking = try? Golden.json(path(search, ".ranking.json")).array?.compactMap(\.int).map { $0 - 1 }
    if let ranking { #expect(ranking.sorted() == Array(model.layers.indices)) }

    let counter = MetricsCounter(model, rows: search.settings.inferenceBatchSize, tokens: search.settings.seqLength)
    expect(counter.metrics(of: Architecture(model)), expected["model"], "the whole model")

    let space = SearchSpace(model, search.settings)
    let choices = JSON.object(space.choices.map { ($0.hyperparameter.rawValue, .array($0.values.map(JSON.int))) })
    #expect(choices == expected["search_space"])
    let result = try space.search(model, search.settings, search.constraints, layerRanking: ranking)
    #expect(result.size == expected["size"]?.int)
    #expect(result.fitting == expected["fitting"]?.int)
    #expect(result.refused == 0)
    let candidates = try #require(expected["candidates"]?.array)
    #expect(result.candidates.count == 10 && candidates.count == 10)
    for (number, (found, candidate)) in zip(result.candidates, candidates).enumerated() {
      #expect(found.config.json == candidate["export_config"], "candidate \(number + 1)")
      expect(found.metrics, candidate, "candidate \(number + 1)")
    }
  }

  /// The numbers as Model-Optimizer's logs print them, so that no error can hide in both programs.
  @Test func nemotron3NanoWeighsWhatItsLogSays() throws {
    let search = try #require(Self.searches.first { $0.name == "nemotron-3-nano-30b-a3b" })
    let model = try model(search)
    func memory(rows: Int) -> Double {
      MetricsCounter(model, rows: rows, tokens: 8192).metrics(of: Architecture(model)).referenceMemoryMB
    }
    func rounded(_ value: Double) -> String { String(format: "%.1f", value) }
    #expect(rounded(memory(rows: 0)) == "60230.1")
    #expect(rounded(memory(rows: 8) - memory(rows: 0)) == rounded(384.0 + 190.5))
    let kinds = Dictionary(grouping: model.layers.flatMap(\.sublayers), by: { "\(type(of: $0.block))" })
    func cache(_ kind: String) -> Double {
      let blocks = kinds[kind] ?? []
      return Double(blocks.reduce(0) { $0 + $1.block.cacheElements(rows: 8, tokens: 8192, sizes: model.sizes) }) * 2
        / 1_048_576
    }
    #expect(rounded(cache("Attention")) == "384.0")
    #expect(rounded(cache("Mamba2")) == "190.5")
  }

  @Test func nemotronNanoKeepsThePatternOfTheLayersThatStay() throws {
    let search = try #require(Self.searches.first { $0.name == "nemotron-nano-9b-v2" })
    let model = try model(search)
    let ranking = try #require(Golden.json(path(search, ".ranking.json")).array).compactMap(\.int)
    let kept = ranking.prefix(48).map { $0 - 1 }.sorted()
    let config = try model.prunedConfig(for: Architecture(layers: kept, sizes: model.sizes))
    let pattern = Array("M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-")
    #expect(config["hybrid_override_pattern"]?.string == String(kept.map { pattern[$0] }))
    #expect(config["num_hidden_layers"]?.int == 48)
    #expect(config["time_step_limit"]?.serialized() == "[0.0, Infinity]")
  }
}
