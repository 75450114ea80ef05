public import ArgumentParser
import Datasets
import Execution
import Files
import Foundation
import Hub
import JSON
import Minitron
import Report
import Torch
import Formatting
import Jobs

/// `coppice doctor`: what was found on this machine, and what to do about what was not.
public struct DoctorCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract:
      "Say what was found: libtorch, threads, GPUs or why none, Parquet, the hub, memory. Exits 1 when something is missing."
  )

  @OptionGroup var output: OutputOptions

  public init() {}

  /// One line of the report.
  private struct Finding {
    let name: String
    let text: String
    let json: JSON
    /// What to do; nil when all is well.
    var problem: String?
  }

  public func run() throws {
    let findings = Self.torch(LibTorch.environment()) + [Self.parquet()] + Self.hub() + Self.machine()
    let problems = findings.compactMap(\.problem)
    let console = output.console
    if output.json {
      let entries =
        [("coppice_version", JSON.text(coppiceVersion)), ("ok", .bool(problems.isEmpty))]
        + findings.map { ($0.name, $0.json) } + [("problems", .array(problems.map(JSON.text)))]
      try console.result(JSON.object(entries).serialized(indent: 2))
    } else {
      var table = Table(
        title: "Coppice \(coppiceVersion)", columns: [Table.Column(""), Table.Column("", isFlexible: true)])
      for finding in findings { table.add([finding.name, finding.text]) }
      try console.result(table)
      for problem in problems { console.error(problem) }
    }
    if !problems.isEmpty { throw ExitCode.failure }
  }

  private static func torch(_ report: LibTorchReport) -> [Finding] {
    func line(_ name: String, _ value: String?) -> Finding {
      Finding(name: name, text: value ?? "–", json: value.map(JSON.text) ?? .null)
    }
    if let problem = report.problem {
      return [
        Finding(
          name: "libtorch", text: "does not work (\(report.supportedVersion) is needed)", json: .null,
          problem: "\(problem)")
      ]
    }
    let gpu =
      report.cudaDevices > 0
      ? "\(report.cudaDevices) CUDA device\(report.cudaDevices == 1 ? "" : "s")"
      : "none: \(report.cudaUnavailable ?? "unknown reason")"
    return [
      line("libtorch", report.version), line("libtorch_path", report.path), line("torch_shim", report.shimPath),
      line("cpu_capability", report.cpuCapability),
      Finding(name: "threads", text: "\(report.threads)", json: .int(report.threads)),
      Finding(name: "mkl", text: report.hasMKL ? "yes" : "no", json: .bool(report.hasMKL)),
      Finding(name: "onednn", text: report.hasOneDNN ? "yes" : "no", json: .bool(report.hasOneDNN)),
      Finding(
        name: "gpu", text: gpu,
        json: report.cudaDevices > 0 ? .int(report.cudaDevices) : .text(gpu)),
    ]
  }

  /// What `--compute_dtype auto` does with bfloat16 checkpoints.
  private static func bfloat16(_ obstacle: String?) -> Finding {
    Finding(
      name: "bfloat16_products",
      text: obstacle.map { "not quick, so BF16 checkpoints are computed in float32: \($0)" }
        ?? "quick: BF16 checkpoints are computed in bfloat16",
      json: .bool(obstacle == nil))
  }

  private static func parquet() -> Finding {
    do {
      try ParquetLibrary.load()
      return Finding(name: "parquet", text: "loads", json: .bool(true))
    } catch {
      return Finding(
        name: "parquet", text: "does not load", json: .bool(false),
        problem: "\(error). Run Scripts/setup in the clone; .jsonl files work without it")
    }
  }

  /// What names in the place of paths need. Without libcurl everything works that has paths, so it is no problem.
  private static func hub() -> [Finding] {
    let settings = HubSettings()
    let transfers: Finding
    do {
      let version = try TransferLibrary.load()
      transfers = Finding(name: "libcurl", text: version, json: .text(version))
    } catch {
      transfers = Finding(name: "libcurl", text: "does not load: \(error)", json: .null)
    }
    let cache = settings.cacheDirectory ?? "none: HOME is unset"
    let (token, problem): (String, String?)
    do { (token, problem) = (try settings.token() == nil ? "none" : "there is one", nil) } catch {
      (token, problem) = ("cannot be used", "\(error)")
    }
    return [
      transfers,
      Finding(
        name: "hub", text: settings.endpoint + (settings.isOffline ? " (offline: nothing is fetched)" : ""),
        json: .text(settings.endpoint)),
      Finding(name: "hub_cache", text: cache, json: settings.cacheDirectory.map(JSON.text) ?? .null),
      Finding(name: "hub_token", text: token, json: .bool(token == "there is one"), problem: problem),
    ]
  }

  private static func machine() -> [Finding] {
    let memory = Int(clamping: ProcessInfo.processInfo.physicalMemory)
    let budget = MemoryBudget.automatic()
    // The directory that holds one folder for each fingerprint.
    let cache = Environment.process.cacheDirectory ?? "/"
    var nearest = cache
    while nearest != "/", !FileManager.default.fileExists(atPath: nearest) {
      nearest = URL(fileURLWithPath: nearest).deletingLastPathComponent().path
    }
    let takesFiles = FileManager.default.isWritableFile(atPath: nearest)
    return [
      bfloat16(Processor.bfloat16Obstacle),
      Finding(name: "memory", text: Format.bytes(memory), json: .int(memory)),
      Finding(name: "memory_budget", text: "\(Format.bytes(budget)) for hidden states", json: .int(budget)),
      Finding(
        name: "cache", text: cache + (takesFiles ? "" : " (cannot be written)"), json: .text(cache),
        problem: takesFiles
          ? nil : "\(cache) cannot be written: set COPPICE_CACHE, or give --prune_intermediate_ckpt to prune"),
    ]
  }
}
