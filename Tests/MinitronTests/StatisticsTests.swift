import Execution
import Foundation
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// Sums of importance add up, are written and read bit for bit, and do not depend on how rows were divided.
@Suite struct StatisticsTests {
  static let names = ["dense/llama2", "moe/qwen3_moe_mixed", "mamba/nemotron_h_experts"]

  static func rows(_ model: SourceModel, _ count: Int, _ length: Int) -> [[Int32]] {
    var generator = SplitMix64(state: 11)
    let vocabulary = Int32(model.description.sizes[.vocabulary])
    return (0..<count).map { _ in (0..<length).map { _ in Int32.random(in: 0..<vocabulary, using: &generator) } }
  }

  private func model(_ name: String) throws -> SourceModel {
    try SourceModel(directory: Golden.root + "/Tests/Goldens/" + name)
  }

  private func observed(
    _ model: SourceModel, _ rows: [[Int32]], _ channels: ExpertChannels
  ) throws -> ImportanceObserver {
    let observer = ImportanceObserver(model.description, microBatch: 1, expertChannels: channels)
    try Executor(model, dtype: .float32).observe(TokenBatch.groups(rows, size: 1), observer: observer)
    return observer
  }

  @Test(arguments: names, [ExpertChannels.shared, .own])
  func rowsThatWereDividedEqualAllRows(_ name: String, _ channels: ExpertChannels) throws {
    let model = try model(name)
    let rows = Self.rows(model, 9, 20)
    let whole = try observed(model, rows, channels)
    let parts = try [0..<2, 2..<7, 7..<9].map { try observed(model, Array(rows[$0]), channels).statistics() }
    for order in [[0, 1, 2], [2, 0, 1]] {
      var merged = ImportanceStatistics()
      for part in order { try merged.merge(parts[part]) }
      #expect(try merged == whole.statistics())
      let restored = ImportanceObserver(model.description, microBatch: 1, expertChannels: channels)
      try restored.restore(merged)
      #expect(try restored.scores() == whole.scores())
    }
    let first = try #require(try whole.statistics().layers[0])
    #expect(first.rows == 9 && first.microBatches == 9)
  }

  @Test(arguments: names) func whatIsWrittenIsReadBackBitForBit(_ name: String) throws {
    let model = try model(name)
    let statistics = try observed(model, Self.rows(model, 3, 12), .own).statistics()
    #expect(!statistics.channels.isEmpty && !statistics.layers.isEmpty)
    #expect(try ImportanceStatistics(parsing: statistics.json) == statistics)
    #expect(throws: ModelError.self) { try ImportanceStatistics(parsing: .null) }
    #expect(throws: ModelError.self) { try ImportanceStatistics(parsing: .object([("channels", .array([.null]))])) }
  }

  /// Micro-batches that go through the model together are scored apart.
  @Test(arguments: names, [1, 2])
  func microBatchesTogetherEqualMicroBatchesApart(_ name: String, _ size: Int) throws {
    let model = try model(name)
    let micro = TokenBatch.groups(Self.rows(model, 7, 16), size: size)
    let together = TokenBatch.packed(micro, tokens: 4 * 16)
    #expect(together.count < micro.count && together.flatMap(\.microBatches) == micro.map { $0.rows.count })
    func scores(_ batches: [TokenBatch]) throws -> ImportanceScores {
      let observer = ImportanceObserver(model.description, microBatch: size)
      try Executor(model, dtype: .float32).observe(batches, observer: observer)
      return try observer.scores()
    }
    #expect(try scores(together) == scores(micro))
  }

  @Test func statisticsOfOtherSizesAreRefused() throws {
    var statistics = ImportanceStatistics()
    let site = ImportanceStatistics.Site(layer: 0, tap: "hidden 0")
    try statistics.add([1, 2], at: site)
    #expect(throws: ModelError.self) { try statistics.add([1, 2, 3], at: site) }
  }
}
