import JSON
import Minitron
import Models
import TestSupport
import Testing

/// What a model takes where it is served, counted by hand, and as Model-Optimizer counts it.
@Suite struct MemoryEstimateTests {
  private let rows = 3, tokens = 20

  /// Bytes of caches and states: ours and the reference's.
  private func caches(_ golden: String, _ changes: [(String, JSON)] = []) throws -> [Double] {
    var config = try #require(try Golden.json(Golden.root + "/Tests/Goldens/\(golden)/config.json").object)
    for (key, value) in changes { config[key] = value }
    let model = try Families.describe(config: config, file: "config.json")
    let metrics = MetricsCounter(model, rows: rows, tokens: tokens).metrics(of: Architecture(model))
    return [metrics.memoryMB, metrics.referenceMemoryMB].map { ($0 * 1_048_576 - Double(2 * metrics.params)).rounded() }
  }

  @Test func slidingWindowsHoldTheirWindow() throws {
    // Keys and values of four layers, two heads of 16, 2 bytes each; nine tokens are seen.
    let token = 4 * 2 * 2 * 16 * 2
    #expect(try caches("dense/mistral_window") == [Double(rows * 9 * token), Double(rows * 20 * token)])
    #expect(
      try caches("dense/mistral_window", [("sliding_window", .null)])
        == Array(repeating: Double(rows * 20 * token), count: 2))
    #expect(
      try caches("dense/mistral_window", [("sliding_window", .int(40))])
        == Array(repeating: Double(rows * 20 * token), count: 2))
  }

  /// Layers with the same weights that differ in what they see.
  @Test func onlyLayersWithAWindowAreCountedWithIt() throws {
    let types = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    let layer = 2 * 2 * 16 * 2
    #expect(
      try caches("dense/mistral_window", [("layer_types", .array(types.map { .text($0) }))])
        == [Double(rows * (2 * 20 + 2 * 9) * layer), Double(rows * 4 * 20 * layer)])
    let model = try Families.describe(directory: Golden.root + "/Tests/Goldens/dense2/gemma3_pattern")
    let settings = SearchSettings()
    #expect(model.layersWeighTheSame(settings, Constraints(params: 1)))
    #expect(!model.layersWeighTheSame(settings, Constraints(memoryMB: 1)))
  }

  @Test func statesHaveTheirOwnType() throws {
    // One layer of attention; three inputs of 80 channels, and a state of 8 for each of 48 channels.
    let attention = rows * tokens * 2 * 2 * 8 * 2
    let (inputs, state) = (rows * 80 * 3, rows * 48 * 8)
    let halves = Double(attention + 2 * inputs + 2 * state)
    #expect(try caches("mamba/nemotron_h_latent") == [Double(attention + 2 * inputs + 4 * state), halves])
    #expect(try caches("mamba/nemotron_h_latent", [("mamba_ssm_cache_dtype", .text("bfloat16"))]) == [halves, halves])
  }

  @Test func theStateOfADeltaNetIsFloat32() throws {
    // One layer of attention; three with inputs of 72 channels and four states of 10 × 8.
    let attention = rows * tokens * 2 * 16 * 2
    let (inputs, state) = (3 * rows * 72 * 3, 3 * rows * 4 * 10 * 8)
    #expect(
      try caches("moe/qwen3_next") == [
        Double(attention + 2 * inputs + 4 * state), Double(attention + 2 * inputs + 2 * state),
      ])
  }
}
