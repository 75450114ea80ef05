import Execution
import Models
import TestSupport
import Testing
import Torch

/// However many layers are in memory together: the same bytes.
@Suite struct BandTests {
  private static let names = ["dense/llama2", "moe/qwen3_moe_mixed", "mamba/nemotron_h_experts", "moe/qwen3_next"]

  private func model(_ name: String) throws -> SourceModel {
    try SourceModel(directory: Golden.root + "/Tests/Goldens/" + name)
  }

  private func rows(_ model: SourceModel, _ count: Int, _ length: Int) -> [[Int32]] {
    var generator = SplitMix64(state: 3)
    let vocabulary = Int32(model.description.sizes[.vocabulary])
    return (0..<count).map { _ in (0..<length).map { _ in Int32.random(in: 0..<vocabulary, using: &generator) } }
  }

  private func states(_ executor: Executor, _ batches: [TokenBatch], _ subjects: [Selection]) throws -> [[[Float]]] {
    var found = subjects.map { _ in batches.map { _ in [Float]() } }
    try executor.run(batches, subjects: subjects) { subject, batch, hidden, _ in
      found[subject][batch] = try hidden.floats()
    }
    return found
  }

  /// The rules to compare: a layer, two layers, and two bands and one for the whole model.
  private func rules(_ model: SourceModel) -> [BandRule] {
    let count = model.description.layers.count
    return [.layers(2), .layers((count + 1) / 2), .layers(count), .layers(100), .automatic]
  }

  @Test(arguments: names) func statesAreTheSameBytes(_ name: String) throws {
    let model = try model(name)
    let count = model.description.layers.count
    let whole = Selection(all: model.description)
    let hidden = Array(0..<model.description.sizes[.hidden] / 2)
    let cuts = [
      whole, Selection(layers: Array(0..<count - 1)), Selection(layers: [0] + Array(2..<count)),
      Selection(layers: Array(0..<count), cuts: [.hidden: .everywhere(hidden)]), whole,
    ]
    let rows = rows(model, 5, 24)
    let prompts = rows.enumerated().map { index, row in Array(rows[0].prefix(8) + row.prefix(2 + 3 * index)) }
    let packed = PromptPacker.rows(
      prompts, groups: [[0, 1, 2, 3, 4]], limit: 64, sharing: model.description.longestSharing)
    for batches in [TokenBatch.groups(rows, size: 2), packed.map(\.batch)] {
      let expected = try states(Executor(model, dtype: .float32, bands: .layers(1)), batches, cuts)
      for rule in rules(model) {
        // Also where states have to go to the disk.
        for budget in [1 << 30, 10_000] {
          let executor = Executor(model, dtype: .float32, budget: budget, bands: rule)
          #expect(try states(executor, batches, cuts) == expected, "\(rule), \(budget) bytes")
        }
      }
    }
  }

  @Test(arguments: names) func observersSeeTheSameBytes(_ name: String) throws {
    let model = try model(name)
    let batches = TokenBatch.groups(rows(model, 5, 24), size: 2)
    func seen(_ rule: BandRule) throws -> Seen {
      let seen = Seen()
      try Executor(model, dtype: .float32, bands: rule).observe(batches, observer: seen)
      return seen
    }
    let expected = try seen(.layers(1))
    #expect(!expected.values.isEmpty)
    for rule in rules(model) { #expect(try seen(rule).values == expected.values, "\(rule)") }
  }

  /// Every number that an observer is shown, layer by layer in the order of the batches.
  private final class Seen: TapObserver {
    var values: [Int: [Double]] = [:]

    func observe(_ tap: Tap, layer: Int, _ sums: ChannelSums) throws {
      values[layer, default: []] += try sums.sums.floats().map(Double.init)
    }

    func observeLayer(_ layer: Int, input: Tensor, output: Tensor, lengths: [Int]) throws {
      values[layer, default: []] += try (input.floats() + output.floats()).map(Double.init)
    }

    func observeExperts(layer: Int, _ sums: ExpertSums) throws {
      values[layer, default: []] += sums.norms + sums.channels.flatMap { $0 }
    }
  }
}
