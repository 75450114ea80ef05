import Execution
import Models
import TestSupport
import Testing
import Torch

/// A walk whose layers several processes share: the same bytes as one process finds.
@Suite struct StageTests {
  private static let names = ["dense/llama2", "moe/qwen3_moe_mixed", "mamba/nemotron_h_experts", "moe/qwen3_next"]

  /// What one stage sends, for the next to receive.
  private final class Sent: StageLink {
    var states: [Tensor] = []
    let before: Sent?
    private var next = 0

    init(after before: Sent?) { self.before = before }

    func send(_ state: Tensor) throws { states.append(state) }

    func receive() throws -> Tensor {
      defer { next += 1 }
      return try #require(before).states[next]
    }

    var isUsedUp: Bool { next == before?.states.count ?? 0 }
  }

  private func rows(_ model: SourceModel, _ count: Int, _ length: Int) -> [[Int32]] {
    var generator = SplitMix64(state: 5)
    let vocabulary = Int32(model.description.sizes[.vocabulary])
    return (0..<count).map { _ in (0..<length).map { _ in Int32.random(in: 0..<vocabulary, using: &generator) } }
  }

  @Test(arguments: names) func finalStatesAreTheSameBytes(_ name: String) throws {
    let model = try SourceModel(directory: Golden.root + "/Tests/Goldens/" + name)
    let count = model.description.layers.count
    let hidden = Array(0..<model.description.sizes[.hidden] / 2)
    let cuts = [
      Selection(all: model.description), Selection(layers: [0] + Array(2..<count)),
      Selection(layers: Array(0..<count - 1)),
      Selection(layers: Array(0..<count), cuts: [.hidden: .everywhere(hidden)]),
    ]
    let rows = rows(model, 5, 24)
    let prompts = rows.enumerated().map { index, row in Array(rows[0].prefix(8) + row.prefix(2 + 3 * index)) }
    let packed = PromptPacker.rows(
      prompts, groups: [[0, 1, 2, 3, 4]], limit: 64, sharing: model.description.longestSharing)
    for batches in [TokenBatch.groups(rows, size: 2), packed.map(\.batch)] {
      var expected: [[Int]: [Float]] = [:]
      try Executor(model, dtype: .float32).run(batches, subjects: cuts) { subject, batch, hidden, _ in
        expected[[subject, batch]] = try hidden.floats()
      }
      // As another process gets them.
      let sent = try TokenBatch.decoded(TokenBatch.encoded(batches))
      for ends in [[count], [1, count], [count - 1, count], Array(1...count)] {
        for budget in [1 << 30, 10_000] {
          var (found, link, start) = ([[Int]: [Float]](), Sent?.none, 0)
          for end in ends {
            let stage = Sent(after: link)
            let executor = Executor(model, dtype: .float32, budget: budget)
            try executor.run(
              sent, subjects: cuts, stage: WalkStage(layers: start..<end, of: count, link: stage), wantsFinal: true,
              final: { found[[$0, $1]] = try $2.floats() })
            #expect(stage.isUsedUp)
            (link, start) = (stage, end)
          }
          #expect(found == expected, "stages end at \(ends), \(budget) bytes")
        }
      }
    }
  }

  @Test func batchesThatWereDamagedOnTheWayAreRefused() throws {
    let bytes = try TokenBatch.encoded([TokenBatch([[1, 2, 3], [4]]), TokenBatch([[5]])])
    #expect(try TokenBatch.decoded(bytes).map(\.rows) == [[[1, 2, 3], [4]], [[5]]])
    for count in bytes.indices { #expect(throws: ModelError.self) { try TokenBatch.decoded(bytes.prefix(count)) } }
    #expect(throws: ModelError.self) { try TokenBatch.decoded(bytes + [0]) }
    for index in bytes.indices {
      var damaged = bytes
      damaged[index] = 0xFF
      _ = try? TokenBatch.decoded(damaged)
    }
  }
}
