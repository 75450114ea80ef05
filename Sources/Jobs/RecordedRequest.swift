import JSON
import Minitron
import Models

/// What was asked for, beyond what importance is made of (`PruneInputs.fingerprint`): recorded in the result, so that the
/// same request can be told from another one. Every parameter that may change the result belongs here or there.
struct RecordedRequest {
  /// An architecture given by hand: every hyperparameter's value.
  static let byHand = "an architecture by hand"
  static let search = "a search"

  let fields: Fingerprint
  private let architecture: ExportConfig?
  private let description: ModelDescription

  /// - Parameters:
  ///   - byHand: the architecture given by hand, with what follows from it in the model.
  ///   - scoring: what scores are made of.
  init(
    _ request: PruneRequest, _ description: ModelDescription, byHand: ExportConfig?,
    scoring: [(name: String, value: String)]
  ) throws {
    self.description = description
    architecture = byHand
    if architecture != nil {
      fields = Fingerprint([("pruned_to", Self.byHand)])
      return
    }
    let (constraints, settings) = (request.search.constraints, try request.settings())
    let limits = Metric.allCases.compactMap { metric in
      constraints[metric].map { ("prune_target_" + metric.name, "\($0)") }
    }
    let runOff = request.runOffTokens.map { [("kd_runoff", "\($0)"), ("kd_runoff_lr", "\(request.runOffRate)")] } ?? []
    fields = Fingerprint(
      [("pruned_to", Self.search)] + limits
        + [
          ("ss_channel_divisor", settings.channelDivisor.map(String.init) ?? "default"),
          ("max_width_pruning", "\(settings.maxWidthPruning)"), ("max_depth_pruning", "\(settings.maxDepthPruning)"),
          ("hparams_to_skip", settings.skipped.map(\.rawValue).sorted().joined(separator: " ")),
          ("top_k", "\(settings.topK)"), ("inference_batch_size", "\(settings.inferenceBatchSize)"),
          ("scoring_algorithm", "\(AlgorithmVersion.scoring)"), ("racing", "\(request.racing)"),
        ] + runOff + scoring)
  }

  /// The differences between what a finished result was asked to be and this, a line for each; empty when there are none.
  func differences(from record: JSON.Object) -> [String] {
    let stored = record["request"]
    guard let architecture else {
      let made = stored?["pruned_to"]?.string ?? Self.byHand
      return made == Self.search ? Self.lines(fields, stored) : ["was made for \(made); asked \(Self.search)"]
    }
    // However it was found: what counts is the architecture.
    guard let config = record["export_config"], let made = try? ExportConfig(parsing: config) else {
      return ["its architecture was not recorded"]
    }
    return description.prunable.compactMap { hyperparameter in
      let whole = description.value(of: hyperparameter)
      let (was, asked) = (made[hyperparameter] ?? whole, architecture[hyperparameter] ?? whole)
      return was == asked ? nil : "was made for \(hyperparameter.rawValue) \(was); asked \(asked)"
    }
  }

  /// What differs between recorded fields and these, in words.
  static func lines(_ fields: Fingerprint, _ stored: JSON?) -> [String] {
    guard let stored = stored?.object else { return ["what it was made for was not recorded"] }
    var lines: [String] = []
    for (name, value) in fields.fields {
      let was = stored[name]?.string
      if was == value { continue }
      lines.append(contents[name].map { "was made of other \($0)" } ?? line(name, was, value))
    }
    for (name, value) in stored where !fields.fields.contains(where: { $0.name == name.description }) {
      lines.append(line(name.description, value.string, nil))
    }
    return lines
  }

  private static func line(_ name: String, _ was: String?, _ asked: String?) -> String {
    "was made with \(was.map { "\(name) \($0)" } ?? "no \(name)"); asked \(asked ?? "without")"
  }

  /// Fields that are hashes, by what they are hashes of.
  private static let contents = [
    "weights": "model weights", "tokenizer": "tokenizer files", "calibration_data": "calibration data",
    "prompts": "questions", "eval_data": "evaluation data",
    "student": "weights of the student", "teacher": "weights of the teacher",
  ]
}
