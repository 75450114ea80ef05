import JSON
import Models
import TestSupport
import Testing

/// Estimates of the work of a forward pass, by hand.
@Suite struct OperationsTests {
  private func model(_ golden: String) throws -> ModelDescription {
    try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden).description
  }

  @Test func attentionCountsTheCausalHalfOfEachRow() throws {
    let model = try model("dense/llama3")
    let weights = model.layers.reduce(0) { sum, layer in
      sum + layer.sublayers.reduce(0) { $0 + $1.block.weights.reduce(0) { $0 + $1.elementCount(model.sizes) } }
    }
    let inner = model.sizes[.heads] * model.sizes[.headDim]
    let expected = 2 * weights * 12 + 2 * inner * (5 * 5 + 7 * 7) * model.layers.count
    #expect(model.operations(rows: [5, 7], in: Architecture(model)) == Double(expected))
    // Half the layers, half the work.
    var half = Architecture(model)
    half.layers = [0]
    #expect(model.operations(rows: [5, 7], in: half) == Double(expected / model.layers.count))
  }

  @Test func onlyTheExpertsOfATokenCount() throws {
    let model = try model("moe/mixtral")
    var fewer = Architecture(model)
    fewer.sizes[.experts] -= 1
    let router = model.sizes[.hidden] * model.layers.count
    #expect(
      model.operations(rows: [9], in: Architecture(model)) - model.operations(rows: [9], in: fewer)
        == Double(2 * 9 * router))
  }

  @Test func hybridsCountAttentionWhereThereIsSome() throws {
    let model = try model("mamba/nemotron_h_pattern")
    func work(_ layer: Int, _ tokens: Int) -> Double {
      model.operations(rows: [tokens], in: Architecture(layers: [layer], sizes: model.sizes))
    }
    for layer in model.layers.indices {
      // Twice the tokens are twice the work, but for attention, whose pairs are four times as many.
      let isAttention = model.layers[layer].sublayers.contains { $0.block is Attention }
      #expect((work(layer, 64) == 2 * work(layer, 32)) == !isAttention, "layer \(layer + 1)")
    }
  }
}
