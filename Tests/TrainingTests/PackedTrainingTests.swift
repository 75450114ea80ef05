import Execution
import Models
import TestSupport
import Testing
import Torch
import Training

/// Sequences that share a row and see nothing of one another: what they teach is what each teaches alone.
@Suite struct PackedTrainingTests {
  /// Windows, sinks, positions that are learned, that depend on the sequence's length or scale queries, latent attention, recurrences, short
  /// convolutions, experts, layers' own inputs.
  static let families = [
    "dense/llama3", "dense/qwen2_window", "dense/llama_dynamic", "dense2/gemma2_tied", "dense2/gpt2_learned",
    "dense2/phi3_longrope", "dense2/ministral3_growing", "gemma4/shared", "moe/gpt_oss", "moe/deepseek_v3",
    "moe/qwen3_next", "mamba/nemotron_h_pattern", "hybrid/falcon_h1", "hybrid/jamba", "hybrid/lfm2", "hybrid/llama4",
  ]

  private func trainer(_ golden: String, dtype: DType) throws -> Trainer {
    let source = try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden)
    return try Trainer(
      TrainedModel(source, dtype: dtype), teacher: Teacher(Executor(source, dtype: dtype)),
      rule: TrainingRule(
        loss: LossRule(crossEntropy: 1), rate: LearningRate(peak: 1, end: 1, warmup: 0, steps: 1)))
  }

  private func sequence(_ seed: Int, _ count: Int) -> (tokens: [Int32], shares: [Float]) {
    (
      tokens: (0..<count).map { Int32(($0 * 31 + seed * 17 + $0 * $0 * 3) % 19) },
      shares: (1..<count).map { $0 % 4 == 3 ? 0 : 1 }
    )
  }

  @Test(arguments: families) func whatIsPackedTeachesWhatItTeachesAlone(_ golden: String) throws {
    let sequences = [(0, 9), (1, 14), (2, 2), (3, 5), (4, 11), (5, 3)].map { sequence($0.0, $0.1) }
    let (packed, alone) = (try trainer(golden, dtype: .float32), try trainer(golden, dtype: .float32))
    // Two packed rows, one of a single sequence and one of the others, in a micro-batch.
    let rows = [TrainingRow(apart: [sequences[0]]), TrainingRow(apart: Array(sequences[1...]))]
    let found = try packed.gradients([TrainingBatch(rows)])
    let expected = try alone.gradients([
      TrainingBatch(sequences.map { TrainingRow(tokens: $0.tokens, shares: $0.shares) })
    ])
    #expect(abs(found.crossEntropy - expected.crossEntropy) < 1e-5 * expected.crossEntropy)
    #expect(abs(found.divergence - expected.divergence) < 1e-5)
    var compared = 0
    for (a, b) in zip(packed.model.parameters, alone.model.parameters) {
      let (first, second) = (try a.gradient()?.floats() ?? [], try b.gradient()?.floats() ?? [])
      #expect(first.count == second.count)
      if first.isEmpty { continue }
      compared += 1
      #expect(relativeDifference(first, second) < 1e-4, "\(a.name.text)")
    }
    #expect(compared > 5)
    // It does make a difference whether they see one another.
    let joined = try trainer(golden, dtype: .float32)
    let together = try joined.losses([
      TrainingBatch(rows.map { TrainingRow(tokens: $0.tokens, shares: $0.shares) })
    ])
    #expect(abs(together.crossEntropy - expected.crossEntropy) > 1e-5 * expected.crossEntropy)
  }

  /// Rows are kept by their names; how they were put together does not matter.
  @Test func keptStatesServePackedRows() throws {
    try withTemporaryDirectory { place in
      let source = try SourceModel(directory: Golden.root + "/Tests/Goldens/dense/llama3")
      let rows = [
        TrainingRow(apart: [sequence(0, 9), sequence(1, 4)]), TrainingRow(apart: [sequence(2, 6), sequence(3, 7)]),
      ]
      func losses(_ batches: [TrainingBatch], cache: Bool) throws -> LossSums {
        let kept = TeacherCache(directory: place, hidden: source.description.sizes[.hidden], dtype: .float32)
        let trainer = try Trainer(
          TrainedModel(source, dtype: .float32),
          teacher: Teacher(Executor(source, dtype: .float32), cache: cache ? kept : nil),
          rule: TrainingRule(loss: LossRule(), rate: LearningRate(peak: 1, end: 1, warmup: 0, steps: 1)))
        return try trainer.losses(batches)
      }
      let one = [TrainingBatch(rows, names: ["0", "1"])]
      let each = rows.enumerated().map { TrainingBatch([$1], names: ["\($0)"]) }
      let expected = try losses(one, cache: false)
      for batches in [one, each, one] {
        let found = try losses(batches, cache: true)
        #expect(abs(found.crossEntropy - expected.crossEntropy) < 1e-6 && abs(found.divergence) < 1e-6)
      }
    }
  }

  @Test func firstTokensOfSequencesAreNoTargets() {
    let row = TrainingRow(apart: [
      (tokens: [1, 2, 3], shares: [1, 1]), (tokens: [4], shares: []), (tokens: [5, 6], shares: [1]),
    ])
    #expect(row.tokens == [1, 2, 3, 4, 5, 6] && row.sequences == [3, 1, 2])
    #expect(row.shares == [1, 1, 0, 0, 1])
  }
}
