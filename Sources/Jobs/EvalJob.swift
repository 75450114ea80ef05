import Files
import Checkpoint
import Datasets
import Evaluation
import Execution
import Foundation
import JSON
import Models
import Tokenization

/// An evaluation of one model.
public struct EvalJob {
  private let request: EvalRequest
  private let events: RunEvents

  /// - Parameter listeners: told what happens in the run.
  /// - Throws: `RequestError` for a request that no model could meet.
  public init(_ request: EvalRequest, listeners: [any RunListener] = []) throws {
    try request.validate()
    self.request = request
    events = RunEvents(listeners)
  }

  /// A model that can be read.
  public struct Opened {
    fileprivate let source: SourceModel
    fileprivate let tokenizer: Tokenizer
  }

  /// Looks at the model: of several, before the first is measured.
  ///
  /// - Throws: what is wrong with it; what a listener throws.
  public func open() throws -> Opened {
    let source = try SourceModel(
      directory: ModelPlace.directory(request.model, revision: request.revision, events: events))
    for note in source.notes { try events.note(.checkpoint(note)) }
    for warning in source.checkpoint.indexNotes { try events.warn(.checkpoint(warning)) }
    return Opened(source: source, tokenizer: try Tokenizer(directory: source.checkpoint.directory))
  }

  /// Evaluates.
  ///
  /// - Parameter opened: the model; nil to open it now.
  /// - Throws: what is wrong with the model or the data; what a listener throws.
  public func run(_ opened: Opened? = nil) throws -> EvalOutcome {
    let opened = try opened ?? open()
    let executor = try request.compute.executor(opened.source)
    return try opened.source.checkpoint.blamingChanges { try evaluate(opened.source, opened.tokenizer, executor) }
  }

  private func evaluate(_ source: SourceModel, _ tokenizer: Tokenizer, _ executor: Executor) throws -> EvalOutcome {
    // Everything that can be wrong with the input is found out before hours of work.
    let (evaluation, directory) = (request.evaluation, source.checkpoint.directory)
    let questions =
      try request.asksQuestions
      ? MMLUTask(
        path: evaluation.questions, percent: request.percent, fewShots: evaluation.fewShots ?? 0, tokenizer: tokenizer,
        places: HubDatasets(events)) : nil
    let numbers = try request.asksForNumbers ? numbers(tokenizer, directory) : nil
    let rows = evaluation.datasets.isEmpty ? nil : try rows(source, tokenizer)
    let reference = try request.reference.map { try referenceModel($0, source) }
    for path in [request.predictions, request.exactPredictions].compactMap(\.self) {
      try AtomicFile.checkCreatable(path)
    }
    let longest = max(questions?.longest ?? 0, numbers?.longest ?? 0)
    if let limit = source.description.exceededPositions(longest) {
      try events.warn(.promptsTooLong(tokens: longest, limit: limit))
    }

    if let hint = try request.compute.typeHint(for: source) { try events.note(.computeType(hint)) }
    var outcome = EvalOutcome(model: directory, computeType: "\(executor.weights.dtype)")
    outcome.params = source.checkpoint.tensors.reduce(0) { $0 + $1.elementCount }
    func ask(_ name: String, _ task: any ItemTask, predictions: String?) throws -> EvalOutcome.Measure {
      var answers = [JSON](repeating: .null, count: task.count)
      let scores = try measure(name, task, executor, unit: task.unit, total: task.count) { answers[$0] = $1 }
      try source.checkpoint.checkUnchanged()
      if let predictions {
        try AtomicFile.write(answers.map { $0.serialized() + "\n" }.joined(), to: predictions, replaces: false)
      }
      return EvalOutcome.Measure(scores, of: task)
    }
    if let questions { outcome.accuracy = try ask("mmlu", questions, predictions: request.predictions) }
    if let numbers { outcome.exact = try ask("exact", numbers, predictions: request.exactPredictions) }
    if let rows {
      let loss = LossTask(rows)
      outcome.loss = EvalOutcome.Measure(
        negated: try measure("loss", loss, executor, unit: "tokens", total: loss.tokenCount))
      if let reference {
        let divergence = DivergenceTask(rows, from: reference)
        // Never below zero but for rounding.
        outcome.divergence = EvalOutcome.Measure(
          negated: try measure("divergence", divergence, executor, unit: "tokens", total: divergence.tokenCount),
          atLeast: 0)
        outcome.reference = reference.weights.model.checkpoint.directory
      }
    }
    for model in [source, reference?.weights.model] { try model?.checkpoint.checkUnchanged() }
    return outcome
  }

  // MARK: Inputs

  private func numbers(_ tokenizer: Tokenizer, _ directory: String) throws -> ExactTask {
    let sources = QuestionSources(
      evaluation: request.evaluation, directory: directory, tokenizer: tokenizer, places: HubDatasets(events))
    return try ExactTask(count: request.exactQuestions, isChat: request.exactChat, sources)
  }

  private func rows(_ source: SourceModel, _ tokenizer: Tokenizer) throws -> LanguageModeling {
    let evaluation = request.evaluation
    let encoder = try CalibrationEncoder(
      tokenizer: tokenizer, beginsWithBOS: evaluation.beginsWithBOS, directory: source.checkpoint.directory)
    let packed = try evaluation.datasets.data(HubDatasets(events)).pack(
      encoder: encoder, seqLength: request.seqLength, count: evaluation.rows, seed: request.seed)
    for warning in packed.warnings { try events.warn(.data(warning)) }
    try RowRemarks(source.description, beginsWithBOS: evaluation.beginsWithBOS, events: events)
      .say(about: packed.rows)
    return try LanguageModeling(rows: packed.rows)
  }

  private func referenceModel(_ path: String, _ source: SourceModel) throws -> Executor {
    let model = try SourceModel(directory: ModelPlace.directory(path, events: events))
    if let note = model.headNote { try events.note(.checkpoint("\(path): \(note)")) }
    let (own, other) = (source.description.sizes[.vocabulary], model.description.sizes[.vocabulary])
    guard own == other else {
      throw RunError(
        """
        \(path) has a vocabulary of \(other) tokens and \(source.checkpoint.directory) one of \(own): divergence compares \
        distributions over the same tokens
        """)
    }
    // The same number of tokens need not be the same tokens.
    let files = [source, model].map {
      FileManager.default.contents(atPath: $0.checkpoint.directory + "/tokenizer.json")
    }
    if let other = files[1], files[0] != other {
      try events.warn(.otherTokenizer(reference: path, model: source.checkpoint.directory))
    }
    return try request.compute.executor(model)
  }

  // MARK: Measures

  /// - Parameters:
  ///   - unit: what progress counts, `total` in all.
  ///   - answered: called with what there is to tell of an item besides its score.
  private func measure(
    _ name: String, _ task: any ItemTask, _ executor: Executor, unit: String, total: Int,
    answered: (_ item: Int, _ answer: JSON) -> Void = { _, _ in }
  ) throws -> ItemScores {
    let whole = Selection(all: executor.weights.model.description)
    try events.note(.measuring(name, WalkSummary(task.plan(executor, subjects: [whole], items: nil))))
    let progress = events.progress(name, total: total, unit: unit)
    let scores = try task.score(
      executor, subjects: [Subject(whole)], items: nil, partial: PartialScores(),
      progress: { progress.update($0, of: $1) },
      answered: { answered($1, $2) })
    progress.finish()
    guard let first = scores.first else { throw RunError("nothing was evaluated") }
    return first
  }
}

/// Questions to evaluate on, without calibration text.
private struct QuestionSources: TaskSources {
  let evaluation: EvaluationParameters
  let directory: String
  let tokenizer: Tokenizer
  let places: (any DatasetPlaces)?
  var questions: String? { evaluation.questions }
  var numberQuestions: String? { evaluation.numberQuestions }
  var fewShots: Int? { evaluation.fewShots }

  func stops() throws -> Set<Int> { try StopTokens(directory: directory, tokenizer: tokenizer).ids }

  func chat(_ messages: JSON) throws -> String {
    try CalibrationEncoder(tokenizer: tokenizer, beginsWithBOS: false, directory: directory).chat(messages)
  }

  func rows() throws -> (rows: [[Int32]], madeOf: [(name: String, value: String)]) {
    throw RunError("questions are asked without rows of text")
  }
}

extension EvalOutcome.Measure {
  fileprivate init(_ scores: ItemScores, of task: any ItemTask) {
    (mean, standardError, items) = (scores.mean, scores.standardError, scores.sums.count)
    weight = Int(scores.weights.reduce(0, +))
    parts = task.parts.map { name, items in
      let part = ItemScores(sums: items.map { scores.sums[$0] }, weights: items.map { scores.weights[$0] })
      return EvalOutcome.Part(name: name, mean: part.mean, standardError: part.standardError, items: items.count)
    }
  }

  /// A loss: its scores are negated, so that higher is better.
  fileprivate init(negated scores: ItemScores, atLeast least: Double = -.infinity) {
    mean = max(-scores.mean, least)
    (standardError, items) = (scores.standardError, scores.sums.count)
    weight = Int(scores.weights.reduce(0, +))
    parts = []
  }
}
