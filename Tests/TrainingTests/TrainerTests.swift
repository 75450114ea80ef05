import Execution
import Foundation
import JSON
import Models
import TestSupport
import Testing
import Torch
import Training

@Suite struct TrainerTests {
  private func trainer(
    _ golden: String, recomputes: Bool = true, dtype: DType = .float32, loss: LossRule = LossRule(crossEntropy: 1),
    steps: Int = 6
  ) throws -> Trainer {
    let source = try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden)
    let teacher = Teacher(Executor(source, dtype: dtype))
    return try Trainer(
      TrainedModel(source, dtype: dtype), teacher: teacher,
      rule: TrainingRule(
        loss: loss, rate: LearningRate(peak: 1e-2, end: 1e-3, warmup: 2, steps: steps), recomputes: recomputes))
  }

  private func batches(_ step: Int, rows: Int = 2, length: Int = 9) -> [TrainingBatch] {
    (0..<rows).map { row in
      TrainingBatch(rows: [(0...length - row).map { Int32(($0 * 31 + row * 17 + step * 7) % 19) }])
    }
  }

  private func weights(_ trainer: Trainer) throws -> [[Float]] {
    try trainer.model.parameters.map { try $0.value().floats() }
  }

  static let families = [
    "dense/llama3", "moe/mixtral", "mamba/nemotron_h_pattern", "moe/qwen3_next", "moe/deepseek_v3", "gemma4/shared",
  ]

  /// What is kept of the way there is what is computed again on the way back.
  @Test(arguments: families) func gradientsAreTheSameRecomputed(_ golden: String) throws {
    let (kept, again) = (try trainer(golden, recomputes: false), try trainer(golden, recomputes: true))
    let losses = try (kept.gradients(batches(0)), again.gradients(batches(0)))
    #expect(abs(losses.0.crossEntropy - losses.1.crossEntropy) < 1e-5)
    for (a, b) in zip(kept.model.parameters, again.model.parameters) {
      let (first, second) = (try a.gradient()?.floats() ?? [], try b.gradient()?.floats() ?? [])
      // What is computed without being recorded is rounded elsewhere.
      #expect(first.count == second.count)
      if !first.isEmpty { #expect(relativeDifference(first, second) < 1e-4, "\(a.name.text)") }
    }
  }

  /// Gradients are the same whoever does which expert, or which heads of a scan.
  @Test(arguments: families) func gradientsAreTheSameOnSeveralThreads(_ golden: String) throws {
    let count = try LibTorch.threads
    defer { try? LibTorch.setThreads(count) }
    func gradients(_ threads: Int) throws -> [[Float]] {
      try LibTorch.setThreads(threads)
      let trainer = try trainer(golden)
      _ = try trainer.gradients(batches(0, length: 40))
      return try trainer.model.parameters.map { try $0.gradient()?.floats() ?? [] }
    }
    try WholeProcess.alone {
      let (one, four) = (try gradients(1), try gradients(4))
      for (a, b) in zip(one, four) where !a.isEmpty { #expect(relativeDifference(a, b) < 1e-4) }
      #expect(one.map(\.isEmpty) == four.map(\.isEmpty))
    }
  }

  /// A student that is its teacher has nothing to learn.
  @Test(arguments: families) func aCopyHasNoDivergence(_ golden: String) throws {
    let losses = try trainer(golden).losses(batches(0))
    #expect(abs(losses.divergence) < 1e-5)
    #expect(losses.crossEntropy > 0)
  }

  @Test func learningLowersTheLoss() throws {
    let trainer = try trainer("dense/llama3", loss: LossRule(divergence: 0, crossEntropy: 1), steps: 12)
    let outcomes = try (0..<12).map { _ in try trainer.learn(from: batches(0)) }
    #expect(outcomes.map(\.step) == Array(1...12))
    #expect(outcomes[11].loss < 0.8 * outcomes[0].loss, "\(outcomes.map(\.loss))")
  }

  /// Read back, a training goes on to the same bits as one that was never ended.
  @Test(arguments: ["dense/llama3", "moe/mixtral"]) func aStateGoesOnToTheSameBits(_ golden: String) throws {
    let whole = try trainer(golden)
    for step in 0..<6 { _ = try whole.learn(from: batches(step)) }
    try withTemporaryDirectory { place in
      let state = TrainingState(directory: place + "/states")
      let first = try trainer(golden)
      for step in 0..<3 { _ = try first.learn(from: batches(step)) }
      try state.save(first, record: .text("a run"))
      let second = try trainer(golden)
      #expect(state.steps() == [3])
      try state.load(3, into: second) { #expect($0 == .text("a run")) }
      for step in 3..<6 { _ = try second.learn(from: batches(step)) }
      #expect(try weights(second) == weights(whole))
      #expect(second.step == 6)
    }
  }

  @Test func statesAreKeptByNumberAndDamagedOnesRefused() throws {
    try withTemporaryDirectory { place in
      let state = TrainingState(directory: place)
      let trainer = try trainer("dense/llama3")
      for step in 0..<3 {
        _ = try trainer.learn(from: batches(step))
        try state.save(trainer, record: .null)
      }
      #expect(state.steps() == [1, 2, 3])
      state.keepNewest(-1)
      #expect(state.steps() == [1, 2, 3])
      state.keepNewest(2)
      #expect(state.steps() == [2, 3])
      // One that is not whole is none.
      try FileManager.default.createDirectory(atPath: place + "/iter_0000009", withIntermediateDirectories: true)
      #expect(state.steps() == [2, 3])
      let weights = state.path(3) + "/model.safetensors"
      let bytes = try #require(FileManager.default.contents(atPath: weights))
      try bytes.prefix(bytes.count - 5).write(to: URL(fileURLWithPath: weights))
      #expect(throws: (any Error).self) { try state.load(3, into: trainer) { _ in } }
      try Data("{\"format\": 9, \"step\": 2}".utf8).write(to: URL(fileURLWithPath: state.path(2) + "/state.json"))
      #expect(throws: ModelError.self) { try state.load(2, into: trainer) { _ in } }
    }
  }

  /// A loss that is no number leaves the weights as they are.
  @Test func brokenStepsChangeNothing() throws {
    let trainer = try trainer("dense/llama3")
    let norm = try #require(trainer.model.parameters.last)
    try norm.value().fill(.nan)
    let before = try weights(trainer).dropLast()
    let outcome = try trainer.learn(from: batches(0))
    #expect(outcome.isBroken)
    #expect(trainer.step == 0)
    #expect(try weights(trainer).dropLast() == before)
  }

  @Test func ratesRiseAndFall() {
    let rate = LearningRate(peak: 1, end: 0.1, warmup: 4, steps: 10)
    #expect((1...4).map(rate.rate(atStep:)) == [0.25, 0.5, 0.75, 1])
    #expect(abs(rate.rate(atStep: 7) - 0.55) < 1e-12)
    #expect(abs(rate.rate(atStep: 10) - 0.1) < 1e-12)
    #expect(LearningRate(peak: 1, end: 1, warmup: 0, steps: 1).rate(atStep: 1) == 1)
  }
}
