import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// Modules that predict further tokens (multi-token prediction): left out, or kept and cut with hidden_size.
@Suite struct PredictionTests {
  struct Case: Sendable, CustomStringConvertible {
    let golden: String
    /// The config's key of how many there are.
    let field: String
    /// A tensor of theirs as published, and after a cut to two layers.
    let map: String, mapAfter: String
    /// One of the module's own layer.
    let query: String
    var description: String { golden }
  }

  static let cases = [
    Case(
      golden: "moe/deepseek_v3", field: "num_nextn_predict_layers", map: "model.layers.4.eh_proj.weight",
      mapAfter: "model.layers.2.eh_proj.weight", query: "model.layers.2.mlp.experts.5.up_proj.weight"),
    Case(
      golden: "moe/glm4_moe", field: "num_nextn_predict_layers", map: "model.layers.4.eh_proj.weight",
      mapAfter: "model.layers.2.eh_proj.weight", query: "model.layers.2.shared_head.norm.weight"),
    Case(
      golden: "moe/qwen3_next", field: "num_nextn_predict_layers", map: "mtp.fc.weight", mapAfter: "mtp.fc.weight",
      query: "mtp.layers.0.self_attn.q_norm.weight"),
    Case(
      golden: "moe/qwen3_5_moe", field: "mtp_num_hidden_layers", map: "mtp.fc.weight", mapAfter: "mtp.fc.weight",
      query: "mtp.layers.0.mlp.experts.gate_up_proj"),
    Case(
      golden: "dense2/qwen35_list", field: "mtp_num_hidden_layers", map: "mtp.fc.weight", mapAfter: "mtp.fc.weight",
      query: "mtp.layers.0.mlp.down_proj.weight"),
    Case(
      golden: "moe/ernie4_5_moe", field: "num_nextn_predict_layers", map: "model.mtp_linear_proj.0.weight",
      mapAfter: "model.mtp_linear_proj.0.weight", query: "model.mtp_block.0.mlp.up_proj.weight"),
  ]

  /// The golden with such modules.
  private static func write(_ test: Case, to directory: String) throws {
    try EditedCheckpoint(predicting: Golden.root + "/Tests/Goldens/" + test.golden, test.field).write(to: directory)
  }

  private static func selection(_ model: ModelDescription) -> (selection: Selection, kept: [Int]) {
    let kept = (0..<model.sizes[.hidden]).filter { $0 % 4 != 1 }
    return (Selection(layers: [0, model.layers.count - 1], cuts: [.hidden: .everywhere(kept)]), kept)
  }

  @Test(arguments: cases) func theyAreCutWithTheModel(_ test: Case) throws {
    try withTemporaryDirectory { directory in
      try Self.write(test, to: directory + "/model")
      let model = try SourceModel(directory: directory + "/model", keepsPrediction: true)
      let description = model.description
      #expect(Set(description.hyperparameters).isSuperset(of: [.numLayers, .hiddenSize]))
      #expect(description.predictionNote?.contains("hidden_size and num_layers") == true)
      #expect(!description.hyperparameters.contains(.numAttentionHeads))
      let (selection, kept) = Self.selection(description)
      try Exporter(model, selection: selection).write(to: directory + "/out", record: .null, importance: nil)
      let pruned = try model.sibling(directory: directory + "/out")
      #expect(pruned.checkpoint.config[test.field]?.int == 1)
      // Embedding first, the model's output second; both lose the same channels.
      let hidden = description.sizes[.hidden]
      let whole = try model.tensor(test.map).floats()
      let columns = kept + kept.map { $0 + hidden }
      let expected = kept.flatMap { row in columns.map { whole[row * 2 * hidden + $0] } }
      #expect(try pruned.tensor(test.mapAfter).floats() == expected)
      #expect(pruned.checkpoint.entry(test.query) != nil)
      // Only what predicts the next token is computed, and is the same without them.
      let plain = try SourceModel(directory: directory + "/model")
      let rows: [[Int32]] = [[1, 5, 9, 2, 7]]
      #expect(try logits(pruned, rows: rows) == logits(plain, rows: rows, selection: selection))
      func counts(_ model: ModelDescription) -> Metrics {
        MetricsCounter(model, rows: 1, tokens: 8).metrics(of: Architecture(model))
      }
      #expect(counts(description).params > counts(plain.description).params)
      #expect(counts(description).activeParams == counts(plain.description).activeParams)
      #expect(counts(description).params == model.checkpoint.tensors.reduce(0) { $0 + $1.elementCount })
    }
  }

  @Test func theyAreKeptBesideAnEncoder() throws {
    var edited = try EditedCheckpoint(Golden.root + "/Tests/Goldens/dense2/qwen35_list")
    var text = edited.config
    (text["model_type"], text["mtp_num_hidden_layers"]) = (.text("qwen3_5_text"), .int(1))
    let hidden = try #require(text["hidden_size"]?.int)
    let vision = JSON.Object([
      ("hidden_size", .int(8)), ("out_hidden_size", .int(hidden)), ("spatial_merge_size", .int(2)),
    ])
    edited.config = JSON.Object([
      ("model_type", .text("qwen3_5")), ("text_config", .object(text)), ("vision_config", .object(vision)),
    ])
    for index in edited.tensors.indices where edited.tensors[index].name.hasPrefix("model.") {
      edited.tensors[index].name = "model.language_model." + edited.tensors[index].name.dropFirst("model.".count)
    }
    try edited.completePrediction()
    try withTemporaryDirectory { directory in
      try edited.write(to: directory + "/model")
      let model = try SourceModel(directory: directory + "/model", keepsPrediction: true)
      let (selection, kept) = Self.selection(model.description)
      try Exporter(model, selection: selection).write(to: directory + "/out", record: .null, importance: nil)
      let pruned = try model.sibling(directory: directory + "/out")
      #expect(pruned.checkpoint.config["text_config"]?["mtp_num_hidden_layers"]?.int == 1)
      #expect(try pruned.tensor("mtp.fc.weight").shape == [kept.count, 2 * kept.count])
      #expect(try pruned.tensor("mtp.layers.0.mlp.up_proj.weight").shape[1] == kept.count)
    }
  }

  @Test(arguments: cases) func theyAreLeftOutUnlessTheyAreAskedFor(_ test: Case) throws {
    try withTemporaryDirectory { directory in
      try Self.write(test, to: directory + "/model")
      let model = try SourceModel(directory: directory + "/model")
      #expect(model.notes.contains { $0.contains("multi-token-prediction") })
      try Exporter(model, selection: Self.selection(model.description).selection)
        .write(to: directory + "/out", record: .null, importance: nil)
      let pruned = try model.sibling(directory: directory + "/out")
      #expect(pruned.checkpoint.config[test.field]?.int == 0)
      #expect(!pruned.checkpoint.tensors.contains { $0.name == test.mapAfter || $0.name == test.query })
    }
  }

  @Test func whatCannotBeKeptIsSaid() throws {
    func said(_ golden: String) -> String {
      do {
        _ = try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden, keepsPrediction: true)
        return ""
      } catch { return "\(error)" }
    }
    #expect(said("dense/qwen3_tied").contains("no multi-token-prediction modules"))
    #expect(said("mamba/nemotron_h_latent").contains("cannot be kept"))
    // The config may speak of them while the weights have none.
    #expect(said("moe/qwen3_next").contains("the weights have no"))
    let model = try Families.describe(directory: Golden.root + "/Tests/Goldens/moe/qwen3_next").keepingPrediction()
    #expect(model.rotationObstacle?.contains("multi-token-prediction") == true)
    #expect(throws: ModelError.self) { try ExportConfig([(.moeFFNHiddenSize, 8)]).validate(for: model) }
    let whole = model.value(of: .moeFFNHiddenSize)
    #expect(throws: Never.self) { try ExportConfig([(.moeFFNHiddenSize, whole)]).validate(for: model) }
  }
}
