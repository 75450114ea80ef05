import Execution
import Files
import JSON
import Models
import Ranks
import TestSupport
import Testing
import Torch
import Training

/// Pipelines of processes that learn together, here on threads of one process.
@Suite(.serialized) struct PipelineTests {
  private static func source(_ golden: String) throws -> SourceModel {
    try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden)
  }

  private static func layout(_ golden: String, stages: Int, replicas: Int) throws -> CrewLayout {
    let count = try source(golden).description.layers.count
    return CrewLayout(
      stages: (0..<stages).map { count * $0 / stages..<count * ($0 + 1) / stages }, replicas: replicas)
  }

  private static func batches(_ rows: Int, step: Int) -> [TrainingBatch] {
    (0..<rows).map { row in
      TrainingBatch(
        rows: [(0..<4 + row).map { Int32(($0 * 31 + row * 17 + step * 7) % 19) }], names: ["\(step)-\(row)"])
    }
  }

  /// How a training is done.
  struct Way: Sendable {
    var recomputes = true
    var cache: String?
    var likeliest: LikeliestRule?
    /// Bytes of the teacher's states in memory.
    var budget = 1 << 20
  }

  private static func trainer(_ golden: String, in world: World, _ layout: CrewLayout, _ way: Way) throws -> Trainer {
    let source = try source(golden)
    let cache = way.cache.map {
      TeacherCache(
        directory: $0, hidden: source.description.sizes[.hidden], dtype: .float32, likeliest: way.likeliest)
    }
    return try Trainer(
      TrainedModel(source, dtype: .float32, stage: layout.stages[layout.stage(of: world.rank)]),
      teacher: Teacher(
        Executor(source, dtype: .float32, budget: way.budget), cache: cache, world: world, layout: layout),
      rule: TrainingRule(
        loss: LossRule(crossEntropy: 1),
        rate: LearningRate(peak: 1e-3, end: 1e-4, warmup: 1, steps: 4), recomputes: way.recomputes),
      world: world, layout: layout)
  }

  private struct Result: Sendable {
    var weights: [String: [Float]] = [:]
    var outcomes: [StepOutcome] = []
    var validation = LossSums()
  }

  /// Some steps, and then what is held back.
  private static func trained(
    _ golden: String, rows: Int, in world: World, _ layout: CrewLayout, _ way: Way = Way(), steps: Int = 3,
    then: (Trainer) throws -> Void = { _ in }
  ) throws -> Result {
    let trainer = try trainer(golden, in: world, layout, way)
    var result = Result()
    for step in 0..<steps { result.outcomes.append(try trainer.learn(from: batches(rows, step: step))) }
    result.validation = try trainer.losses(batches(3, step: 9))
    for parameter in trainer.model.parameters { result.weights[parameter.name.text] = try parameter.value().floats() }
    try then(trainer)
    return result
  }

  private static func same(_ one: Result, _ found: [Swift.Result<Result, any Error>?]) throws {
    var seen: Set<String> = []
    for result in found {
      let result = try #require(try result?.get())
      for (name, weights) in result.weights {
        let apart = zip(try #require(one.weights[name]), weights).map { abs($0 - $1) }.max() ?? 0
        #expect(apart < 1e-5, "\(name): \(apart)")
        seen.insert(name)
      }
      for (a, b) in zip(one.outcomes, result.outcomes) {
        #expect(abs(a.loss - b.loss) < 1e-5 && abs(a.gradientNorm - b.gradientNorm) < 1e-3 * a.gradientNorm)
      }
      #expect(abs(one.validation.divergence - result.validation.divergence) < 1e-5)
      #expect(abs(one.validation.crossEntropy - result.validation.crossEntropy) < 1e-5)
    }
    #expect(seen == Set(one.weights.keys))
  }

  /// Also with an embedding that is the head, experts, layers that lend their keys, and a replica without a row.
  @Test(
    arguments: ["dense/qwen3_tied", "dense/llama3", "moe/mixtral", "mamba/nemotron_h_pattern"],
    [(2, 1, 5), (3, 1, 2), (2, 2, 1), (2, 2, 5)])
  func stagesComeToWhatOneProcessComesTo(_ golden: String, _ shape: (stages: Int, replicas: Int, rows: Int)) throws {
    try WholeProcess.alone {
      let layout = try Self.layout(golden, stages: shape.stages, replicas: shape.replicas)
      let one = try Self.trained(golden, rows: shape.rows, in: .alone, Self.layout(golden, stages: 1, replicas: 1))
      for way in [Way(recomputes: true), Way(recomputes: false), Way(budget: 1)] {
        let found = try inRanks(layout.ranks) { world in
          let result = try Self.trained(golden, rows: shape.rows, in: world, layout, way)
          try world.leave()
          return result
        }
        try Self.same(one, found)
      }
    }
  }
}
