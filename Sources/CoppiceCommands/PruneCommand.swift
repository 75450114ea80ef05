public import ArgumentParser
import Foundation
import Jobs
import Ranks
import Report

/// `coppice prune`.
public struct PruneCommand: ComputingCommand {
  public static let configuration = described(as: "prune", usage: "coppice prune")

  static func described(as name: String, usage: String) -> CommandConfiguration {
    CommandConfiguration(
      commandName: name,
      abstract: "Prune a checkpoint to a budget by search, or to an architecture given by hand.",
      // Of this many options the argument parser would show the required ones, and the output is required by `validate`.
      usage: "\(usage) [<options>] --hf_model_name_or_path <path> --output_hf_path <path>",
      discussion: """
        Importance is measured by activations on calibration text: of channels and heads by their size, of layers by how \
        much they change what they read, of experts by \(expertCriterion).
        """,
      version: coppiceVersion)
  }

  @OptionGroup var options: PruneOptions

  public init() {}

  public mutating func validate() throws {
    guard options.outputPath?.isEmpty == false else {
      throw ValidationError("Missing expected argument '--output_hf_path <path>'")
    }
    let request = try options.request()
    try usage(request.validate)
    try validateStages(request)
    guard options.pipelineStages > 1 || options.firstStageLayers == nil && options.lastStageLayers == nil else {
      throw ValidationError("uneven pipeline stages want --pp_size above 1")
    }
  }

  public func run() throws {
    if let staged = try options.stages.request(options.request()) { return try run(staged) }
    let launcher = try Launcher(processes: options.processes, stages: options.pipelineStages)
    guard !options.dryRun else { return try estimate(launcher) }
    try launcher.run(run)
  }

  /// The work of one of the processes. The first has the console.
  private func run(_ world: World) throws {
    let request = try options.request()
    guard world.rank == 0 else { return try CrewJob(request, world: world, listeners: [Bystander()]).run() }
    let console = options.output.console
    let job = try job(request, console, world)
    try showing(console) { try show(job.run(), console) }
  }

  /// Says what would be done, which takes one process whatever their number.
  private func estimate(_ launcher: Launcher) throws {
    guard launcher.isFirst else { return }
    let console = options.output.console
    let job = try job(options.request(), console, .alone)
    try showing(console) {
      switch try job.estimate(ranks: launcher.count) {
      case .finished(let outcome): try show(outcome, console)
      case .work(let work) where options.output.json: try console.result(work.json.serialized(indent: 2))
      case .work(let work):
        try console.result(work.table(output: job.request.output))
        if let crew = work.crew {
          try console.result("")
          try console.result(crew.table)
        }
      }
    }
  }

  private func job(_ request: PruneRequest, _ console: Console, _ world: World) throws -> PruneJob {
    if options.model.trustRemoteCode { console.note("--trust_remote_code has no effect: no remote code is ever run") }
    try UnusedFlags(of: Self.self, console).noteAll(request)
    return try PruneJob(
      request, listeners: [ConsoleListener(console, json: options.output.json)], command: Self.commandLine, world: world
    )
  }

  /// Of a winner that scores too little, what there is of it is shown first.
  private func showing(_ console: Console, _ body: () throws -> Void) throws {
    do {
      try body()
    } catch let error as ScoreBelowBound {
      try show(error.outcome, console)
      throw error
    }
  }

  /// Prints the outcome as JSON, where that was asked for: for people the run has said it.
  private func show(_ outcome: PruneOutcome, _ console: Console) throws {
    if options.output.json, let json = outcome.json { try console.result(json.serialized(indent: 2)) }
  }

  /// The command line that this process was started with, for those who read of it in the result.
  static func commandLine(model: String) throws -> String {
    let arguments = Entry.arguments(of: PruneMinitronCommand.self)
    let own = Entry.isNamed(PruneMinitronCommand.self)
    return try Arguments.shown(
      own ? "prune_minitron" : "coppice prune", Array(arguments.dropFirst(own ? 1 : 2)), for: PruneCommand.self,
      model: model)
  }
}

/// `prune_minitron`: the same under the name of the reference's script.
public struct PruneMinitronCommand: ComputingCommand {
  public static let configuration = PruneCommand.described(as: "prune_minitron", usage: "prune_minitron")

  @OptionGroup var prune: PruneCommand

  public init() {}

  public func run() throws { try prune.run() }
}
