import Execution
import Models
import TestSupport
import Testing
import Torch

@Suite struct PromptPackerTests {
  /// Sequences as the segments put them together again, by the prompts that own them.
  private func unpacked(_ rows: [PromptPacker.Row]) -> [Int: [Int32]] {
    var found: [Int: [Int32]] = [:]
    var carried: [Int32] = []
    for row in rows {
      let packing = row.batch.packing ?? Packing()
      #expect(carried.count == packing.carried)
      let keys = carried + row.batch.rows[0]
      #expect(packing.positions.count == row.batch.width && row.batch.width % 64 == 0)
      for (place, prompt) in row.prompts.enumerated() {
        let last = packing.wanted[place]
        guard let segment = packing.segments.first(where: { $0.query + $0.queries == last + 1 }) else { continue }
        let prefix = keys[segment.prefix..<segment.prefix + segment.prefixKeys]
        found[prompt] = Array(prefix + keys[segment.own..<segment.own + segment.keys])
        #expect(packing.positions[last] == (found[prompt]?.count ?? 0) - 1)
      }
      carried = Array(keys[packing.kept])
    }
    return found
  }

  @Test func everyPromptComesOutWholeWhateverTheLimit() {
    var generator = SplitMix64(state: 3)
    let common: [[Int32]] = [[1, 2, 3, 4, 5, 6, 7], [9, 9, 9], []]
    var prompts: [[Int32]] = []
    var groups: [[Int]] = []
    for prefix in common {
      groups.append(Array(prompts.count..<prompts.count + 40))
      for _ in 0..<40 {
        let count = Int.random(in: 1...50, using: &generator)
        prompts.append(prefix + (0..<count).map { _ in Int32.random(in: 20...90, using: &generator) })
      }
    }
    for limit in [1, 64, 200, 1000, 100_000] {
      let rows = PromptPacker.rows(prompts, groups: groups, limit: limit)
      #expect(unpacked(rows) == Dictionary(uniqueKeysWithValues: prompts.enumerated().map { ($0, $1) }))
      #expect(rows.flatMap(\.prompts).sorted() == Array(prompts.indices))
    }
  }

  @Test func whatAGroupSharesStandsThereOnce() {
    let prompts = (0..<30).map { [Int32](repeating: 7, count: 50) + [Int32(100 + $0), Int32(100 + $0)] }
    let rows = PromptPacker.rows(prompts, groups: [Array(0..<30)], limit: 64)
    let tokens = rows.reduce(0) { $0 + $1.batch.rows[0].count { $0 == 7 } }
    #expect(tokens == 50)
    #expect(rows.count > 1 && rows.dropFirst().allSatisfy { $0.batch.packing?.carried == 50 })
  }

  @Test func equalPromptsAndSinglesKeepATokenOfTheirOwn() {
    let same = [Int32](repeating: 5, count: 8)
    let rows = PromptPacker.rows([same, same, [1]], groups: [[0, 1], [2]], limit: 640)
    #expect(unpacked(rows) == [0: same, 1: same, 2: [1]])
    #expect(PromptPacker.rows([], groups: [], limit: 64).isEmpty)
  }
}
