import Foundation
import JSON
import TestSupport
import Testing

/// The built program, run as a process of its own.
struct Program {
  struct Result {
    let code: Int32
    /// Killed by a signal: a trap, most likely.
    let signalled: Bool
    let output: String
    let error: String

    var json: JSON? { try? JSON(parsing: Array(output.utf8)) }
  }

  static let examples = Golden.root + "/Examples"
  static let model = examples + "/model"
  static let data = examples + "/data"

  /// The folder of the test bundle, where the executables are built as well.
  static let folder: String = {
    let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
    return FileManager.default.isExecutableFile(atPath: own + "/coppice") ? own : Golden.root + "/.build/release"
  }()

  /// Runs `coppice`, which gets a cache of its own.
  static func run(
    _ arguments: [String], input: String = "", name: String = "coppice", environment: [String: String] = [:],
    seconds: Double = 60
  ) throws -> Result {
    try launch(folder + "/" + name, arguments, input: Data(input.utf8), environment: environment, seconds: seconds)
  }

  /// The KL of a model from the bundled one, on documents that nothing was calibrated on.
  static func divergence(_ model: String) throws -> Double {
    let result = try run([
      "eval", "--json", "--hf_model_name_or_path", model, "--reference_model", Self.model, "--eval_dataset_name",
      Golden.root + "/Examples/data/heldout.jsonl", "--eval_num_samples", "64", "--seq_length", "192",
    ])
    result.expectSuccess()
    return try #require(result.json?["kl"]?["mean"]?.double)
  }

  /// Runs a line of shell in which `$COPPICE` is the program.
  static func shell(_ line: String, environment: [String: String] = [:]) throws -> Result {
    try launch(
      "/bin/sh", ["-c", line], input: Data(),
      environment: environment.merging(["COPPICE": folder + "/coppice"]) { own, _ in own }, seconds: 60)
  }

  private static func launch(
    _ path: String, _ arguments: [String], input: Data, environment: [String: String], seconds: Double
  ) throws -> Result {
    try withTemporaryDirectory { directory in
      // Files, not pipes: nothing can wait for a reader that waits itself.
      func stream(_ name: String, _ contents: Data = Data()) throws -> FileHandle {
        let path = directory + "/" + name
        try contents.write(to: URL(fileURLWithPath: path))
        return try #require(FileHandle(forUpdatingAtPath: path))
      }
      let process = Process()
      process.executableURL = URL(fileURLWithPath: path)
      process.arguments = arguments
      process.currentDirectoryURL = URL(fileURLWithPath: directory)
      process.environment = ProcessInfo.processInfo.environment.merging(
        [
          "OMP_NUM_THREADS": "1", "COPPICE_CACHE": directory + "/cache", "SWIFT_BACKTRACE": "enable=no",
          // No test asks a server that is not its own.
          "HF_HOME": directory + "/hub", "HF_HUB_OFFLINE": "1",
        ].merging(environment) { _, new in new }
      ) { _, new in new }
      process.standardInput = try stream("in", input)
      process.standardOutput = try stream("out")
      process.standardError = try stream("err")
      let done = DispatchSemaphore(value: 0)
      process.terminationHandler = { _ in done.signal() }
      try process.run()
      if done.wait(timeout: .now() + seconds) == .timedOut {
        kill(process.processIdentifier, SIGKILL)
        done.wait()
        Issue.record("\(arguments.joined(separator: " ")) took more than \(seconds) seconds")
      }
      func text(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: directory + "/" + name)), as: UTF8.self)
      }
      return Result(
        code: process.terminationStatus, signalled: process.terminationReason == .uncaughtSignal,
        output: try text("out"), error: try text("err"))
    }
  }
}

extension Program.Result {
  /// Expects a failure: the exit code, and an error on standard error that says all of `words`; no results.
  func expectFailure(
    _ code: Int32 = 1, saying words: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(!signalled, "\(error)", sourceLocation: sourceLocation)
    #expect(self.code == code, "\(error)", sourceLocation: sourceLocation)
    #expect(output.isEmpty, sourceLocation: sourceLocation)
    for word in words { #expect(error.contains(word), "\(error)", sourceLocation: sourceLocation) }
    // One message, no dump of somebody else's error type.
    #expect(!error.contains("NSPOSIXErrorDomain") && !error.contains("Fatal error"), sourceLocation: sourceLocation)
    #expect(
      error.components(separatedBy: "rror: ").count == 2, "one error: \(error)", sourceLocation: sourceLocation)
  }

  func expectSuccess(sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(code == 0 && !signalled, "\(error)", sourceLocation: sourceLocation)
  }
}

/// A copy of the bundled model in `directory`, with one file changed.
func copyOfModel(in directory: String, changing file: String, _ change: (inout Data) throws -> Void) throws -> String {
  let copy = directory + "/model"
  try FileManager.default.copyItem(atPath: Program.model, toPath: copy)
  var data = try Data(contentsOf: URL(fileURLWithPath: copy + "/" + file))
  try change(&data)
  try data.write(to: URL(fileURLWithPath: copy + "/" + file))
  return copy
}

/// A copy of the bundled model whose config has these fields changed.
func copyOfModel(in directory: String, config changes: [(String, JSON)]) throws -> String {
  try copyOfModel(in: directory, changing: "config.json") { data in
    var config = try #require(try JSON(parsing: data).object)
    for (key, value) in changes { config[key] = value }
    data = Data(JSON.object(config).serialized().utf8)
  }
}

/// `prune` on the bundled model with as little work as possible.
func prune(to output: String, _ more: [String], model: String = Program.model, data: String? = nil) -> [String] {
  [
    "prune", "--hf_model_name_or_path", model, "--output_hf_path", output, "--calib_dataset_name",
    data ?? Program.data + "/calib.jsonl", "--seq_length", "64", "--calib_num_samples", "4",
  ] + more
}

extension Program {
  /// A copy of a golden that the bundled tokenizer fits: its vocabulary is repeated.
  ///
  /// - Returns: the model's directory, in `directory`.
  static func golden(_ name: String, in directory: String) throws -> String {
    var checkpoint = try EditedCheckpoint(Golden.root + "/Tests/Goldens/" + name)
    let vocabulary = try #require(checkpoint.config["vocab_size"]?.int)
    let times = 2048 / vocabulary + 1
    for name in ["model.embed_tokens.weight", "backbone.embeddings.weight", "lm_head.weight"] {
      guard var table = checkpoint[name] else { continue }
      table.shape[0] *= times
      table.bytes = Array(repeatElement(table.bytes, count: times).joined())
      checkpoint[name] = table
    }
    checkpoint.config["vocab_size"] = .int(vocabulary * times)
    let path = directory + "/model"
    try checkpoint.write(to: path)
    for name in ["tokenizer.json", "tokenizer_config.json"] {
      try FileManager.default.copyItem(atPath: model + "/" + name, toPath: path + "/" + name)
    }
    return path
  }
}
