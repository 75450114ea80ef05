import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// Experts that rank their channels each for itself, against PyTorch (`Tests/Goldens/make_own_channels.py`), in every
/// family with experts and every way of storing them.
@Suite struct ExpertChannelsTests {
  struct Case: Sendable, CustomStringConvertible {
    let golden: Golden
    let facts: JSON
    let importance: [Float]
    let logits: [Float]
    var description: String { golden.name }
  }

  static let cases: [Case] = {
    Golden.all().compactMap { golden in
      let path = golden.directory + "/own_channels"
      guard FileManager.default.fileExists(atPath: path + ".json") else { return nil }
      do {
        let file = try SafetensorsFile(path: path + ".safetensors")
        func floats(_ name: String) throws -> [Float] {
          let entry = try #require(file.tensors.first { $0.name == name })
          return try file.bytes(of: entry).withMemoryRebound(to: Float.self) { Array($0) }
        }
        return Case(
          golden: golden, facts: try Golden.json(path + ".json"), importance: try floats("importance"),
          logits: try floats("logits"))
      } catch {
        Issue.record("\(path): \(error)")
        return nil
      }
    }
  }()

  private func scores(_ golden: Golden, _ model: SourceModel) throws -> ImportanceScores {
    let observer = ImportanceObserver(model.description, microBatch: 1, expertChannels: .own)
    try Executor(model, dtype: .float32).observe(TokenBatch.groups(golden.rows(), size: 1), observer: observer)
    return try observer.scores()
  }

  @Test func everyFamilyWithExpertsHasACase() throws {
    let found = try Set(Self.cases.map { try SourceModel(directory: $0.golden.directory).description.family })
    // Kimi K2 has the experts and the router of DeepSeek V3, and an encoder beside the language model changes nothing in it.
    let others = Set(Families.builtIn.filter { !$0.sections.isEmpty }.flatMap { $0.modelTypes } + ["kimi_k2"])
    let expected = try Families.entries().filter { $0.hyperparameters.contains(.moeFFNHiddenSize) }.map(\.modelType)
    #expect(found == Set(expected).subtracting(others))
  }

  @Test(arguments: cases) func scoresAndKeptChannelsEqualPyTorch(_ test: Case) throws {
    let model = try SourceModel(directory: test.golden.directory)
    let scores = try scores(test.golden, model)
    let own = try #require(scores.lists[.moeFFNHiddenSize]?.byExpert)
    let (count, width) = (model.description.sizes[.experts], model.description.sizes[.moeFFN])
    for (layer, experts) in own.enumerated() {
      guard let experts else { continue }
      for (expert, found) in experts.enumerated() {
        let start = (layer * count + expert) * width
        let expected = Array(test.importance[start..<start + width])
        // Means of few tokens, of values computed in float32 on both sides: what is near zero is a difference of larger numbers.
        let floor = 1e-3 * (expected.map(abs).max() ?? 0)
        #expect(
          elementwiseDifference(found.map { $0 + floor }, expected.map { $0 + floor }) <= 1e-4,
          "layer \(layer + 1), expert \(expert + 1)")
      }
    }
    let config = try ExportConfig(parsing: try #require(test.facts["export_config"]))
    let selection = try scores.selection(for: config, of: model.description)
    let kept = test.facts["kept"]?.array?.map { layer -> [[Int]]? in
      layer.array?.isEmpty == true ? nil : layer.array?.map { $0.array?.compactMap(\.int) ?? [] }
    }
    #expect(selection.cuts[.moeFFN]?.byExpert == kept)
    // Not one ranking in disguise.
    #expect(kept?.contains { Set($0 ?? []).count > 1 } == true)
  }

  @Test(arguments: cases) func exportsAndWalksEqualPyTorch(_ test: Case) throws {
    let model = try SourceModel(directory: test.golden.directory)
    let rows = try test.golden.rows()
    let config = try ExportConfig(parsing: try #require(test.facts["export_config"]))
    let selection = try scores(test.golden, model).selection(for: config, of: model.description)
    let sliced = try logits(model, rows: rows, selection: selection)
    #expect(relativeDifference(sliced, test.logits) <= 1e-4, "sliced while walking")
    try withTemporaryDirectory { directory in
      let output = directory + "/pruned"
      try Exporter(model, selection: selection)
        .write(to: output, record: .object([]), importance: nil)
      let found = try logits(SourceModel(directory: output), rows: rows)
      #expect(relativeDifference(found, test.logits) <= 1e-4, "exported")
      try keepForReload(
        "\(test.golden.name)-own-channels", export: output, rows: rows, logits: found,
        vocabulary: model.description.sizes[.vocabulary])
    }
  }

  /// Candidates that differ in experts' channels alone are not taken for one another in a walk.
  @Test func candidatesWithOtherChannelsAreComputedApart() throws {
    let test = try #require(Self.cases.first { $0.golden.name == "qwen2_moe" })
    let model = try SourceModel(directory: test.golden.directory)
    let rows = try test.golden.rows()
    let scores = try scores(test.golden, model)
    let width = model.description.sizes[.moeFFN]
    let cuts = try [width - 1, width - 3].map {
      try scores.selection(for: ExportConfig([(.moeFFNHiddenSize, $0)]), of: model.description)
    }
    var together: [[Float]] = [[], []]
    try Executor(model, dtype: .float32).run([TokenBatch(rows)], subjects: cuts) { subject, _, hidden, _ in
      together[subject] = try hidden.floats()
    }
    for (cut, found) in zip(cuts, together) {
      try Executor(model, dtype: .float32).run([TokenBatch(rows)], subjects: [cut]) { _, _, hidden, _ in
        let apart = try hidden.floats()
        #expect(apart == found)
      }
    }
    #expect(together[0] != together[1])
  }
}
