public import ArgumentParser
import Formatting
import JSON
import Jobs
import Ranks
import Report

/// `coppice distill`: the pruned model learns from the original.
public struct DistillCommand: ComputingCommand {
  public static let configuration = CommandConfiguration(
    commandName: "distill",
    abstract: "Let a pruned model learn from the original: what pruning cost comes back.",
    discussion: """
      The student follows the teacher's distribution of every next token (KL divergence; Hinton et al. 2015). States, metrics and \
      the trained model are written into --output_dir; the same command goes on where an earlier one was ended.
      """)

  @OptionGroup(title: "Models") var models: DistilledModels
  @OptionGroup(title: "Data") var data: DistillationData
  @OptionGroup(title: "Training") var training: TrainingOptions
  @OptionGroup(title: "Validation, states and end") var course: CourseOptions
  @OptionGroup(title: "As the reference has them") var reference: MegatronOptions
  @OptionGroup(title: "Processes") var replicas: ReplicaOptions
  @OptionGroup(title: "Computation") var compute: ComputeOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public mutating func validate() throws {
    let request = try request()
    try usage(request.validate)
  }

  private func request() throws -> DistillRequest {
    var request = DistillRequest(
      student: models.student, teacher: models.teacher, output: models.output, steps: training.steps)
    models.apply(to: &request)
    try data.apply(to: &request)
    try training.apply(to: &request)
    course.apply(to: &request)
    request.recomputes = try reference.recomputes()
    request.compute = try compute.parameters()
    request.compute.stages = replicas.stages
    return request
  }

  public func run() throws {
    try Launcher(processes: replicas.processes, stages: replicas.stages).run(run)
  }

  /// The work of one of the processes. The first has the console.
  private func run(_ world: World) throws {
    guard world.rank == 0 else {
      _ = try DistillJob(request(), listeners: [Bystander()], world: world).run()
      return
    }
    let console = output.console
    for note in reference.notes(metrics: models.output + "/metrics.jsonl") { console.note(note) }
    let outcome = try DistillJob(
      request(), listeners: [ConsoleListener(console, json: output.json)], world: world
    ).run()
    guard output.json else {
      let place = outcome.exported ?? outcome.state ?? models.output
      let losses = outcome.validation.map {
        "; on text that is held back KL \(Format.decimal($0.divergence, places: 4)), loss \(Format.decimal($0.crossEntropy, places: 4))"
      }
      return try console.result("\(place): step \(outcome.steps) of \(outcome.wanted)\(losses ?? "")")
    }
    try console.result(
      JSON.object([
        ("output", outcome.exported.map(JSON.text) ?? .null), ("state", outcome.state.map(JSON.text) ?? .null),
        ("steps", .int(outcome.steps)), ("train_iters", .int(outcome.wanted)),
        ("validation_kl", outcome.validation.map { .double($0.divergence) } ?? .null),
        ("validation_loss", outcome.validation.map { .double($0.crossEntropy) } ?? .null),
        ("metrics", .text(outcome.metrics)), ("compute_dtype", .text(outcome.computeType)),
      ]).serialized(indent: 2))
  }
}
