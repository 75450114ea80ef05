public import ArgumentParser
import Formatting
import Jobs
import Report

/// `coppice tokenize`: the rows that a run would calibrate on, or all text as an indexed dataset.
public struct TokenizeCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Turn text into token numbers: rows as prune takes them, or files that distill takes. Needs no libtorch.",
    discussion: """
      Prints the rows that prune would calibrate on, a JSON list of token numbers a line. With --output_prefix all documents are \
      written instead, each with EOS after it, as PREFIX.bin and PREFIX.idx: an indexed dataset of Megatron's.
      """)

  @OptionGroup(title: "Model") var model: ModelOptions

  @Option(
    name: .flag("calib_dataset_name"), parsing: .upToNextOption,
    help: ArgumentHelp("Calibration text, as prune takes it.", valueName: "path"), completion: .file())
  var calibration: [String] = []

  @Option(name: .flag("calib_num_samples"), help: ArgumentHelp("Rows.", valueName: "n"))
  var rows = PruneRequest.defaults.calibrationRows

  @Option(name: .flag("seq_length"), help: ArgumentHelp("Tokens of a row.", valueName: "tokens"))
  var seqLength = PruneRequest.defaults.search.seqLength

  @Flag(name: .flag("calib_bos"), help: "Let every row begin with the tokenizer's BOS token.")
  var beginsWithBOS = false

  @Option(name: .flag("seed"), help: ArgumentHelp("Order in which several datasets are mixed.", valueName: "n"))
  var seed = PruneRequest.defaults.seed

  @Option(
    name: .flag("output_prefix"), parsing: .unconditional,
    help: ArgumentHelp(
      "Write all documents as PREFIX.bin and PREFIX.idx, which must not be there.", valueName: "prefix"),
    completion: .file())
  var prefix: String?

  @Flag(name: .flag("quiet"), help: "Print results, warnings and errors only.")
  var quiet = false

  public init() {}

  public mutating func validate() throws {
    try atLeast(1, rows, flag: "--calib_num_samples")
    try atLeast(1, seqLength, flag: "--seq_length")
  }

  public func run() throws {
    var request = PruneRequest(model: model.model, output: "")
    request.revision = model.revision
    request.calibration = calibration
    request.calibrationRows = rows
    request.search.seqLength = seqLength
    request.evaluation.beginsWithBOS = beginsWithBOS
    request.seed = seed
    let console = Console(quiet: quiet)
    try UnusedFlags(of: Self.self, console).note(
      ["calib_num_samples", "seq_length"], unless: prefix == nil, "with --output_prefix, which takes whole documents")
    let job = RowsJob(request, listeners: [ConsoleListener(console, json: true)])
    if let prefix {
      let (documents, tokens) = try job.write(to: prefix)
      return try console.result(
        "\(prefix).bin: \(Format.grouped(documents)) documents, \(Format.grouped(tokens)) tokens")
    }
    for row in try job.run() {
      try console.result("[" + row.map(String.init).joined(separator: ", ") + "]")
    }
  }
}
