import JSON
import Minitron
import Models
import Recovery
import TestSupport
import Testing
import Torch

@Suite struct RefitFilesTests {
  private static let models = [
    "dense/qwen3_tied", "moe/qwen3_moe_mixed", "hybrid/jamba", "gemma4/global", "gemma4/mixture", "gemma4/shared",
  ]

  /// Gemma 4's layers have projections of the same names with other axes.
  @Test(arguments: models) func everyLayersWeightsAreFoundAgain(_ golden: String) throws {
    let model = try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden).description
    try withTemporaryDirectory { directory in
      let files = try RefitFiles(directory: directory, Fingerprint([("model", golden)]), model, isFresh: false)
      for (number, layer) in model.layers.enumerated() {
        let some = try Dictionary(
          uniqueKeysWithValues: Set(layer.weights).map { ($0, try Tensor([Float(number)], shape: [1])) })
        try files.keep(some, layer: number, counts: RefitCounts())
      }
      for (number, layer) in model.layers.enumerated() {
        let found = try #require(try files.found(number)).weights
        #expect(Set(found.keys) == Set(layer.weights), "layer \(number + 1)")
        #expect(try found.values.allSatisfy { try $0.item() == Double(number) })
      }
    }
  }
}
