import ArgumentParser
import Execution
import Foundation
import Models
import Report
import Torch

/// Which model.
struct ModelOptions: ParsableArguments {
  @Option(
    name: .flag("hf_model_name_or_path"), parsing: .unconditional,
    help: ArgumentHelp("The checkpoint: a local directory in Hugging Face's layout.", valueName: "path"),
    completion: .directory)
  var model: String

  @Flag(name: .flag("trust_remote_code"), help: "Accepted, no effect: no remote code is ever run.")
  var trustRemoteCode = false

  /// Where the model lies.
  ///
  /// - Throws: `ModelError` for a hub name, which cannot be fetched yet.
  func directory() throws -> String {
    var isDirectory: ObjCBool = false
    if FileManager.default.fileExists(atPath: model, isDirectory: &isDirectory) {
      if isDirectory.boolValue { return model }
      throw ModelError("\(model) is a file; --hf_model_name_or_path wants the directory with config.json in it")
    }
    let isHubName = model.wholeMatch(of: /[A-Za-z0-9_.\-]+\/[A-Za-z0-9_.\-]+/) != nil
    throw ModelError(
      isHubName
        ? "there is no directory \(model), and hub names are not fetched yet: download it first "
          + "(hf download \(model) --local-dir DIR) and give DIR"
        : "there is no directory \(model)")
  }
}

/// How things are computed.
struct ComputeOptions: ParsableArguments {
  enum ComputeType: String, ExpressibleByArgument, CaseIterable { case auto, float32, bfloat16 }

  @Option(
    name: .flag("compute_dtype"),
    help: "The type computed with; auto: the quickest on this processor that holds the checkpoint's values.")
  var computeType: ComputeType = .auto

  @Option(
    name: .flag("device"),
    help: ArgumentHelp("auto, cpu, cuda[:n] or mps; auto: the first GPU there is.", valueName: "device"))
  var device = "auto"

  @Option(
    name: .flag("memory_budget"),
    help: ArgumentHelp(
      "Memory for hidden states, such as 4GiB (default: what is free, less a margin).", valueName: "size"))
  var memoryBudget: String?

  mutating func validate() throws {
    if let memoryBudget {
      do { _ = try Format.parseBytes(memoryBudget) } catch { throw ValidationError("--memory_budget: \(error)") }
    }
    guard device.wholeMatch(of: /auto|cpu|mps|cuda(:[0-9]+)?/) != nil else {
      throw ValidationError("--device is \"\(device)\"; it can be auto, cpu, cuda, cuda:0 and so on, or mps")
    }
  }

  /// The device computed on.
  ///
  /// - Throws: `ModelError` when it is not there.
  func place() throws -> Device {
    let place: Device
    switch device {
    case "auto":
      // Asking libtorch would mean to wait for it, which is still being opened: without a driver's files there is no GPU.
      let files = ["/dev/nvidiactl", "/dev/dxg"]
      return files.contains(where: FileManager.default.fileExists(atPath:)) && Device.cuda(0).isAvailable
        ? .cuda(0) : .cpu
    case "cpu": return .cpu
    case "mps": place = .mps
    default: place = .cuda(device.split(separator: ":").dropFirst().first.flatMap { Int($0) } ?? 0)
    }
    guard place.isAvailable else {
      let reason = LibTorch.environment().cudaUnavailable.map { ": \($0)" } ?? ""
      throw ModelError(
        "--device \(device): there is no such device here\(place == .mps ? "" : reason); leave it out to compute on the CPU"
      )
    }
    return place
  }

  /// The type computed with; by default the quickest here that holds the checkpoint's values. float16 has too small a range
  /// for sums: float32 then. bfloat16 is slower than float32 on processors that do not multiply it.
  ///
  /// - Throws: `ModelError` when the device is not there.
  func dtype(for model: SourceModel) throws -> DType {
    switch computeType {
    case .float32: return .float32
    case .bfloat16: return .bfloat16
    case .auto:
      guard model.storedType == .bfloat16 else { return .float32 }
      return try place() != .cpu || Processor.multipliesBFloat16 ? .bfloat16 : .float32
    }
  }

  /// What to say to those whose run would be several times faster in another type, or who may wonder why it is in this one;
  /// nil to others.
  ///
  /// - Throws: `ModelError` when the device is not there.
  func typeHint(for model: SourceModel) throws -> String? {
    let obstacle = try place() == .cpu ? Processor.bfloat16Obstacle : nil
    switch (computeType, obstacle) {
    case (.bfloat16, let obstacle?):
      return "\(obstacle), and bfloat16 is slow then: --compute_dtype float32 is several times faster and more exact"
    case (.auto, let obstacle?) where model.storedType == .bfloat16:
      return "the checkpoint is stored as BF16 and computed in float32, which is quicker here: \(obstacle)"
    case (.auto, nil) where model.storedType != .bfloat16:
      return "the checkpoint is stored as \(model.storedType.rawValue), hence float32; --compute_dtype bfloat16 is "
        + "several times faster on this machine"
    default: return nil
    }
  }

  /// - Parameter scratch: where hidden states beyond the budget go; nil for the system's temporary directory.
  func executor(_ model: SourceModel, scratch: String? = nil) throws -> Executor {
    Executor(model, dtype: try dtype(for: model), device: try place(), budget: try budget(), scratch: scratch)
  }

  func budget() throws -> Int { try memoryBudget.map(Format.parseBytes) ?? MemoryBudget.automatic() }
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
    help: ArgumentHelp("Questions in cais/mmlu's layout: a directory, a .jsonl or a .parquet file.", valueName: "path"),
    completion: .file())
  var mmlu: String?

  @Option(name: .flag("few_shots"), help: ArgumentHelp("Examples before each question.", valueName: "n"))
  var fewShots = 0

  @Option(
    name: .flag("eval_dataset_name"), parsing: .upToNextOption,
    help: ArgumentHelp("Text for loss and divergence: .jsonl, .parquet or directories.", valueName: "path"))
  var evalDatasets: [String] = []

  @Flag(
    name: .flag("calib_bos"),
    help: "Let every row of calibration and evaluation text begin with the tokenizer's BOS token.")
  var beginsWithBOS = false

  @Option(name: .flag("eval_num_samples"), help: ArgumentHelp("Rows of that text.", valueName: "n"))
  var evalSamples = 64

  mutating func validate() throws {
    try atLeast(0, fewShots, "--few_shots")
    try atLeast(1, evalSamples, "--eval_num_samples")
  }
}

func atLeast(_ least: Int, _ value: Int, _ name: String) throws {
  guard value >= least else { throw ValidationError("\(name) should be at least \(least), found \(value)") }
}

/// Caches grow with rows × tokens: keeps their product within what can be counted.
func checkCacheSize(rows: Int, tokens: Int) throws {
  try atLeast(1, tokens, "--seq_length")
  try atLeast(1, rows, "--inference_batch_size")
  let (product, overflow) = rows.multipliedReportingOverflow(by: tokens)
  guard !overflow, product <= 1 << 31 else {
    throw ValidationError("--inference_batch_size × --seq_length should be at most 2^31, found \(rows) × \(tokens)")
  }
}

/// Turns an error about a value that was typed into one of usage (exit code 64).
func usage<T>(_ body: () throws -> T) throws -> T {
  do { return try body() } catch { throw ValidationError("\(error)") }
}
