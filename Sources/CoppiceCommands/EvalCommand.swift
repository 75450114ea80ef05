public import ArgumentParser
import Checkpoint
import Datasets
import Evaluation
import Execution
import Foundation
import JSON
import Models
import Report
import Tokenization

/// `coppice eval`: MMLU accuracy, loss, and divergence from another model.
public struct EvalCommand: ComputingCommand {
  public static let configuration = CommandConfiguration(
    commandName: "eval", abstract: "Evaluate a model: MMLU accuracy, loss, KL divergence from another model.")

  @OptionGroup(title: "Model") var model: ModelOptions

  @OptionGroup(title: "Evaluation") var evaluation: EvaluationOptions

  @Option(
    name: .flag("mmlu_percent"),
    help: ArgumentHelp("Only the first questions of each subject, this share of them.", valueName: "percent"))
  var percent = 100.0

  @Option(
    name: .flag("mmlu_predictions"), parsing: .unconditional,
    help: ArgumentHelp(
      "Write each question's answer and the logits of A to D, as JSON lines.", valueName: "file"),
    completion: .file())
  var predictions: String?

  @Option(
    name: .flag("reference_model"), parsing: .unconditional,
    help: ArgumentHelp(
      "The checkpoint to measure KL divergence from; of any architecture, with the same vocabulary.",
      valueName: "path"), completion: .directory)
  var reference: String?

  @Option(name: .flag("seq_length"), help: ArgumentHelp("Tokens of a row of text.", valueName: "tokens"))
  var seqLength = 4096

  @Option(name: .flag("seed"), help: ArgumentHelp("Order in which several datasets are mixed.", valueName: "n"))
  var seed: UInt64 = 0

  @OptionGroup(title: "Computation") var compute: ComputeOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public mutating func validate() throws {
    guard evaluation.mmlu != nil || !evaluation.evalDatasets.isEmpty else {
      throw ValidationError("say what to evaluate on: --mmlu_dataset, --eval_dataset_name or both")
    }
    guard percent > 0, percent <= 100 else {
      throw ValidationError("--mmlu_percent should be above 0 and at most 100, found \(percent)")
    }
    guard predictions == nil || evaluation.mmlu != nil else {
      throw ValidationError("--mmlu_predictions wants questions: give --mmlu_dataset")
    }
    guard reference == nil || !evaluation.evalDatasets.isEmpty else {
      throw ValidationError("--reference_model wants text to compare the models on: give --eval_dataset_name")
    }
    try atLeast(1, seqLength, "--seq_length")
  }

  public func run() throws {
    let job = try EvalJob(self)
    try job.source.checkpoint.blamingChanges(job.run)
  }
}

/// One run of `eval`.
private struct EvalJob {
  let options: EvalCommand
  let console: Console
  let source: SourceModel
  let tokenizer: Tokenizer
  let executor: Executor
  private var whole: Selection { Selection(all: source.description) }

  init(_ options: EvalCommand) throws {
    self.options = options
    console = options.output.console
    source = try SourceModel(directory: options.model.directory())
    console.say(of: source)
    tokenizer = try Tokenizer(directory: source.checkpoint.directory)
    executor = try options.compute.executor(source)
  }

  func run() throws {
    // Everything that can be wrong with the input is found out before hours of work.
    let questions = try options.evaluation.mmlu.map(questions)
    let rows = options.evaluation.evalDatasets.isEmpty ? nil : try rows()
    let reference = try options.reference.map(referenceModel)
    if let path = options.predictions { try AtomicFile.checkReplaceable(path) }

    if let hint = try options.compute.typeHint(for: source) { console.note(hint) }
    var json: [(String, JSON)] = [
      ("model", .text(source.checkpoint.directory)), ("compute_dtype", .text("\(executor.weights.dtype)")),
    ]
    var table = Table(
      title: "\(source.checkpoint.directory), in \(executor.weights.dtype)",
      columns: [
        Table.Column("Measure"), Table.Column("value", .right), Table.Column("±", .right), Table.Column("over"),
      ])
    if let questions {
      let (scores, answers) = try score(questions)
      try source.checkpoint.checkUnchanged()
      if let path = options.predictions { try AtomicFile.write(answers, to: path) }
      json.append(("mmlu", report(questions, scores, in: &table)))
      if rows != nil { table.addSectionBreak() }
    }
    if let rows {
      let loss = try walk("loss", rows) {
        try rows.negativeLoss(executor, subjects: [whole], progress: $0)
      }
      let tokens = Int(loss.weights.reduce(0, +))
      let over = "\(Format.grouped(tokens)) tokens in \(loss.weights.count) rows"
      let perplexity = exp(-loss.mean)
      table.add([
        "loss per token", Format.decimal(-loss.mean, places: 4), Format.decimal(loss.standardError, places: 4), over,
      ])
      // The error of a function of the mean, to first order.
      table.add([
        "perplexity", Format.decimal(perplexity, places: 4),
        Format.decimal(perplexity * loss.standardError, places: 4), over,
      ])
      json.append(
        (
          "loss",
          .object([
            ("mean", .double(-loss.mean)), ("stderr", .double(loss.standardError)), ("perplexity", .double(perplexity)),
            ("rows", .int(loss.weights.count)), ("tokens", .int(tokens)),
          ])
        ))
      if let reference {
        let divergence = try walk("divergence", rows) {
          try rows.negativeDivergence(executor, subjects: [whole], from: reference, progress: $0)
        }
        // Never below zero but for rounding.
        let mean = max(-divergence.mean, 0)
        table.add([
          "KL from reference", Format.decimal(mean, places: 4),
          Format.decimal(divergence.standardError, places: 4), over,
        ])
        json.append(
          (
            "kl",
            .object([
              ("mean", .double(mean)), ("stderr", .double(divergence.standardError)),
              ("reference", .text(reference.weights.model.checkpoint.directory)),
              ("rows", .int(divergence.weights.count)),
              ("tokens", .int(tokens)),
            ])
          ))
      }
    }
    for model in [source, reference?.weights.model] { try model?.checkpoint.checkUnchanged() }
    if options.output.json {
      try console.result(JSON.object(json).serialized(indent: 2))
    } else {
      try console.result(table)
    }
  }

  // MARK: Inputs

  private func questions(_ path: String) throws -> MultipleChoice {
    let shots = options.evaluation.fewShots
    return try MultipleChoice(
      questions: MMLU.sample(MMLU.load(path: path, split: "test"), percent: options.percent),
      examples: shots > 0 ? MMLU.load(path: path, split: "dev") : [], fewShots: shots, tokenizer: tokenizer)
  }

  private func rows() throws -> LanguageModeling {
    let encoder = try CalibrationEncoder(
      tokenizer: tokenizer, beginsWithBOS: options.evaluation.beginsWithBOS, directory: source.checkpoint.directory)
    let packed = try CalibrationData(sources: options.evaluation.evalDatasets).pack(
      encoder: encoder, seqLength: options.seqLength,
      count: options.evaluation.evalSamples, seed: options.seed)
    for warning in packed.warnings { console.warn(warning) }
    console.say(
      source.description.remarks(rows: packed.rows, beginsWithBOS: options.evaluation.beginsWithBOS))
    return try LanguageModeling(rows: packed.rows)
  }

  private func referenceModel(_ path: String) throws -> Executor {
    let model = try SourceModel(directory: path)
    if let note = model.headNote { console.note("\(path): \(note)") }
    let (own, other) = (source.description.sizes[.vocabulary], model.description.sizes[.vocabulary])
    guard own == other else {
      throw ModelError(
        "\(path) has a vocabulary of \(other) tokens and \(source.checkpoint.directory) one of \(own): divergence "
          + "compares distributions over the same tokens")
    }
    // The same number of tokens need not be the same tokens.
    let files = [source, model].map {
      FileManager.default.contents(atPath: $0.checkpoint.directory + "/tokenizer.json")
    }
    if let other = files[1], files[0] != other {
      console.warn("\(path) has another tokenizer.json than \(source.checkpoint.directory): are its tokens the same?")
    }
    return try options.compute.executor(model)
  }

  // MARK: Walks

  private func walk(
    _ label: String, _ rows: LanguageModeling, _ body: (_ progress: (Int, Int) -> Void) throws -> [ItemScores]
  ) throws -> ItemScores {
    let tokens = rows.batches.reduce(0) { $0 + $1.tokenCount }
    console.note("\(label): \(rows.plan(executor, subjects: [whole]).summary)")
    let progress = console.progress(label, total: tokens, unit: "tokens")
    let scores = try body { done, total in progress.update(Int(Double(tokens) * Double(done) / Double(max(total, 1)))) }
    progress.finish()
    guard let first = scores.first else { throw ModelError("nothing was evaluated") }
    return first
  }

  /// The scores, and what `--mmlu_predictions` writes.
  private func score(_ questions: MultipleChoice) throws -> (ItemScores, String) {
    let count = questions.prompts.count
    var lines = [JSON](repeating: .null, count: count)
    console.note("mmlu: \(questions.plan(executor, subjects: [whole]).summary)")
    let progress = console.progress("mmlu", total: count, unit: "questions")
    let scores = try questions.score(
      executor, subjects: [whole],
      progress: { done, total in progress.update(Int(Double(count) * Double(done) / Double(max(total, 1)))) },
      predicted: { _, question, logits in
        let prompt = questions.prompts[question]
        let best = logits.indices.max { (logits[$0], $1) < (logits[$1], $0) } ?? 0
        lines[question] = .object([
          ("question", .int(question)), ("subject", .text(prompt.subject)), ("answer", .int(prompt.answer)),
          ("predicted", .int(best)), ("logits", .array(logits.map { .double(Double($0)) })),
        ])
      })
    progress.finish()
    guard let first = scores.first else { throw ModelError("nothing was evaluated") }
    return (first, lines.map { $0.serialized() + "\n" }.joined())
  }

  private func report(_ questions: MultipleChoice, _ scores: ItemScores, in table: inout Table) -> JSON {
    // By their bytes, not by Unicode's equivalence.
    let indices = Dictionary(grouping: questions.prompts.indices) { JSON.Text(questions.prompts[$0].subject) }
    let subjects = indices.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map { subject, indices in
      let sums = indices.map { scores.sums[$0] }
      return (name: subject.description, scores: ItemScores(sums: sums, weights: sums.map { _ in 1 }))
    }
    func add(_ name: String, _ scores: ItemScores) {
      table.add([
        name, Format.percent(scores.mean), Format.percent(scores.standardError),
        "\(Format.grouped(scores.sums.count)) questions",
      ])
    }
    add("MMLU", scores)
    for subject in subjects { add("  " + subject.name, subject.scores) }
    return .object([
      ("accuracy", .double(scores.mean)), ("stderr", .double(scores.standardError)),
      ("questions", .int(scores.sums.count)),
      (
        "subjects",
        .object(
          subjects.map {
            (
              $0.name,
              .object([("accuracy", .double($0.scores.mean)), ("questions", .int($0.scores.sums.count))])
            )
          })
      ),
    ])
  }
}
