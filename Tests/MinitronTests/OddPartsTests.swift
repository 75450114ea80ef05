import Checkpoint
import Execution
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// Parts that few families have: learned positions, a bias on logits, weights that lie the other way round, norms without
/// weights, a scale that follows hidden_size.
@Suite struct OddPartsTests {
  private func model(_ name: String) throws -> SourceModel {
    try SourceModel(directory: Golden.root + "/Tests/Goldens/dense2/" + name)
  }

  @Test func aSequenceBeyondTheLearnedPositionsIsAnErrorThatNamesTheirNumber() throws {
    let model = try model("gpt2_learned")
    let executor = Executor(model, dtype: .float32)
    let whole = [Selection(all: model.description)]
    try executor.run([TokenBatch([Array(repeating: 3, count: 112)])], subjects: whole) { _, _, _, _ in }
    do {
      try executor.run([TokenBatch([Array(repeating: 3, count: 113)])], subjects: whole) { _, _, _, _ in }
      Issue.record("113 tokens went through")
    } catch let error as ModelError {
      #expect(error.description.contains("112") && error.description.contains("113"), "\(error)")
    }
    // Padding has no position of its own.
    let padded = TokenBatch([Array(repeating: 3, count: 100)], width: 120)
    try executor.run([padded], subjects: whole) { _, _, _, _ in }
    let generator = try Generator(model, dtype: .float32)
    _ = try generator.logits(appending: Array(repeating: 3, count: 112))
    #expect(throws: ModelError.self) { try generator.logits(appending: [3]) }
  }

  @Test func transposedWeightsKeepTheirLayoutInTheFile() throws {
    let model = try model("gpt2_learned")
    #expect(model.checkpoint.entry("transformer.h.0.mlp.c_fc.weight")?.shape == [32, 26])
    var cut = Selection(all: model.description)
    cut.cuts[.ffn] = .byLayer(model.description.layers.map { _ in [1, 4, 25] })
    try withTemporaryDirectory { directory in
      try Exporter(model, selection: cut).write(to: directory + "/out", record: .null, importance: nil)
      let pruned = try model.sibling(directory: directory + "/out")
      #expect(pruned.checkpoint.entry("transformer.h.0.mlp.c_fc.weight")?.shape == [32, 3])
      #expect(pruned.checkpoint.entry("transformer.h.0.mlp.c_proj.weight")?.shape == [3, 32])
      #expect(pruned.description.config["n_inner"]?.int == 3)
    }
  }

  /// A replacement is `[out, in]`, as weights are multiplied.
  @Test func whatReplacesATransposedWeightIsTurnedAsItIsWritten() throws {
    let model = try model("gpt2_learned")
    try withTemporaryDirectory { directory in
      var exporter = try Exporter(model, selection: Selection(all: model.description))
      exporter.replacement = { weight, layer in
        guard weight.name.hasSuffix("c_fc.weight"), layer == 0 else { return nil }
        return try Tensor((0..<26 * 32).map(Float.init), shape: [26, 32])
      }
      try exporter.write(to: directory + "/out", record: .null, importance: nil)
      let written = try model.sibling(directory: directory + "/out").tensor("transformer.h.0.mlp.c_fc.weight")
      #expect(written.shape == [32, 26])
      #expect(try written.select(dim: 0, index: 1).to(.float32).floats().prefix(3) == [1, 33, 65])
    }
  }

  @Test func fewLogitsHaveTheBiasOfTheirRows() throws {
    let model = try model("phi_parallel")
    let rows = [3, 0, 17]
    let batch = TokenBatch([[1, 5, 9, 2]])
    try Executor(model, dtype: .float32).run([batch], subjects: [Selection(all: model.description)]) {
      _, _, hidden, head in
      let states = try hidden.select(dim: 0, index: 0)
      let (all, few) = (try head.logits(states).floats(), try head.logits(states, rows: rows).floats())
      let picked = (0..<4).flatMap { token in rows.map { all[token * 23 + $0] } }
      #expect(relativeDifference(few, picked) < 1e-5)
    }
  }

  @Test func aNormThatBothBlocksReadIsCountedAndWrittenOnce() throws {
    for name in ["phi_parallel", "cohere2_pattern", "stablelm_parallel"] {
      let names = try model(name).description.tensors().map(\.name)
      #expect(Set(names).count == names.count, "\(name)")
    }
  }

  /// Layers whose scale goes by their number would be other layers at another place.
  @Test func aScaleByTheLayersNumberKeepsAllLayers() throws {
    var config = GPT2.sample(modelType: "gpt2")
    #expect(try Families.describe(config: config, file: "config.json").prunable.contains(.numLayers))
    config["scale_attn_by_inverse_layer_idx"] = .bool(true)
    #expect(try !Families.describe(config: config, file: "config.json").prunable.contains(.numLayers))
  }

  /// Gemma 1 has no norms after its blocks: the embedding makes up for what its scale loses, and a norm for the tied head.
  @Test func theEmbeddingMakesUpForAScaleThatFollowsHiddenSize() throws {
    let description = try model("gemma_tied").description
    var sizes = description.sizes
    sizes[.hidden] = 12
    let rescaled = description.rescaled(to: sizes)
    #expect(Set(rescaled.keys) == [description.embedding, try #require(description.finalNorm.weight)])
    #expect(rescaled[description.embedding]?.factor == 2)
    #expect(try model("gemma_float32").description.rescaled(to: sizes).count == 1)
    #expect(description.rescaled(to: description.sizes).isEmpty)
  }
}
