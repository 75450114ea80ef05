public import ArgumentParser
import Datasets
import Formatting
import JSON
import Jobs
import Report

/// `coppice calibrate`: text of the model's own, to calibrate on.
public struct CalibrateCommand: ComputingCommand {
  public static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "Let a model answer the conversations of a data set, for calibration text of its own.",
    discussion: """
      Writes a JSON line for each conversation: what came before the first answer in the data, and the model's answer. prune takes \
      the file as --calib_dataset_name. A run that is ended goes on where it was.
      """)

  @OptionGroup(title: "Model") var model: ModelOptions

  @Option(
    name: .flag("out"), parsing: .unconditional,
    help: ArgumentHelp("The file that is written (.jsonl); one that is there is never overwritten.", valueName: "file"),
    completion: .file())
  var file: String

  @Option(
    name: .flag("calib_dataset_name"), parsing: .upToNextOption,
    help: ArgumentHelp(
      "Conversations: files, directories, registered names or OWNER/NAME of the hub; several allowed (default: \(DatasetRegistry.defaultName)).",
      valueName: "path"), completion: .file())
  var data: [String] = []

  @Option(name: .flag("calib_num_samples"), help: ArgumentHelp("Conversations.", valueName: "n"))
  var rows = CalibrateRequest.defaults.rows

  @Option(name: .flag("max_new_tokens"), help: ArgumentHelp("Tokens of an answer at most.", valueName: "n"))
  var maxNewTokens = CalibrateRequest.defaults.maxNewTokens

  @Option(
    name: .flag("max_prompt_tokens"),
    help: ArgumentHelp("Pass over conversations that begin with more tokens.", valueName: "n"))
  var maxPromptTokens = CalibrateRequest.defaults.maxPromptTokens

  @Option(
    name: .flag("temperature"),
    help: ArgumentHelp("0: always the most likely token (default: generation_config.json's, else 1).", valueName: "t"))
  var temperature: Double?

  @Option(
    name: .flag("top_p"),
    help: ArgumentHelp(
      "Only the most likely tokens of together this probability (default: generation_config.json's, else 1).",
      valueName: "p"))
  var topP: Double?

  @Option(
    name: .flag("top_k"),
    help: ArgumentHelp(
      "Only the k most likely tokens; 0: all (default: generation_config.json's, else 50).", valueName: "k"))
  var topK: Int?

  @Option(
    name: .flag("enable_thinking"),
    help: ArgumentHelp(
      "The chat template's variable of this name (default: as the template has it).", valueName: "bool"))
  var thinks: Bool?

  @Option(name: .flag("seed"), help: ArgumentHelp("The same seed, the same text.", valueName: "n"))
  var seed = CalibrateRequest.defaults.seed

  @Flag(name: .flag("fresh"), help: "Begin again where an earlier run was ended.")
  var fresh = false

  @OptionGroup(title: "Computation") var compute: ComputeOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public mutating func validate() throws {
    let request = try request()
    try usage(request.validate)
  }

  private func request() throws -> CalibrateRequest {
    var request = CalibrateRequest(model: model.model, output: file)
    request.revision = model.revision
    request.data = data
    request.rows = rows
    request.maxNewTokens = maxNewTokens
    request.maxPromptTokens = maxPromptTokens
    (request.temperature, request.topP, request.topK) = (temperature, topP, topK)
    request.thinks = thinks
    request.seed = seed
    request.fresh = fresh
    request.compute = try compute.parameters()
    return request
  }

  public func run() throws {
    let console = output.console
    let outcome = try CalibrateJob(request(), listeners: [ConsoleListener(console, json: output.json)]).run()
    guard output.json else {
      let cut = outcome.cut > 0 ? ", \(Format.grouped(outcome.cut)) answers cut at --max_new_tokens" : ""
      return try console.result(
        "\(outcome.output): \(Format.grouped(outcome.rows)) conversations; \(Format.grouped(outcome.newTokens)) new tokens\(cut)"
      )
    }
    try console.result(
      JSON.object([
        ("output", .text(outcome.output)), ("conversations", .int(outcome.rows)), ("kept", .int(outcome.kept)),
        ("new_tokens", .int(outcome.newTokens)), ("cut", .int(outcome.cut)),
        ("compute_dtype", .text(outcome.computeType)),
      ]).serialized(indent: 2))
  }
}
