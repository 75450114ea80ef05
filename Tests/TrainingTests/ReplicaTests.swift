import Execution
import Files
import Models
import Ranks
import TestSupport
import Testing
import Torch
import Training

/// Processes that learn together, here on threads of one process.
@Suite(.serialized) struct ReplicaTests {
  /// Weights after some steps of so many rows.
  private static func trained(
    _ golden: String, rows: Int, in world: World, _ spill: TrainingMemory.Spill = .nothing, directory: String = ""
  ) throws -> [[Float]] {
    let source = try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden)
    let memory = spill == .nothing ? .ample : try TrainingMemory(spill, directory: directory)
    let trainer = try Trainer(
      TrainedModel(source, dtype: .float32, memory: memory), teacher: nil,
      rule: TrainingRule(
        loss: LossRule(divergence: 0, crossEntropy: 1), rate: LearningRate(peak: 1e-3, end: 1e-4, warmup: 1, steps: 3)),
      world: world)
    for step in 0..<3 {
      let batches = (0..<rows).map { row in
        // Short rows, so that not every expert has tokens of each.
        TrainingBatch(rows: [(0..<4 + row).map { Int32(($0 * 31 + row * 17 + step * 7) % 19) }])
      }
      _ = try trainer.learn(from: batches)
    }
    return try trainer.model.parameters.map { try $0.value().floats() }
  }

  /// Also where some process has no row, some expert no token in a process, and gradients are on disk.
  @Test(arguments: ["dense/qwen3_tied", "moe/mixtral", "gemma4/shared"], [1, 5])
  func replicasComeToWhatOneComesTo(_ golden: String, _ rows: Int) throws {
    // Other tests choose the kernels of the whole process.
    try WholeProcess.alone {
      try withTemporaryDirectory { directory in
        let one = try Self.trained(golden, rows: rows, in: .alone)
        for spill in [TrainingMemory.Spill.nothing, .gradients] {
          let found = try inRanks(3) { world in
            let weights = try Self.trained(golden, rows: rows, in: world, spill, directory: directory)
            try world.leave()
            return weights
          }
          for result in found {
            let weights = try #require(try result?.get())
            for (a, b) in zip(one, weights) {
              let apart = zip(a, b).map { abs($0 - $1) }.max() ?? 0
              #expect(a.count == b.count && apart < 1e-5, "\(spill): \(apart)")
            }
          }
        }
      }
    }
  }
}
