import Checkpoint
import Execution
import Files
import JSON
import Messages
import Minitron
import Models
public import Ranks
import Tokenization
import Torch
public import Training

/// What a distillation has come to.
public struct DistillOutcome: Sendable, Equatable {
  /// Steps that are done, and those that were asked for.
  public let steps: Int
  public let wanted: Int
  /// Where the model is; nil where training is not over.
  public let exported: String?
  /// The newest saved state; nil where nothing was saved.
  public let state: String?
  /// Held-out losses, the newest; nil where none were measured.
  public let validation: LossSums?
  public let metrics: String
  public let computeType: String
}

/// Has a model learn from another (Hinton et al. 2015, arXiv 1503.02531), as Model-Optimizer's distillation of pruned models
/// does: the student follows the teacher's distribution of every next token.
///
/// A run that was ended goes on from its newest saved state, to the same bytes.
public struct DistillJob {
  let request: DistillRequest
  let world: World
  private let events: RunEvents

  /// - Parameters:
  ///   - listeners: told what happens in the run.
  ///   - world: processes that learn together, each of which has the same job; the first writes what comes of it.
  /// - Throws: `RequestError` for a request that no model could meet.
  public init(_ request: DistillRequest, listeners: [any RunListener] = [], world: World = .alone) throws {
    try request.validate()
    self.request = request
    self.world = world
    events = RunEvents(listeners)
  }

  /// Trains, as far as the request goes.
  ///
  /// - Throws: what is wrong with the models, the data or the output; `RunError` where the loss is no number any more.
  public func run() throws -> DistillOutcome {
    let student = try SourceModel(directory: ModelPlace.directory(request.student, events: events))
    let teacher = try SourceModel(directory: ModelPlace.directory(request.teacher, events: events))
    for note in student.notes { try events.note(.checkpoint(note)) }
    try TrainedModel.check(
      student, on: request.compute.device.place(), for: "distillation", inStages: request.compute.stages > 1)
    let division = try division(student, teacher)
    let exported = request.exported ?? request.output + "/hf"
    for model in [student, teacher] {
      try OutputPlace.check(output: request.output, model: model.checkpoint.directory, kept: nil)
    }
    if request.packsSequences, let model = [student, teacher].first(where: { !$0.description.packsSequences }) {
      throw RunError(
        """
        \(model.checkpoint.directory): \(model.description.family) models take a row for one sequence; leave \
        \(parameter: "pack_sequences") out
        """)
    }
    let tokenizer = try Tokenizer(directory: student.checkpoint.directory)
    try checkVocabulary(student, teacher, tokenizer)
    try checkPairs(student, teacher)
    let writes = !request.validatesOnly && world.rank == 0
    // Another process may want another result, but the same states.
    let states = writes ? try OutputClaim(request.output + "/run") : nil
    let claim = writes ? try OutputClaim.unlessOccupied(exported) : nil
    let finished = writes && claim == nil ? try FinishedOutput(exported, name: "hf_export_path") : nil
    defer { withExtendedLifetime((states, claim)) {} }
    return try student.checkpoint.blamingChanges {
      try teacher.checkpoint.blamingChanges {
        try train(student, teacher, division, tokenizer, exported, claim, finished)
      }
    }
  }

  /// Both have to have the same tokens under the same numbers.
  private func checkVocabulary(_ student: SourceModel, _ teacher: SourceModel, _ tokenizer: Tokenizer) throws {
    let (own, other) = (student.description.sizes[.vocabulary], teacher.description.sizes[.vocabulary])
    guard own == other else {
      throw RunError(
        """
        the teacher has a vocabulary of \(other) tokens and the student one of \(own): distillation compares distributions \
        over the same tokens
        """)
    }
    if let count = request.teacherTopK, count > own {
      throw RunError("\(parameter: "teacher_cache_topk") is \(count); the vocabulary has \(own) tokens")
    }
    let theirs = try Tokenizer(directory: teacher.checkpoint.directory)
    guard let token = (0..<own).first(where: { tokenizer.token(of: $0) != theirs.token(of: $0) }) else { return }
    func name(_ tokenizer: Tokenizer) -> String { tokenizer.token(of: token).map { "\"\($0)\"" } ?? "none" }
    throw RunError(
      """
      teacher and student have different tokenizers: token \(token) is \(name(theirs)) for the teacher and \
      \(name(tokenizer)) for the student
      """)
  }

  private func train(
    _ student: SourceModel, _ teacher: SourceModel, _ division: (student: CrewLayout, teacher: CrewLayout),
    _ tokenizer: Tokenizer, _ exported: String, _ claim: OutputClaim?, _ finished: FinishedOutput?
  ) throws -> DistillOutcome {
    if let limit = student.description.exceededPositions(request.seqLength) {
      try events.warn(.rowsTooLong(tokens: request.seqLength, limit: limit))
    }
    if let hint = try request.compute.typeHint(for: student) { try events.note(.computeType(hint)) }
    // The first makes token numbers of text, the others find them.
    if world.rank > 0 { try world.barrier() }
    let data = try DistillData(request, model: student, tokenizer: tokenizer, events: events)
    if world.rank == 0 { try world.barrier() }
    let hashing = events.progress("fingerprint", total: nil, unit: "bytes")
    let hashes = try [student, teacher].map { try $0.checkpoint.sha256(progress: { done, _ in hashing.update(done) }) }
    hashing.finish()
    let dtype = try request.compute.dtype(for: student)
    let rule = try rule(student, dtype)
    let made = Fingerprint(
      settings(dtype) + [
        ("recompute", "\(rule.recomputes)"), ("student", hashes[0]), ("teacher", hashes[1]),
      ] + data.madeOf)
    try world.agree(on: made.fields.map { ($0.name, $0.value) })
    try finished?.check(made)
    // The others hear of it from the first.
    if try world.sum([finished == nil ? 0 : 1])[0] > 0 {
      try events.note(.finishedAlready(output: exported))
      return outcome(steps: request.steps, exported, finished?.validation, dtype)
    }
    if !world.isAlone {
      try events.note(.crew(division.student.text(WeightSource(student, dtype: dtype))))
    }
    let device = try request.compute.device.place(localRank: world.localRank)
    let processes = request.compute.device.processes(on: device, of: world.localSize)
    let stage = division.student.stages[division.student.stage(of: world.rank)]
    let memory: TrainingMemory =
      request.validatesOnly
      ? .ample
      : try TrainingMemory(
        student, on: device, stage: stage, dtype: dtype, request.compute, replicas: division.student.replicas,
        processes: processes, directory: request.output, events)
    let learner = try TrainedModel(student, dtype: dtype, device: device, stage: stage, memory: memory)
    let walker = try request.compute.executor(teacher, among: world)
    walker.weights.keepOnDevice(
      bytes: try memory.roomBesides(learner, replicas: division.student.replicas, processes: processes))
    let trainer = try Trainer(
      learner,
      teacher: Teacher(
        walker,
        cache: request.teacherCache.map {
          // Of one teacher, one division of data into rows and one type: students and settings have no bearing.
          let rows = Fingerprint(
            [
              ("teacher", hashes[1]), ("seq_length", "\(request.seqLength)"), ("seed", "\(request.seed)"),
              ("rows", "\(request.globalBatch * request.steps)"), ("eval_iters", "\(request.evaluationSteps)"),
              ("compute_dtype", "\(dtype)"),
            ] + data.madeOf + precision)
          return TeacherCache(
            directory: $0 + "/" + rows.key, hidden: teacher.description.sizes[.hidden], dtype: dtype,
            precision: request.teacherPrecision,
            likeliest: request.teacherTopK.map { LikeliestRule(count: $0, temperature: request.temperature) })
        }, world: world, layout: division.teacher),
      rule: rule, pairs: request.layerPairs, world: world, layout: division.student)
    let run = DistillRun(
      request: request, events: events, world: world, trainer: trainer, data: data, made: made,
      state: states,
      metrics: DistillMetrics(
        directory: request.output, title: "Distillation of \(request.student) from \(request.teacher)",
        settings: made.fields.map { ($0.name, $0.value) }, steps: request.steps))
    let found = try request.validatesOnly ? run.validate() : run.train()
    let isOver = trainer.step == request.steps && !request.validatesOnly
    if isOver, world.rank == 0 { try export(trainer, teacher, to: exported, made, found, claim) }
    return outcome(steps: trainer.step, isOver ? exported : nil, found, dtype)
  }

  private var states: TrainingState { TrainingState(directory: request.output + "/checkpoints") }

  private func outcome(
    steps: Int, _ exported: String?, _ validation: LossSums?, _ dtype: DType
  ) -> DistillOutcome {
    DistillOutcome(
      steps: steps, wanted: request.steps, exported: exported, state: states.steps().last.map(states.path),
      validation: validation, metrics: DistillMetrics.path(in: request.output), computeType: "\(dtype)")
  }

  private func checkPairs(_ student: SourceModel, _ teacher: SourceModel) throws {
    for pair in request.layerPairs {
      for (layer, model, name) in [(pair.student, student, "student"), (pair.teacher, teacher, "teacher")]
      where layer > model.description.layers.count {
        throw RunError(
          """
          \(parameter: "intermediate_layer_pairs"): there is no layer \(layer) in the \(name), which has \
          \(model.description.layers.count)
          """)
      }
    }
  }

  private func export(
    _ trainer: Trainer, _ teacher: SourceModel, to path: String, _ made: Fingerprint, _ validation: LossSums?,
    _ claim: OutputClaim?
  ) throws {
    let model = trainer.model
    var exporter = try Exporter(model.model, selection: Selection(all: model.description))
    // What other stages have is in the state that was saved last.
    let others = request.compute.stages > 1 ? try states.weights(trainer.step) : TrainedModel.nobodyElse
    exporter.replacement = { try model.stored($0, layer: $1, absent: others) }
    let progress = events.progress("writing", total: try exporter.byteCount(), unit: "bytes")
    var record: [(String, JSON)] = [
      ("coppice_version", .text(coppiceVersion)), ("distilled_from", .text(request.teacher)), ("made_of", made.json),
    ]
    if let validation { record.append(("validation", validation.json)) }
    let first = try DistillMetrics.validations(in: DistillMetrics.path(in: request.output)).first
    let card = DistilledCard(
      request: request, student: model.model, teacher: teacher, path: path, computeType: "\(model.dtype)",
      losses: first.flatMap { first in validation.map { (first, $0) } })
    try exporter.write(
      to: path, record: .object(record), importance: nil, documents: [("README.md", card.readMe)], claim: claim,
      progress: { done, _ in progress.update(done) })
    progress.finish()
  }
}

extension LossSums {
  fileprivate var json: JSON { .object([("kl", .double(divergence)), ("loss", .double(crossEntropy))]) }
}

extension FinishedOutput {
  /// What a distillation has recorded of its end.
  fileprivate var validation: LossSums? {
    let stored = record["validation"]
    guard let divergence = stored?["kl"]?.double, let loss = stored?["loss"]?.double else { return nil }
    var sums = LossSums()
    (sums.divergence, sums.crossEntropy) = (divergence, loss)
    return sums
  }
}
