import JSON
import Jobs
import Models
import Ranks
import Testing
import Torch

struct CrewTests {
  /// Each process takes the next GPU unless one is named for all, and those that come to the same one share its memory.
  @Test(arguments: [("cuda", 4, 2, 2), ("auto", 3, 2, 2), ("cuda", 2, 4, 1), ("cuda:1", 4, 2, 4), ("cuda", 4, 0, 4)])
  func processesShareGPUs(_ device: String, _ local: Int, _ devices: Int, _ sharing: Int) throws {
    #expect(try DeviceChoice(device).processes(on: .cuda(0), of: local, devices: devices) == sharing)
    #expect(DeviceChoice.cpu.processes(on: .cpu, of: local, devices: devices) == local)
  }

  /// Stages with room for their layers send batches on one by one; the others take turns, and wait for one another.
  @Test func roomForLayersSavesWaiting() throws {
    let config = """
      {"model_type": "qwen3", "hidden_size": 64, "intermediate_size": 4096, "num_hidden_layers": 36, "head_dim": 16,
       "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "tie_word_embeddings": true}
      """
    let description = try Families.describe(
      config: #require(JSON(parsing: Array(config.utf8)).object), file: "config.json")
    let layout = try CrewLayout(costs: [Int](repeating: 1, count: 36), ranks: 2, stages: 2)
    func idle(_ budget: Int) -> Double {
      CrewEstimate(
        description, layout, rows: 16_384, seqLength: 128, elementBytes: 4, budget: budget,
        speed: .init(operations: 1e11, bytes: 1e9)
      ).idle
    }
    #expect(idle(1 << 40) < idle(40_000_000))
  }

  /// Files are hashed where their layers are, and as evenly as that allows.
  @Test func ranksHashWhatTheyRead() throws {
    let layout = try CrewLayout(costs: [1, 1, 1, 1], ranks: 4, stages: 2)
    let files = (1...6).map { (name: "\($0)", size: $0 == 6 ? 10 : 100) }
    let stages = ["1": Set([0]), "2": [0], "3": [0, 1], "4": [1], "5": [1]]
    let dealt = SharedHashes.dealt(files, stages: stages, layout)
    #expect(dealt.joined().sorted() == files.map(\.name), "each by one rank")
    for (rank, names) in dealt.enumerated() {
      #expect(names.allSatisfy { stages[$0]?.contains(rank % 2) ?? true }, "\(dealt)")
      #expect(names.filter { $0 != "6" }.count <= 2)
    }
    // An embedding's file belongs to no layer: whoever has least to do.
    #expect(dealt.contains(["6"]) || dealt.contains { $0.count == 2 && $0.contains("6") })
    let alike = SharedHashes.dealt(files, stages: [:], try CrewLayout(costs: [1, 1, 1], ranks: 3, stages: 3))
    #expect(alike.map(\.count) == [2, 2, 2])
  }
}
