import ArgumentParser
import Jobs
import Report

/// Which model.
struct ModelOptions: ParsableArguments {
  @Option(
    name: .flag("hf_model_name_or_path"), parsing: .unconditional,
    help: ArgumentHelp(
      "The checkpoint: a local directory in Hugging Face's layout, or the hub's name of a model.", valueName: "path"),
    completion: .directory)
  var model: String

  @Option(
    name: .flag("revision"), parsing: .unconditional,
    help: ArgumentHelp("The branch, tag or commit of the hub's model (default: main).", valueName: "name"))
  var revision: String?

  @Flag(name: .flag("trust_remote_code"), help: "Accepted, no effect: no remote code is ever run.")
  var trustRemoteCode = false

  /// Where the model is; what is needed of one of the hub is fetched.
  ///
  /// - Throws: what `ModelPlace` throws.
  func directory(_ need: ModelNeed = .everything, console: Console = Console()) throws -> String {
    try ModelPlace.directory(
      model, revision: revision, need: need, events: RunEvents([ConsoleListener(console, json: false)]))
  }
}

/// How things are computed.
struct ComputeOptions: ParsableArguments {
  @Option(
    name: .flag("compute_dtype"),
    help: "The type computed with; auto: the quickest on this processor that holds the checkpoint's values.")
  var computeType: ComputeParameters.ComputeType = .auto

  @Option(
    name: .flag("device"),
    help: ArgumentHelp("auto, cpu, cuda[:n] or mps; auto: the first GPU there is.", valueName: "device"))
  var device = Written(DeviceChoice.auto)

  @Option(
    name: .flag("memory_budget"),
    help: ArgumentHelp(
      "Memory for hidden states, such as 4GiB (default: 60% of what is free).", valueName: "size"))
  var memoryBudget: Written<ByteCount>?

  mutating func validate() throws { _ = try parameters() }

  /// - Throws: `ValidationError`.
  func parameters() throws -> ComputeParameters {
    var parameters = ComputeParameters()
    parameters.computeType = computeType
    parameters.memoryBudget = try memoryBudget?.value("--memory_budget")
    parameters.device = try device.value("--device")
    return parameters
  }
}

/// What is printed.
struct OutputOptions: ParsableArguments {
  @Flag(name: .flag("json"), help: "Print the result as JSON on standard output.")
  var json = false

  @Flag(name: .flag("quiet"), help: "Print results, warnings and errors only.")
  var quiet = false

  var console: Console { Console(quiet: quiet) }
}

/// Questions and text to evaluate on.
struct EvaluationOptions: ParsableArguments {
  @Option(
    name: .flag("mmlu_dataset"), parsing: .unconditional,
    help: ArgumentHelp(
      "Questions in cais/mmlu's layout, which is the default: a directory, a file or a name of the hub.",
      valueName: "path"),
    completion: .file())
  var mmlu: String?

  @Option(
    name: .flag("exact_dataset"), parsing: .unconditional,
    help: ArgumentHelp(
      "Questions with numbers as answers in openai/gsm8k's layout, which is the default: as of --mmlu_dataset.",
      valueName: "path"),
    completion: .file())
  var exact: String?

  @Option(
    name: .flag("few_shots"),
    help: ArgumentHelp("Examples before each question (default: 0 of MMLU, 5 of exact_<N>).", valueName: "n"))
  var fewShots: Int?

  @Option(
    name: .flag("eval_dataset_name"), parsing: .upToNextOption,
    help: ArgumentHelp(
      "Text for loss and divergence: files, directories or names, as of calibration text.", valueName: "path"))
  var evalDatasets: [String] = []

  @Flag(
    name: .flag("calib_bos"),
    help: "Let every row of calibration and evaluation text begin with the tokenizer's BOS token.")
  var beginsWithBOS = false

  @Option(name: .flag("eval_num_samples"), help: ArgumentHelp("Rows of that text.", valueName: "n"))
  var evalSamples = EvaluationParameters().rows

  mutating func validate() throws { try usage(parameters.validate) }

  var parameters: EvaluationParameters {
    var parameters = EvaluationParameters()
    parameters.questions = mmlu
    parameters.numberQuestions = exact
    parameters.fewShots = fewShots
    parameters.datasets = evalDatasets
    parameters.rows = evalSamples
    parameters.beginsWithBOS = beginsWithBOS
    return parameters
  }
}
