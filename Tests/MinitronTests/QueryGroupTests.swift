import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing

/// Groups of heads that go with their keys and values, against PyTorch: `Tests/Goldens/make_query_groups.py`.
@Suite struct QueryGroupTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let golden: Golden
    let number: Int
    let config: ExportConfig
    let kept: JSON
    let logits: [Float]
    var testDescription: String { "\(golden.name) \(config)" }
  }

  static let cases: [Case] = Golden.all().flatMap { golden -> [Case] in
    let path = golden.directory + "/query_groups"
    guard FileManager.default.fileExists(atPath: path + ".json") else { return [] }
    do {
      let file = try SafetensorsFile(path: path + ".safetensors")
      return try (Golden.json(path + ".json")["cases"]?.array ?? []).enumerated().map { number, facts in
        guard let entry = file.tensors.first(where: { $0.name == "logits.\(number)" }),
          let config = facts["export_config"], let kept = facts["kept"]
        else { throw ModelError("case \(number) is not whole") }
        return Case(
          golden: golden, number: number, config: try ExportConfig(parsing: config), kept: kept,
          logits: try file.bytes(of: entry).withMemoryRebound(to: Float.self) { Array($0) })
      }
    } catch {
      Issue.record("\(path): \(error)")
      return []
    }
  }

  private func selection(_ test: Case, _ model: SourceModel) throws -> Selection {
    let observer = ImportanceObserver(model.description, microBatch: 1)
    try Executor(model, dtype: .float32).observe(TokenBatch.groups(test.golden.rows(), size: 1), observer: observer)
    return try observer.scores().selection(for: test.config, of: model.description)
  }

  @Test func thereAreCasesOfEveryFamilyWhoseGroupsCanGo() throws {
    var expected: Set<String> = [], found: Set<String> = []
    for golden in Golden.all() {
      let model = try SourceModel(directory: golden.directory).description
      // OLMoE's and Helium's loaders tie hidden_size to the heads, and neither can go without the other.
      guard model.prunable.contains(.numQueryGroups), model.sizes[.kvHeads] > 1,
        !["olmoe", "helium"].contains(model.family)
      else { continue }
      expected.insert(model.family)
    }
    for test in Self.cases { found.insert(try SourceModel(directory: test.golden.directory).description.family) }
    #expect(found == expected && found.count > 12)
  }

  @Test(arguments: cases) func keptGroupsAndHeadsEqualPyTorch(_ test: Case) throws {
    let model = try SourceModel(directory: test.golden.directory)
    let selection = try selection(test, model)
    for (dimension, name) in [(Dimension.kvHeads, "num_query_groups"), (.heads, "num_attention_heads")] {
      let expected = test.kept[name]?.array?.map { $0.array?.isEmpty == true ? nil : $0.array?.compactMap(\.int) }
      #expect(selection.cuts[dimension]?.byLayer == expected)
    }
  }

  @Test(arguments: cases) func walksAndExportsEqualTheMaskedOriginal(_ test: Case) throws {
    let model = try SourceModel(directory: test.golden.directory)
    let rows = try test.golden.rows()
    let selection = try selection(test, model)
    let sliced = try logits(model, rows: rows, selection: selection)
    #expect(relativeDifference(sliced, test.logits) <= 1e-4, "sliced while walking")
    try withTemporaryDirectory { directory in
      let output = directory + "/pruned"
      try Exporter(model, selection: selection).write(to: output, record: .object([]), importance: nil)
      let pruned = try SourceModel(directory: output)
      let found = try logits(pruned, rows: rows)
      #expect(relativeDifference(found, test.logits) <= 1e-4, "exported")
      #expect(pruned.description.sizes[.kvHeads] == test.config[.numQueryGroups])
      // Shapes that the architecture's own loader refuses are refused before work.
      guard model.description.refusal(of: selection.architecture(of: model.description)) == nil else { return }
      try keepForReload(
        "\(test.golden.name)-groups-\(test.number)", export: output, rows: rows, logits: found,
        vocabulary: model.description.sizes[.vocabulary])
    }
  }

  private func description(_ golden: String) throws -> ModelDescription {
    try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden).description
  }

  private func refusal(_ pairs: [(Hyperparameter, Int)], _ model: ModelDescription) -> String {
    do {
      _ = try ExportConfig(pairs).completed(for: model).validate(for: model)
      return ""
    } catch { return "\(error)" }
  }

  @Test func headsGoWithTheirGroups() throws {
    let model = try description("dense/llama3")  // 6 heads in 2 groups.
    #expect(ExportConfig([(.numQueryGroups, 1)]).completed(for: model)[.numAttentionHeads] == 3)
    #expect(ExportConfig([(.numQueryGroups, 2)]).completed(for: model)[.numAttentionHeads] == nil)
    #expect(
      ExportConfig([(.numQueryGroups, 1), (.numAttentionHeads, 2)]).completed(for: model)[.numAttentionHeads] == 2)
    // A group gets no heads of another.
    #expect(refusal([(.numQueryGroups, 1), (.numAttentionHeads, 4)], model).contains("at most 3 in 1 of 2 groups"))
    #expect(refusal([(.numQueryGroups, 3)], model).contains("1…2"))
    #expect(refusal([(.numQueryGroups, 1), (.numAttentionHeads, 2)], model).isEmpty)
    // Of a model with a group a head, heads go by groups, and the message says so.
    let many = try description("dense/llama2")
    #expect(refusal([(.numAttentionHeads, 2)], many).contains("num_query_groups"))
    #expect(refusal([(.numQueryGroups, 2)], many).isEmpty)
  }

  @Test func noSearchPrunesGroups() throws {
    let model = try description("dense/llama3")
    #expect(model.prunable.contains(.numQueryGroups) && !model.hyperparameters.contains(.numQueryGroups))
    #expect(!SearchSpace(model, SearchSettings()).choices.contains { $0.hyperparameter == .numQueryGroups })
  }

  @Test func groupsThatCannotGoAreAcceptedWithTheOriginalsNumber() throws {
    for (golden, groups) in [("dense2/gpt_neox_parallel", 4), ("moe/qwen3_next", 2)] {
      let model = try description(golden)
      #expect(refusal([(.numQueryGroups, model.sizes[.kvHeads])], model).isEmpty, "\(golden)")
      #expect(refusal([(.numQueryGroups, groups + 1)], model).contains("never pruned"), "\(golden)")
    }
  }
}
