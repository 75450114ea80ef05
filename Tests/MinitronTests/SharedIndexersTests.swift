import JSON
import Minitron
import Models
import TestSupport
import Testing

/// Layers that look at the tokens that the indexer of a layer before them picks.
struct SharedIndexersTests {
  private func describe(_ fields: [(String, JSON)], layers: Int = 6, type: String = "glm_moe_dsa") throws
    -> ModelDescription
  {
    var config = DeepSeekSparse.sample(modelType: type)
    (config["num_hidden_layers"], config["q_lora_rank"]) = (.int(layers), .int(8))
    for (key, value) in fields { config[key] = value }
    return try Families.describe(config: config, file: "config.json")
  }

  private func types(_ letters: String) -> JSON { .array(letters.map { .text($0 == "F" ? "full" : "shared") }) }

  /// Which layers have an indexer of their own.
  private func owners(_ model: ModelDescription) -> String {
    String(
      model.layers.map { layer in
        layer.weights.contains { $0.name.contains("indexer") } ? "F" : "S"
      })
  }

  @Test func whoSharesIsSaidInThreeWays() throws {
    #expect(try owners(describe([])) == "FFFFFF")
    #expect(try owners(describe([("indexer_types", types("FSFSSF"))])) == "FSFSSF")
    #expect(try owners(describe([("index_topk_pattern", .text("FFSSFS"))])) == "FFSSFS")
    // The first `index_skip_topk_offset` layers have their own, then one in so many.
    #expect(try owners(describe([("index_topk_freq", .int(2))])) == "FFSFSF")
    #expect(try owners(describe([("index_topk_freq", .int(3)), ("index_skip_topk_offset", .int(1))])) == "FSSFSS")
    // A list says more than a pattern, and a pattern more than a number.
    let all: [(String, JSON)] = [
      ("index_topk_freq", .int(2)), ("index_topk_pattern", .text("FSSSSS")), ("indexer_types", types("FFFFFS")),
    ]
    #expect(try owners(describe(all)) == "FFFFFS")
    #expect(try owners(describe(Array(all.prefix(2)))) == "FSSSSS")
  }

  /// What lends is kept, and the last that borrows, up to which the states have what is lent beside them.
  @Test func lendersAreKept() throws {
    let model = try describe([("indexer_types", types("FFSFSF"))])
    #expect(model.required.layers == [1, 3, 4])
    #expect(model.layers.map(\.incoming.count) == [0, 0, 1, 1, 1, 0])
    #expect(model.layers.map(\.outgoing.count) == [0, 1, 1, 1, 0, 0])
    #expect(try describe([]).required.layers.isEmpty)
  }

  @Test func configsSayWhoSharesAfterLayersWent() throws {
    let fields: [(String, JSON)] = [("index_topk_freq", .int(2)), ("index_topk_pattern", .text("FFSFSF"))]
    let model = try describe(fields)
    let config = try model.prunedConfig(for: Architecture(model, layers: [1, 2, 3, 4]))
    #expect(config["indexer_types"] == types("FSFS"))
    #expect(config["index_topk_pattern"] == .text("FSFS"))
    #expect(try owners(Families.describe(config: config, file: "config.json")) == "FSFS")
  }

  @Test func whatCannotBeIsRefused() throws {
    let cases: [([(String, JSON)], String)] = [
      ([("indexer_types", types("SFFFFF"))], "first layer"),
      ([("indexer_types", types("FS"))], "a list of 6 strings"),
      ([("indexer_types", .array((0..<6).map { _ in .text("half") }))], "\"half\""),
      ([("index_topk_pattern", .text("FSX"))], "made of F and S"),
      ([("index_topk_pattern", .text("FS"))], "a letter for each of 6 layers"),
      ([("index_topk_pattern", .int(3))], "index_topk_pattern"),
      ([("index_topk_freq", .int(-1))], "index_topk_freq"),
      ([("index_topk_freq", .int(4)), ("index_skip_topk_offset", .int(0))], "first layer"),
    ]
    for (fields, words) in cases {
      let error = #expect(throws: ModelError.self) { try describe(fields) }
      #expect(error.map { "\($0)".contains(words) } == true, "\(fields): \(error.map { "\($0)" } ?? "")")
    }
    // DeepSeek-V3.2 knows nothing of it.
    #expect(throws: ModelError.self) { try describe([("indexer_types", types("FSFSFS"))], type: "deepseek_v32") }
    _ = try describe([("indexer_types", types("FFFFFF"))], type: "deepseek_v32")
  }
}
