import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// Grouping by expert, and what mixtures of experts restrict.
@Suite struct ExpertTests {
  /// Pieces end where micro-batches do, and are those of each micro-batch by itself.
  @Test func piecesEndWithMicroBatches() throws {
    let experts = (0..<3000).map { Int64($0 * $0 % 7) }
    let whole = try ExpertGrouping(experts, count: 8)
    let ends = [500, 500, 1700, 3000]
    var apart: [[Int]] = []
    for (start, end) in zip([0] + ends, ends) {
      let part = try ExpertGrouping(Array(experts[start..<end]), count: 8)
      apart += part.pieces(workers: 2, most: 100).list.map { part.order[$0.rows].map { $0 + start } }
    }
    let together = whole.pieces(workers: 2, most: 100, ends: ends).list.map { Array(whole.order[$0.rows]) }
    #expect(Set(together) == Set(apart) && together.count == apart.count)
  }

  @Test func observedRowsAreDividedAlikeForAnyNumberOfThreads() throws {
    let grouping = try ExpertGrouping((0..<5000).map { Int64($0 * $0 % 7) }, count: 8)
    let one = grouping.pieces(workers: 1, most: 256).list.map { "\($0)" }
    #expect(one.count > 20)
    for workers in [2, 3, 4, 16] {
      #expect(grouping.pieces(workers: workers, most: 256).list.map { "\($0)" } == one)
      #expect(grouping.pieces(workers: workers, most: 256).areShared)
    }
  }

  @Test func rowsAreGroupedByExpertInOrder() throws {
    let grouping = try ExpertGrouping([2, 0, 2, 3, 0, 2], count: 5)
    #expect(grouping.counts == [2, 0, 3, 1, 0])
    #expect(grouping.order == [1, 4, 0, 2, 5, 3])
  }

  @Test func everyRowIsGroupedOnceWhateverTheRoutes() throws {
    var generator = SplitMix64(state: 11)
    for _ in 0..<50 {
      let count = Int.random(in: 1...9, using: &generator)
      let experts = (0..<Int.random(in: 0...40, using: &generator)).map { _ in
        Int64.random(in: 0..<Int64(count), using: &generator)
      }
      let grouping = try ExpertGrouping(experts, count: count)
      #expect(grouping.counts.reduce(0, +) == experts.count)
      #expect(grouping.order.sorted() == Array(experts.indices))
      let sorted = grouping.order.map { experts[$0] }
      #expect(sorted == experts.sorted())
      #expect(zip(grouping.order, grouping.order.dropFirst()).allSatisfy { experts[$0] != experts[$1] || $0 < $1 })
    }
  }

  @Test func everyRowIsInOnePieceAndFindsItsPlace() throws {
    var generator = SplitMix64(state: 5)
    for workers in [1, 2, 7, 64] {
      for rows in [1, 40, 3000] {
        let experts = (0..<rows).map { _ in Int64.random(in: 0..<6, using: &generator) }
        let grouping = try ExpertGrouping(experts, count: 6)
        let pieces = grouping.pieces(workers: workers)
        #expect(pieces.list.flatMap { Array($0.rows) } == Array(0..<rows))
        #expect(
          pieces.list.allSatisfy { piece in
            piece.rows.allSatisfy { experts[grouping.order[$0]] == Int64(piece.expert) }
          })
        #expect(!pieces.areShared || pieces.list.count >= 2 * workers)
        #expect(grouping.places.enumerated().allSatisfy { grouping.order[Int($1)] == $0 })
      }
    }
    // One expert that everybody wants does not keep the others waiting.
    let pieces = try ExpertGrouping(Array(repeating: 3, count: 1000) + [0], count: 4).pieces(workers: 2)
    #expect(pieces.areShared && pieces.list.allSatisfy { $0.rows.count <= 125 })
  }

  @Test func threadsDoNotShowInWhatExpertsGive() throws {
    let model = try SourceModel(directory: Golden.root + "/Tests/Goldens/moe/qwen2_moe")
    let rows = (0..<4).map { row in (0..<100).map { Int32(($0 * 7 + row) % 43) } }
    let threads = try LibTorch.threads
    defer { try? LibTorch.setThreads(threads) }
    var found: [[Float]] = []
    for count in [1, 2, 5] {
      try LibTorch.setThreads(count)
      try Executor(model, dtype: .float32).run(
        [TokenBatch(rows)], subjects: [Selection(all: model.description)]
      ) { _, _, hidden, _ in found.append(try hidden.floats()) }
    }
    #expect(relativeDifference(found[1], found[0]) <= 1e-5 && relativeDifference(found[2], found[0]) <= 1e-5)
  }

  @Test func expertsThatDoNotExistAreRefused() {
    #expect(throws: ModelError.self) { try ExpertGrouping([0, 3], count: 3) }
    #expect(throws: ModelError.self) { try ExpertGrouping([-1], count: 3) }
  }

  private func description(_ name: String, changing changes: [(String, JSON)] = []) throws -> ModelDescription {
    let path = Golden.root + "/Tests/Goldens/moe/\(name)/config.json"
    var config = try #require(try Golden.json(path).object)
    for (key, value) in changes { config[key] = value }
    return try Families.describe(config: config, file: "config.json")
  }

  private func message(_ body: () throws -> some Any) -> String {
    do {
      _ = try body()
      return ""
    } catch { return "\(error)" }
  }

  @Test func activeParametersCountTheExpertsThatATokenUses() throws {
    for name in ["qwen3_moe", "qwen2_moe", "gpt_oss", "deepseek_v3"] {
      let model = try description(name)
      let counter = MetricsCounter(model, rows: 1, tokens: 1)
      let metrics = counter.metrics(of: Architecture(model))
      let topK = try #require(model.config["num_experts_per_tok"]?.int)
      // Tensors of single experts, counted by name where each has its own, else by their first axis.
      var unused = 0
      for (tensor, shape) in model.tensors() where tensor.contains(".experts.") {
        let all = shape.reduce(1, *)
        if let number = tensor.split(separator: ".").compactMap({ Int($0) }).dropFirst().first {
          unused += number >= topK ? all : 0
        } else {
          unused += all / shape[0] * (shape[0] - topK)
        }
      }
      #expect(unused > 0)
      #expect(metrics.params - metrics.activeParams == unused, "\(name)")
    }
  }

  @Test func latentAttentionCachesTheLatentAndTheTurningChannels() throws {
    let model = try description("deepseek_v3")
    func memory(_ tokens: Int) -> Double {
      MetricsCounter(model, rows: 3, tokens: tokens).metrics(of: Architecture(model)).memoryMB
    }
    // Per token, row and layer the 12 channels of the latent and 4 that turn, two bytes each.
    #expect(abs((memory(1001) - memory(1)) * 1_048_576 - Double(1000 * 3 * 4 * (12 + 4) * 2)) < 1e-3)
  }

  @Test func fewerExpertsThanATokenUsesAreRefused() throws {
    let model = try description("qwen3_moe")
    let said = message { try ExportConfig([(.numMoEExperts, 1)]).validate(for: model) }
    #expect(said.contains("num_experts_per_tok = 2"))
    #expect(message { try description("mixtral", changing: [("num_experts_per_tok", .int(9))]) }.contains("above"))
  }

  @Test func groupsOfExpertsLoseTheSameNumber() throws {
    let model = try description("deepseek_v3")
    #expect(model.groups(of: .numMoEExperts) == 3)
    #expect(message { try ExportConfig([(.numMoEExperts, 10)]).validate(for: model) }.contains("multiple of 3"))
    // Two groups of two hold a token's three experts; two groups of one do not.
    #expect(message { try ExportConfig([(.numMoEExperts, 6)]).validate(for: model) }.isEmpty)
    #expect(!message { try ExportConfig([(.numMoEExperts, 3)]).validate(for: model) }.isEmpty)
  }

  @Test func sharedExpertsOfDeepSeekStayAMultipleOfTheRoutedOnes() throws {
    let model = try description("deepseek_v3")
    let said = message {
      try ExportConfig([(.moeFFNHiddenSize, 9), (.moeSharedExpertIntermediateSize, 20)]).validate(for: model)
    }
    #expect(said.contains("n_shared_experts × moe_intermediate_size"))
    let asked = ExportConfig([(.moeFFNHiddenSize, 8), (.moeSharedExpertIntermediateSize, 24)])
    let config = try model.prunedConfig(for: asked.architecture(of: model))
    #expect(config["n_shared_experts"]?.int == 3)
    #expect(config["moe_intermediate_size"]?.int == 8)
    // A search over both leaves the others out and says why.
    var settings = SearchSettings()
    settings.channelDivisor = 4
    let result = try SearchSpace(model, settings).search(model, settings, Constraints(), layerRanking: nil)
    #expect(result.refused > 0)
    #expect(result.refusalRule?.contains("n_shared_experts") == true)
    #expect(
      result.candidates.allSatisfy {
        ($0.config[.moeSharedExpertIntermediateSize] ?? 24) % ($0.config[.moeFFNHiddenSize] ?? 12) == 0
      })
  }

  @Test func layerRulesFollowTheLayersThatStay() throws {
    let mixed = try description("qwen3_moe_mixed")  // Experts in layers 2 and 6 of 6.
    let config = try mixed.prunedConfig(for: Architecture(layers: [1, 2, 5], sizes: mixed.sizes))
    #expect(config["mlp_only_layers"]?.array?.compactMap(\.int) == [1])
    #expect(config["decoder_sparse_step"]?.int == 1)
    let deep = try description("deepseek_v3")  // Two dense layers in front.
    let cut = try deep.prunedConfig(for: Architecture(layers: [1, 2, 3], sizes: deep.sizes))
    #expect(cut["first_k_dense_replace"]?.int == 1)
    let whole = try mixed.prunedConfig(for: Architecture(layers: Array(mixed.layers.indices), sizes: mixed.sizes))
    #expect(whole["decoder_sparse_step"]?.int == 2)
  }

  @Test func furtherTokenPredictionIsLeftBehindWithOneLine() throws {
    let source = try SourceModel(directory: Golden.root + "/Tests/Goldens/moe/deepseek_v3")
    #expect(source.notes.isEmpty)
    try withTemporaryDirectory { directory in
      let (input, output) = (directory + "/in", directory + "/out")
      try FileManager.default.createDirectory(atPath: input, withIntermediateDirectories: true)
      var config = source.checkpoint.config
      config["num_nextn_predict_layers"] = .int(1)
      try (JSON.object(config).serialized() + "\n")
        .write(toFile: input + "/config.json", atomically: true, encoding: .utf8)
      let extra = PlannedTensor(name: "model.layers.4.eh_proj.weight", type: .bfloat16, shape: [2, 4])
      let kept = source.checkpoint.tensors.map { PlannedTensor(name: $0.name, type: $0.type, shape: $0.shape) }
      let writer = try CheckpointWriter(directory: input, tensors: kept + [extra])
      for tensor in kept {
        let bytes = try source.checkpoint.bytes(of: tensor.name)
        try writer.write(tensor.name) { append in try append(bytes) }
      }
      let zeros = [UInt8](repeating: 0, count: 16)
      try writer.write(extra.name) { append in try zeros.withUnsafeBytes { try append($0) } }
      try writer.finish()

      let model = try SourceModel(directory: input)
      #expect(model.notes.count == 1)
      #expect(model.notes.first?.contains("multi-token-prediction") == true)
      try Exporter(model, selection: Selection(all: model.description))
        .write(to: output, record: .object([]), importance: nil)
      let pruned = try SourceModel(directory: output)
      #expect(pruned.checkpoint.config["num_nextn_predict_layers"]?.int == 0)
      #expect(!pruned.checkpoint.tensors.contains { $0.name == extra.name })
    }
  }

  @Test(arguments: [
    ("qwen3_moe", "num_experts", JSON.int(0)), ("qwen3_moe", "num_experts", .int(Int.max)),
    ("qwen3_moe", "num_experts", .text("8")), ("qwen3_moe", "moe_intermediate_size", .int(-1)),
    ("qwen3_moe", "num_experts_per_tok", .int(0)), ("qwen3_moe", "mlp_only_layers", .text("1")),
    ("qwen3_moe", "mlp_only_layers", .array([.int(-1)])), ("qwen3_moe", "mlp_only_layers", .array([.text("0")])),
    ("qwen3_moe", "decoder_sparse_step", .int(0)), ("deepseek_v3", "n_group", .int(5)),
    ("deepseek_v3", "topk_group", .int(4)), ("deepseek_v3", "topk_group", .int(0)),
    ("deepseek_v3", "n_shared_experts", .int(0)), ("deepseek_v3", "moe_layer_freq", .int(2)),
    ("deepseek_v3", "first_k_dense_replace", .int(-1)), ("deepseek_v3", "qk_rope_head_dim", .int(3)),
    ("deepseek_v3", "num_nextn_predict_layers", .int(1 << 40)), ("deepseek_v2", "topk_method", .text("luck")),
    ("gpt_oss", "layer_types", .array([.text("full_attention")])), ("gpt_oss", "swiglu_limit", .int(-2)),
    ("olmoe", "clip_qkv", .int(8)), ("olmoe", "head_dim", .int(12)),
  ])
  func damagedConfigsAreErrorsThatNameTheFile(_ name: String, _ key: String, _ value: JSON) {
    #expect(message { try description(name, changing: [(key, value)]) }.contains("config.json"), "\(key)")
  }
}
