import Execution
import Files
import Foundation
import Models
import TestSupport
import Testing
import Torch
import Training

@Suite struct TrainingMemoryTests {
  private func source(_ golden: String) throws -> SourceModel {
    try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden)
  }

  /// Weights after some steps, by cross-entropy.
  private func trained(_ golden: String, _ dtype: DType, _ memory: TrainingMemory, directory: String) throws
    -> [[Float]]
  {
    let source = try source(golden)
    func trainer() throws -> Trainer {
      try Trainer(
        TrainedModel(source, dtype: dtype, memory: memory), teacher: nil,
        rule: TrainingRule(
          loss: LossRule(divergence: 0, crossEntropy: 1),
          rate: LearningRate(peak: 1e-2, end: 1e-3, warmup: 1, steps: 5), clip: 0.5))
    }
    func learn(_ trainer: Trainer, to step: Int) throws {
      while trainer.step < step {
        let rows = (0..<2).map { row in
          TrainingBatch(rows: [(0..<12).map { Int32(($0 * 31 + row * 17 + trainer.step * 7) % 19) }])
        }
        _ = try trainer.learn(from: rows)
      }
    }
    let first = try trainer()
    try learn(first, to: 3)
    // Through a state, in which everything on disk is found again.
    let state = TrainingState(directory: directory)
    try state.save(first, record: .null)
    let second = try trainer()
    try state.load(3, into: second) { _ in }
    removeTree(directory)
    try learn(second, to: 5)
    return try second.model.parameters.map { try $0.value().floats() }
  }

  @Test(arguments: ["dense/qwen3_tied", "moe/mixtral", "mamba/nemotron_h_pattern"], [DType.float32, .bfloat16])
  func weightsAreTheSameFromDisk(_ golden: String, _ dtype: DType) throws {
    try withTemporaryDirectory { directory in
      let ample = try trained(golden, dtype, .ample, directory: directory + "/ample")
      for spill in TrainingMemory.Spill.allCases {
        let memory = try TrainingMemory(spill, directory: directory)
        #expect(try trained(golden, dtype, memory, directory: directory + "/state") == ample, "\(spill)")
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty, "the file has no name")
    }
  }

  @Test func whatDoesNotFitGoesToDisk() throws {
    let model = try source("dense/qwen3_tied").description
    func bytes(_ spill: TrainingMemory.Spill, _ dtype: DType = .bfloat16, processes: Int = 1) -> Int {
      TrainingMemory.bytes(spill, model, dtype: dtype, processes: processes)
    }
    let all = TrainingMemory.Spill.allCases.map { bytes($0) }
    #expect(all == all.sorted(by: >) && Set(all).count == all.count, "\(all)")
    for spill in TrainingMemory.Spill.allCases {
      #expect(TrainingMemory.fitting(model, dtype: .bfloat16, processes: 1, room: bytes(spill)) == spill)
    }
    #expect(TrainingMemory.fitting(model, dtype: .bfloat16, processes: 1, room: 0) == .gradients)
    // 18 bytes a parameter, 16 where copies are the weights; processes share the moments.
    let parameters = (bytes(.nothing) - bytes(.moments)) / 8
    #expect(bytes(.nothing) == 18 * parameters && bytes(.nothing, .float32) == 16 * parameters)
    #expect(bytes(.nothing, processes: 4) == 12 * parameters)
  }

  @Test func aDirectoryThatCannotHoldItIsNamed() throws {
    let error = #expect(throws: ModelError.self) { _ = try TrainingMemory(.moments, directory: "/nowhere/at/all") }
    #expect("\(error?.message ?? "")".contains("/nowhere/at/all") && "\(error?.message ?? "")".contains("make a file"))
  }
}
