import Execution
import Models
import TestSupport
import Testing
import Torch

/// Who looks at a walk, and who changes it.
@Suite struct VisitorTests {
  private func model(_ name: String) throws -> SourceModel {
    try SourceModel(directory: Golden.root + "/Tests/Goldens/" + name)
  }

  private func rows(_ model: SourceModel, _ count: Int, _ length: Int) -> [[Int32]] {
    var generator = SplitMix64(state: 5)
    let vocabulary = Int32(model.description.sizes[.vocabulary])
    return (0..<count).map { _ in (0..<length).map { _ in Int32.random(in: 0..<vocabulary, using: &generator) } }
  }

  private func states(
    _ executor: Executor, _ batches: [TokenBatch], _ subjects: [Subject], _ visitor: (any WalkVisitor)? = nil
  ) throws -> [[Float]] {
    var found = subjects.map { _ in [Float]() }
    let finish: Executor.Finish = { subject, _, hidden, _ in
      found[subject] += try hidden.floats()
    }
    try executor.walk(batches, subjects: subjects, visitor: visitor, finish: finish)
    return found
  }

  /// Twice every projection of one layer.
  private final class Doubled: WeightOverlay {
    let layer: Int
    init(layer: Int) { self.layer = layer }

    func apply(_ weights: LayerWeights, of selection: Selection, layer: Int?) throws -> LayerWeights {
      guard layer == self.layer else { return weights }
      return LayerWeights(try weights.all.mapValues { try $0.multiplied(by: 2) }, experts: weights.allExperts)
    }
  }

  /// Replaces a layer's weights once all batches have seen it, and counts what it is told.
  private final class Replacing: WalkVisitor {
    let overlay = Doubled(layer: 1)
    var told: [String] = []
    var replacesWeights: Bool { true }

    func didRun(layer: Int, subject: Int, weights: LayerWeights) throws -> LayerWeights? {
      told.append("ran \(layer) \(subject)")
      return layer == 1 ? try overlay.apply(weights, of: Selection(layers: []), layer: layer) : nil
    }
    func didFinish(layer: Int) throws { told.append("layer \(layer)") }
    func didFinish(chunk: Range<Int>) throws { told.append("chunk \(chunk)") }
    func didFinishWalk() throws { told.append("walk") }
  }

  @Test func replacedWeightsAreThoseOfAnOverlay() throws {
    let model = try model("dense/llama2")
    let batches = TokenBatch.groups(rows(model, 4, 12), size: 2)
    let whole = Selection(all: model.description)
    let count = model.description.layers.count
    for (bands, budget) in [(BandRule.layers(1), 1 << 30), (.layers(count), 1 << 30), (.automatic, 1000)] {
      let executor = Executor(model, dtype: .float32, budget: budget, bands: bands)
      let plain = try states(executor, batches, [Subject(whole)])[0]
      let overlaid = try states(executor, batches, [Subject(whole), Subject(whole, overlay: Doubled(layer: 1))])
      let visitor = Replacing()
      let replaced = try states(executor, batches, [Subject(whole)], visitor)[0]
      #expect(overlaid[0] == plain && overlaid[1] == replaced && replaced != plain)
      let layers = (0..<count).flatMap { ["ran \($0) 0", "layer \($0)"] }
      #expect(visitor.told == layers + ["chunk 0..<2", "walk"])
    }
  }

  /// Rows that went into each weight.
  private final class Inputs: WalkVisitor, LinearObserver {
    struct Site: Hashable {
      let weight: Weight
      let layer: Int
    }
    var rows: [Site: Int] = [:]
    var calls: [Site: Int] = [:]

    func linearObserver(subject: Int, layer: Int) -> (any LinearObserver)? { self }
    func observe(
      _ weight: Weight, bias: Weight?, routed: RoutedRows?, layer: Int, input: Tensor, lengths: [Int]?
    ) throws {
      let site = Site(weight: weight, layer: layer)
      rows[site, default: 0] += lengths?.reduce(0, +) ?? input.shape.dropLast().reduce(1, *)
      if routed == nil { calls[site, default: 0] += 1 }
    }
  }

  @Test(arguments: ["dense/llama2", "moe/qwen2_moe", "moe/deepseek_v3", "moe/gpt_oss", "mamba/nemotron_h_experts"])
  func everyProjectionIsSeenOnceABatch(_ name: String) throws {
    let model = try model(name)
    // The last row is padded.
    let batches = [TokenBatch(rows(model, 2, 10)), TokenBatch([rows(model, 1, 10)[0], rows(model, 1, 4)[0]])]
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    let inputs = Inputs()
    let subject = Subject(Selection(all: model.description))
    let seen = try states(Executor(model, dtype: .float32), batches, [subject], inputs)
    #expect(try seen == states(Executor(model, dtype: .float32), batches, [subject]))
    for (layer, description) in model.description.layers.enumerated() {
      for sublayer in description.sublayers {
        let block = sublayer.block
        for weight in block.weights where weight.isProjection {
          let site = Inputs.Site(weight: weight, layer: layer)
          #expect(inputs.rows[site] == tokens && inputs.calls[site] == batches.count, "\(weight.name) of \(layer)")
        }
        for weight in block.expertWeights where weight.axes.count == 3 {
          #expect(inputs.rows[.init(weight: weight, layer: layer)] == tokens * block.expertsPerToken, "\(weight.name)")
        }
      }
    }
  }
}
