public import ArgumentParser
import JSON
import Jobs
import Report

/// `coppice eval`: MMLU accuracy, answers in numbers, loss, and divergence from another model.
public struct EvalCommand: ComputingCommand {
  public static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract: "Evaluate a model: MMLU accuracy, answers in numbers, loss, KL divergence from another model.")

  @OptionGroup(title: "Model") var model: ModelOptions

  @OptionGroup(title: "Evaluation") var evaluation: EvaluationOptions

  @Option(
    name: .flag("mmlu_percent"),
    help: ArgumentHelp("Only the first questions of each subject, this share of them.", valueName: "percent"))
  var percent = EvalRequest.defaults.percent

  @Option(
    name: .flag("mmlu_predictions"), parsing: .unconditional,
    help: ArgumentHelp(
      "Write each question's answer and the logits of A to D, as JSON lines, to a new file.", valueName: "file"),
    completion: .file())
  var predictions: String?

  @Option(
    name: .flag("exact_questions"),
    help: ArgumentHelp(
      "Ask so many questions whose answer is a number, and let the model write it (default: all of --exact_dataset).",
      valueName: "n"))
  var exactQuestions: Int?

  @Flag(name: .flag("exact_chat"), help: "Ask these by the checkpoint's chat template.")
  var exactChat = false

  @Option(
    name: .flag("exact_predictions"), parsing: .unconditional,
    help: ArgumentHelp(
      "Write what the model answered to each of these, as JSON lines, to a new file.", valueName: "file"),
    completion: .file())
  var exactPredictions: String?

  @Option(
    name: .flag("reference_model"), parsing: .unconditional,
    help: ArgumentHelp(
      "The checkpoint to measure KL divergence from; of any architecture, with the same vocabulary.",
      valueName: "path"), completion: .directory)
  var reference: String?

  @Option(
    name: .flag("beside"), parsing: .upToNextOption,
    help: ArgumentHelp("Further models, measured likewise: one table for all of them.", valueName: "path"),
    completion: .directory)
  var beside: [String] = []

  @Option(name: .flag("seq_length"), help: ArgumentHelp("Tokens of a row of text.", valueName: "tokens"))
  var seqLength = EvalRequest.defaults.seqLength

  @Option(name: .flag("seed"), help: ArgumentHelp("Order in which several datasets are mixed.", valueName: "n"))
  var seed = EvalRequest.defaults.seed

  @OptionGroup(title: "Computation") var compute: ComputeOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public mutating func validate() throws {
    let request = try request()
    try usage(request.validate)
    if !beside.isEmpty, predictions != nil || exactPredictions != nil {
      throw ValidationError("--mmlu_predictions and --exact_predictions are of one model: leave them or --beside out")
    }
  }

  private func request() throws -> EvalRequest {
    var request = EvalRequest(model: model.model)
    request.revision = model.revision
    request.evaluation = evaluation.parameters
    request.percent = percent
    request.predictions = predictions
    request.exactQuestions = exactQuestions
    request.exactChat = exactChat
    request.exactPredictions = exactPredictions
    request.reference = reference
    request.seqLength = seqLength
    request.seed = seed
    request.compute = try compute.parameters()
    return request
  }

  public func run() throws {
    let console = output.console
    let request = try request()
    let unused = try UnusedFlags(of: Self.self, console)
    unused.note(["mmlu_percent"], unless: request.asksQuestions, "without questions of MMLU's")
    unused.note(["few_shots"], unless: request.asksQuestions || request.asksForNumbers, "without questions")
    let models = [model.model] + beside
    // None is measured before it is known that all of them can be read.
    let jobs = try models.enumerated().map { number, place in
      var request = request
      if number > 0 { (request.model, request.revision) = (place, nil) }
      let job = try EvalJob(request, listeners: [ConsoleListener(console, json: output.json)])
      return (job: job, model: try job.open())
    }
    let found = try jobs.map { try $0.job.run($0.model) }
    guard found.count == 1, let outcome = found.first else {
      if output.json { return try console.result(JSON.array(found.map(\.json)).serialized(indent: 2)) }
      return try console.result(found.table)
    }
    if output.json {
      try console.result(outcome.json.serialized(indent: 2))
    } else {
      try console.result(outcome.table)
    }
  }
}
