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

  /// Also with an embedding that is the head, experts, scans, and a replica without a row.
  @Test(
    arguments: ["dense/qwen3_tied", "dense/llama3", "moe/mixtral", "mamba/nemotron_h_pattern"],
    [(2, 1, 5), (3, 1, 2), (2, 2, 1), (2, 2, 5)])
  func stagesComeToWhatOneProcessComesTo(_ golden: String, _ shape: (stages: Int, replicas: Int, rows: Int)) throws {
    try WholeProcess.alone {
      let layout = try Self.layout(golden, stages: shape.stages, replicas: shape.replicas)
      let one = try Self.trained(golden, rows: shape.rows, in: .alone, Self.layout(golden, stages: 1, replicas: 1))
      let ways = shape.rows == 5 ? [Way(recomputes: true), Way(recomputes: false), Way(budget: 1)] : [Way()]
      for way in ways {
        let found = try inRanks(layout.ranks) { world in
          let result = try Self.trained(golden, rows: shape.rows, in: world, layout, way)
          try world.leave()
          return result
        }
        try Self.same(one, found)
      }
    }
  }
  /// What one layout has saved another goes on from, and each has the weights of all others.
  @Test func statesGoFromOneLayoutToAnother() throws {
    let golden = "dense/qwen3_tied"
    try WholeProcess.alone {
      try withTemporaryDirectory { place in
        let state = TrainingState(directory: place)
        let alone = try Self.layout(golden, stages: 1, replicas: 1)
        // Each goes on from what the one before has saved.
        let shapes = [(3, 1), (1, 1), (2, 2), (1, 2)]
        for (number, shape) in shapes.enumerated() {
          let layout = try Self.layout(golden, stages: shape.0, replicas: shape.1)
          let work: @Sendable (World) throws -> Void = { world in
            let trainer = try Self.trainer(golden, in: world, layout, Way())
            if number > 0 { try state.load(number, into: trainer) { _ in } }
            _ = try trainer.learn(from: Self.batches(4, step: number))
            try state.save(trainer, record: .null)
            try world.leave()
          }
          if layout.ranks == 1 {
            try work(.alone)
          } else {
            for result in try inRanks(layout.ranks, work) { try #require(try result?.get()) }
          }
        }
        let one = try Self.trained(golden, rows: 4, in: .alone, alone, steps: shapes.count)
        let stored = try state.weights(shapes.count)
        let trainer = try Self.trainer(golden, in: .alone, alone, Way())
        for parameter in trainer.model.parameters {
          let name = parameter.name.text
          let apart = zip(try #require(one.weights[name]), try stored(name, parameter.shape).floats())
            .map { abs($0 - $1) }.max()
          #expect(try #require(apart) < 1e-5, "\(name)")
        }
        #expect(throws: ModelError.self) { try stored("no.such.weight", [1]) }
      }
    }
  }

  /// Rows that are kept are read by the last stage, and no stage computes the teacher then.
  @Test(arguments: [nil, LikeliestRule(count: 5)])
  func stagesReadWhatIsKept(_ likeliest: LikeliestRule?) throws {
    let golden = "dense/llama3"
    try WholeProcess.alone {
      try withTemporaryDirectory { place in
        let layout = try Self.layout(golden, stages: 2, replicas: 1)
        func run(_ cache: String) throws -> [Swift.Result<Result, any Error>?] {
          try inRanks(2) { world in
            // One row at a time, of which some are kept already the second time.
            let way = Way(cache: cache, likeliest: likeliest, budget: 1)
            let result = try Self.trained(golden, rows: 3, in: world, layout, way)
            try world.leave()
            return result
          }
        }
        let one = try Self.trained(
          golden, rows: 3, in: .alone, Self.layout(golden, stages: 1, replicas: 1),
          Way(cache: place + "/one", likeliest: likeliest))
        try Self.same(one, run(place + "/two"))
        let row = place + "/two" + (likeliest == nil ? "/0/1-1.states" : "/likeliest-5-1.0/0/1-1.likeliest")
        #expect(kind(of: row) == .file)
        removeTree(row)
        try Self.same(one, run(place + "/two"))
        try Self.same(one, run(place + "/one"))
      }
    }
  }

  /// What stages cannot train apart is refused, and so are layers that are not those of the layout.
  @Test func whatStagesCannotTrainIsRefused() throws {
    let golden = "gemma4/shared"
    let source = try Self.source(golden)
    #expect(TrainedModel.obstacle(source) == nil)
    #expect(throws: ModelError.self) { try TrainedModel(source, dtype: .float32, stage: 0..<1) }
    let dense = try Self.source("dense/llama3")
    #expect(throws: ModelError.self) {
      try Trainer(
        TrainedModel(dense, dtype: .float32, stage: 0..<2), teacher: nil,
        rule: TrainingRule(rate: LearningRate(peak: 1, end: 1, warmup: 0, steps: 1)))
    }
  }

  /// A stage's share of memory is that of its layers.
  @Test(arguments: ["dense/qwen3_tied", "moe/mixtral"]) func aStageTakesItsPart(_ golden: String) throws {
    let source = try Self.source(golden)
    let model = source.description
    let layout = try Self.layout(golden, stages: model.layers.count, replicas: 1)
    for (stage, layers) in layout.stages.enumerated() {
      let trained = try TrainedModel(source, dtype: .float32, stage: layers)
      let elements = trained.parameters.reduce(0) { $0 + $1.shape.reduce(1, *) }
      let bytes = TrainingMemory.bytes(.nothing, model, stage: layers, dtype: .float32, processes: 1)
      #expect(bytes == 16 * elements, "stage \(stage)")
      #expect(trained.parameters.allSatisfy { parameter in parameter.name.layer.map(layers.contains) ?? true })
    }
  }
}
