import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// Every family against PyTorch and `transformers`, from golden files (`Tests/Goldens/README.md`).
@Suite struct GoldenTests {
  static let cases = Golden.all()

  @Test func everyFamilyIsPrunedInWidthInDepthAndInBoth() throws {
    var seen: [String: Set<String>] = [:]
    for golden in Self.cases {
      let family = try SourceModel(directory: golden.directory).description.family
      for pruning in golden.facts["prunings"]?.array ?? [] {
        let config = try architecture(pruning)
        let width = config.entries.contains { $0.hyperparameter != .numLayers }
        let depth = config[.numLayers] != nil
        seen[family, default: []].insert(width ? (depth ? "both" : "width") : (depth ? "depth" : "nothing"))
      }
    }
    // Checkpoints with an encoder beside the language model have tests of their own.
    for family in Families.builtIn.filter({ $0.sections.isEmpty }).flatMap({ $0.modelTypes }) {
      #expect(seen[family]?.isSuperset(of: ["width", "depth", "both"]) == true, "\(family) has \(seen[family] ?? [])")
    }
  }

  @Test(arguments: cases) func logitsEqualTransformersInFloat32(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory)
    let found = try logits(model, rows: golden.rows())
    #expect(relativeDifference(found, try golden.floats("logits.float32")) <= 1e-4)
  }

  @Test(arguments: cases) func logitsEqualTransformersInBFloat16(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory)
    let found = try logits(model, rows: golden.rows(), float32: false)
    let expected = try golden.floats("logits.bfloat16")
    guard model.description.family == "phimoe" else {
      #expect(relativeDifference(found, expected) <= 2e-2)
      return
    }
    // SparseMixer leaves experts out by a threshold, and of a few tokens a rounding decides, which processors do otherwise.
    let (width, largest) = (model.description.sizes[.vocabulary], expected.map(abs).max() ?? 0)
    let tokens = stride(from: 0, to: expected.count, by: width).map { start in
      zip(found[start..<start + width], expected[start..<start + width]).map { abs($0 - $1) }.max() ?? 0
    }
    #expect(found.count == expected.count)
    #expect(Double(tokens.count { $0 > 2e-2 * largest }) <= 0.1 * Double(tokens.count))
  }

  /// Many tokens have weights put into another order and projections joined, few have not: every family gives the same.
  @Test(arguments: cases) func manyTokensGiveWhatFewGive(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory)
    let vocabulary = model.description.sizes[.vocabulary]
    // Of many experts each sees few of the tokens.
    let blocks = model.description.layers.flatMap(\.sublayers).map(\.block)
    let perToken = blocks.map(\.expertsPerToken).max() ?? 0
    let needed = perToken == 0 ? 2048 : 2048 * model.description.sizes[.experts] / perToken
    let rows = (0...needed / 112).map { row in (0..<112).map { Int32(($0 * 31 + row * 17) % vocabulary) } }
    let batches = TokenBatch.groups(rows, size: 4)
    #expect(batches.reduce(0) { $0 + $1.tokenCount } >= 2048)
    let executor = Executor(model, dtype: .bfloat16)
    let whole = Selection(all: model.description)
    var together: [Int: [Float]] = [:]
    try executor.run(batches, subjects: [whole]) { _, batch, hidden, _ in together[batch] = try hidden.floats() }
    for index in [0, batches.count - 1] {
      try executor.run([batches[index]], subjects: [whole]) { _, _, hidden, _ in
        let (many, few) = (try #require(together[index]), try hidden.floats())
        // Rounding sends a token to another expert now and then: it differs as a whole, the others do not.
        let channels = model.description.sizes[.hidden]
        let largest = few.map(abs).max() ?? 0
        let apart = stride(from: 0, to: few.count, by: channels).filter { token in
          (token..<token + channels).contains { abs(many[$0] - few[$0]) > 2e-2 * largest }
        }
        #expect(many.count == few.count && apart.count <= (perToken == 0 ? 0 : few.count / channels / 50))
      }
    }
  }

  /// What a golden prunes to; the identity case names nothing.
  private func architecture(_ pruning: JSON) throws -> ExportConfig {
    let config = try #require(pruning["export_config"])
    return config.object?.count == 0 ? ExportConfig([]) : try ExportConfig(parsing: config)
  }

  private func scores(_ golden: Golden, microBatch: Int) throws -> ImportanceScores {
    let model = try SourceModel(directory: golden.directory)
    let observer = ImportanceObserver(model.description)
    // Padded to the longest row, which must not show.
    let rows = try golden.rows()
    let width = rows.map(\.count).max() ?? 0
    let batches = TokenBatch.groups(rows, size: microBatch).map { TokenBatch($0.rows, width: width) }
    try Executor(model, dtype: .float32)
      .observe(batches, observer: observer)
    return try observer.scores()
  }

  @Test(arguments: cases) func importanceEqualsPyTorch(_ golden: Golden) throws {
    let scores = try scores(golden, microBatch: 1)
    let hidden = try #require(scores.lists[.hiddenSize]?.everywhere)
    #expect(elementwiseDifference(hidden, try golden.floats("importance.hidden_size")) <= 1e-5)
    for (hyperparameter, found) in scores.lists {
      guard let lists = found.byLayer else { continue }
      for (layer, list) in lists.enumerated() {
        let expected = try golden.list("importance.\(hyperparameter.rawValue)", layer: layer)
        guard let list else {
          // A layer without this hyperparameter.
          #expect(expected.allSatisfy { $0 == 0 }, "\(hyperparameter) of layer \(layer + 1)")
          continue
        }
        #expect(elementwiseDifference(list, expected) <= 1e-5, "\(hyperparameter) of layer \(layer + 1)")
      }
    }
    for (size, name) in [(1, "mb1"), (2, "mb2")] {
      let layers = try self.scores(golden, microBatch: size).layers
      let expected = try golden.floats("importance.num_layers.\(name)")
      for (found, value) in zip(layers, expected) { #expect(abs(found - Double(value)) <= 1e-6) }
    }
  }

  @Test(arguments: cases) func keptSetsAreThoseOfPyTorch(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory)
    let scores = try scores(golden, microBatch: 1)
    for pruning in golden.facts["prunings"]?.array ?? [] {
      let config = try architecture(pruning)
      let selection = try scores.selection(for: config, of: model.description)
      let kept = try #require(pruning["kept"]?.object)
      #expect(selection.layers.map { $0 + 1 } == kept["num_layers"]?.array?.compactMap(\.int))
      for entry in config.entries where entry.hyperparameter != .numLayers {
        let name = entry.hyperparameter.rawValue
        if entry.value == model.description.value(of: entry.hyperparameter) { continue }
        let cut = try #require(entry.hyperparameter.dimension.flatMap { selection.cuts[$0] })
        if let everywhere = cut.everywhere {
          #expect(everywhere == kept[name]?.array?.compactMap(\.int))
        } else {
          #expect(
            cut.byLayer
              == kept[name]?.array?.map { $0.array?.isEmpty == true ? nil : $0.array?.compactMap(\.int) })
        }
      }
    }
  }

  @Test(arguments: cases) func prunedExportsEqualTheMaskedOriginal(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory)
    let scores = try scores(golden, microBatch: 1)
    let rows = try golden.rows()
    for pruning in golden.facts["prunings"]?.array ?? [] {
      let name = try #require(pruning["name"]?.string)
      let config = try architecture(pruning)
      let selection = try scores.selection(for: config, of: model.description)
      let masked = try golden.floats("pruned.\(name).logits")
      try withTemporaryDirectory { directory in
        let output = directory + "/pruned"
        try Exporter(model, selection: selection).write(
          to: output, record: .object([]), importance: nil)
        let exported = try SourceModel(directory: output)
        let found = try logits(exported, rows: rows)
        #expect(relativeDifference(found, masked) <= 1e-4, "\(name), exported")
        let sliced = try logits(model, rows: rows, selection: selection)
        #expect(relativeDifference(sliced, masked) <= 1e-4, "\(name), sliced while walking")
        try keepForReload(
          "\(golden.name)-\(name)", export: output, rows: rows, logits: found,
          vocabulary: model.description.sizes[.vocabulary])
      }
    }
  }

  @Test(arguments: cases) func pruningToTheOriginalShapeGivesEveryTensorBitForBit(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory)
    // Every hyperparameter named, with the value it has.
    let config = ExportConfig(model.description.hyperparameters.map { ($0, model.description.value(of: $0)) })
    try withTemporaryDirectory { directory in
      let output = directory + "/same"
      let selection = try scores(golden, microBatch: 1).selection(for: config, of: model.description)
      try Exporter(model, selection: selection).write(to: output, record: .object([]), importance: nil)
      try expectSameTensors(model, SourceModel(directory: output))
    }
  }

  private func expectSameTensors(_ a: SourceModel, _ b: SourceModel) throws {
    #expect(a.checkpoint.tensors.map(\.name).sorted() == b.checkpoint.tensors.map(\.name).sorted())
    for entry in a.checkpoint.tensors {
      let (left, right) = (try a.checkpoint.bytes(of: entry.name), try b.checkpoint.bytes(of: entry.name))
      #expect(left.elementsEqual(right), "\(entry.name)")
    }
  }
}
