import ArgumentParser
import Formatting
import JSON
import Jobs
import Report

/// Whether the cut is made in stages, each of which is followed by learning from the original.
struct StageOptions: ParsableArguments {
  @Option(
    name: .flag("stages"),
    help: ArgumentHelp(
      "Cut in so many stages and learn from the original on calibration text after each; the last student is the result.",
      valueName: "n"))
  var count: Int?

  @Option(
    name: .flag("stage_tokens"),
    help: ArgumentHelp("Tokens to learn from after each stage, such as 100M.", valueName: "tokens"))
  var tokens: String?

  @Option(
    name: .flag("stage_lr"),
    help: ArgumentHelp("The highest learning rate of that (default: \(StagedRequest.defaultRate)).", valueName: "rate")
  )
  var rate: Double?

  mutating func validate() throws {
    guard count != nil || tokens == nil && rate == nil else {
      throw ValidationError("--stage_tokens and --stage_lr belong to --stages, which is not given")
    }
    guard count == nil || tokens != nil else {
      throw ValidationError("--stages wants --stage_tokens: how much to learn from after each")
    }
    _ = try parseCount(tokens, flag: "--stage_tokens")
  }

  /// The cut in stages; nil where it is made at once.
  ///
  /// - Throws: `ValidationError`.
  func request(_ prune: PruneRequest) throws -> StagedRequest? {
    guard let count, let tokens = try parseCount(tokens, flag: "--stage_tokens") else { return nil }
    var request = StagedRequest(prune, stages: count, tokens: tokens)
    if let rate { request.rate = rate }
    return request
  }
}

extension PruneCommand {
  /// What a cut in stages cannot have.
  func validateStages(_ request: PruneRequest) throws {
    guard let staged = try options.stages.request(request) else { return }
    try usage(staged.validate)
    guard !options.dryRun, (options.processes ?? 1) == 1 else {
      throw ValidationError("--stages cannot be combined with \(options.dryRun ? "--dry_run" : "--nproc") so far")
    }
  }

  /// A cut in stages.
  func run(_ staged: StagedRequest) throws {
    let console = options.output.console
    let outcomes = try StagedPruneJob(
      staged, listeners: [ConsoleListener(console, json: options.output.json)], command: Self.commandLine
    ).run()
    let output = staged.prune.output
    guard options.output.json else { return try console.result("\(output): the student of the last stage") }
    try console.result(
      JSON.object([("output", .text(output)), ("stages", .array(outcomes.map(\.json)))]).serialized(indent: 2))
  }
}

extension StageOutcome {
  /// For programs.
  fileprivate var json: JSON {
    .object([
      ("pruned", .text(pruned.output)), ("original_params", .int(pruned.original.params)),
      ("params", .int(pruned.pruned.params)),
      ("active_params", .int(pruned.pruned.activeParams)), ("score", pruned.score.map { .double($0.mean) } ?? .null),
      ("output", learned.exported.map(JSON.text) ?? .null), ("steps", .int(learned.steps)),
      ("kl_before", divergence.map { .double($0.before) } ?? .null),
      ("kl_after", divergence.map { .double($0.after) } ?? .null), ("metrics", .text(learned.metrics)),
    ])
  }
}
