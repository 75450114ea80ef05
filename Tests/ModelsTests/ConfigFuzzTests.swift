import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing

/// Configs with anything in any field: described, or refused with an error. Never a trap.
@Suite struct ConfigFuzzTests {
  /// The configs that are mutated: every dense golden, and a real one.
  private static func seeds() throws -> [JSON.Object] {
    let paths =
      try FileManager.default.contentsOfDirectory(atPath: Golden.root + "/Tests/Goldens/dense").sorted()
      .map { "dense/\($0)/config.json" } + ["plan/qwen3-8b.config.json"]
    return try paths.map { try #require(Golden.json(Golden.root + "/Tests/Goldens/" + $0).object) }
  }

  private static let numbers = [
    0, 1, 2, 3, 7, 8, 64, 4095, 4096, 4097, 65536, 1 << 24, 1 << 24 + 1, 1 << 31, 1 << 32, .max, .min, -1, -2,
  ]

  private static func value(_ random: inout SplitMix) -> JSON {
    switch random.below(12) {
    case 0: .null
    case 1: .bool(random.below(2) == 0)
    case 2: .text(["", "silu", "llama3", "yarn", "dynamic", "sliding_attention", "\u{0}", "é"][random.below(8)])
    case 3: .array((0..<random.below(4)).map { _ in .text("full_attention") })
    case 4: .object([("rope_type", .text(["linear", "yarn", "llama3", "dynamic", "default"][random.below(5)]))])
    case 5: .double([0.0, -1.5, 1e-300, 1e300, 0.5, 1e18][random.below(6)])
    case 6:
      .number(
        (try? JSON(parsing: Array("1e999".utf8))).flatMap { if case .number(let n) = $0 { n } else { nil } } ?? .init(1)
      )
    default: .int(numbers[random.below(numbers.count)])
    }
  }

  /// Changes, removes or adds some fields, nested ones too.
  private static func mutate(_ config: JSON.Object, _ random: inout SplitMix) -> JSON.Object {
    var config = config
    for _ in 0...random.below(4) {
      let key = config.entries[random.below(config.count)].key
      switch random.below(8) {
      case 0: config[key] = nil
      case 1:
        if let section = config[key]?.object, section.count > 0 { config[key] = .object(mutate(section, &random)) }
      case 2:
        let names = [
          "rope_scaling", "rope_parameters", "layer_types", "use_sliding_window", "sliding_window", "head_dim",
        ]
        config[names[random.below(names.count)]] = value(&random)
      default: config[key] = value(&random)
      }
      if config.count == 0 { return config }
    }
    return config
  }

  @Test func aHundredThousandMutatedConfigsAreDescribedOrRefused() throws {
    let seeds = try Self.seeds()
    var random = SplitMix(state: 20_260_101)
    var (described, refused) = (0, 0)
    for number in 0..<100_000 {
      let config = Self.mutate(seeds[number % seeds.count], &random)
      let description: ModelDescription
      do { description = try Families.describe(config: config, file: "config.json") } catch {
        #expect(error is ModelError, "\(error)")
        refused += 1
        continue
      }
      described += 1
      // What is described can be counted, at the largest cache there may be.
      if number % 8 == 0 {
        let metrics = MetricsCounter(description, rows: 1 << 11, tokens: 1 << 20)
          .metrics(of: Architecture(description))
        #expect(metrics.params > 0 && metrics.memoryMB > 0)
        _ = try description.prunedConfig(for: Architecture(layers: [0], sizes: description.sizes))
      }
    }
    // Both happen often, or the mutations are too tame or too wild to find anything.
    #expect(described > 10_000 && refused > 10_000, "\(described) described, \(refused) refused")
  }

  @Test func sizesThatAreAbsurdTogetherAreRefused() throws {
    let config = try #require(try Self.seeds().last)
    func describe(_ changes: [(String, Int)]) throws -> ModelDescription {
      var config = config
      for (key, value) in changes { config[key] = .int(value) }
      return try Families.describe(config: config, file: "config.json")
    }
    #expect(throws: Never.self) { try describe([]) }
    let most = 1 << 24
    for changes in [
      [("hidden_size", most), ("num_attention_heads", most), ("head_dim", most)],
      [("num_key_value_heads", most), ("num_attention_heads", most), ("head_dim", most)],
      [("intermediate_size", most), ("hidden_size", most)], [("num_hidden_layers", most)],
      [("num_hidden_layers", 4097)],
    ] { #expect(throws: ModelError.self) { try describe(changes) } }
  }
}

/// A generator with a fixed course (Steele et al. 2014), so that a failure can be repeated.
private struct SplitMix {
  var state: UInt64

  mutating func below(_ limit: Int) -> Int {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Int((z ^ (z >> 31)) % UInt64(max(limit, 1)))
  }
}
