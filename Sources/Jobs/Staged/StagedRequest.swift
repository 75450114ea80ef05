import Foundation
import Messages
import Minitron
import Models

/// A cut in several stages, each followed by learning from the original: what is lost at once is harder to get back than what is lost
/// bit by bit (Muralidharan et al. 2024, arXiv 2407.14679, section 3.3, iterative pruning).
public struct StagedRequest: Sendable, Equatable {
  /// The whole cut; its output is the last stage's student.
  public var prune: PruneRequest
  public var stages: Int
  /// Tokens to learn from after each cut.
  public var tokens: Int
  /// The highest learning rate of that.
  public var rate = StagedRequest.defaultRate

  package static let defaultRate = 1e-4

  public init(_ prune: PruneRequest, stages: Int, tokens: Int) {
    (self.prune, self.stages, self.tokens) = (prune, stages, tokens)
  }

  /// Where stages are until the last one is over, and after it.
  var place: String {
    if let kept = prune.keptScores { return kept + "/stages" }
    var output = prune.output[...]
    while output.count > 1, output.last == "/" { output.removeLast() }
    return output + ".stages"
  }

  /// - Throws: `RequestError` for what no model could meet.
  public func validate() throws {
    try prune.validate()
    try atLeast(1, stages, "stages")
    try atLeast(1, tokens, "stage_tokens")
    try positive(rate, "stage_lr")
    if stages > 1 {
      guard prune.search.hasTarget else {
        throw RequestError(
          """
          \(parameter: "stages") \(stages) needs a target, such as \(parameter: "prune_target_params"): what lies between the model and \
          an architecture given by hand is not known; 1 cuts to it at once
          """)
      }
      let numbered: [(isGiven: Bool, name: String)] = [
        (prune.layerRanking != nil, "layer_ranking"), (prune.search.droppedLayers != nil, "drop_layers"),
        (prune.search.keptLayers != nil, "keep_layers"),
      ]
      if let given = numbered.first(where: \.isGiven) {
        throw RequestError(
          "\(parameter: given.name) numbers the original's layers, which are others after the first of \(stages) \(parameter: "stages")"
        )
      }
    }
    guard prune.compute.stages == 1 else {
      throw RequestError("\(parameter: "stages") and \(parameter: "pp_size") cannot be combined so far")
    }
    try learning(stage: 1, teacher: prune.model).validate()
  }

  /// The targets of a stage: as many times smaller than those of the stage before as in every stage.
  ///
  /// - Parameter whole: of the original.
  func constraints(stage: Int, of whole: Metrics) -> Constraints {
    var targets = prune.search.constraints
    guard stage < stages else { return targets }
    let done = Double(stage) / Double(stages)
    for metric in Metric.allCases {
      guard let target = targets[metric] else { continue }
      let size = whole[metric]
      targets[metric] = target < size ? (size * pow(target / size, done)).rounded(.up) : target
    }
    return targets
  }

  /// The pruning of a stage.
  func pruning(stage: Int, of model: String, to constraints: Constraints) throws -> PruneRequest {
    var request = prune
    (request.model, request.output) = (model, "\(place)/\(stage)/pruned")
    request.keptScores = prune.keptScores.map { "\($0)/\(stage)" }
    if stage > 1 { request.revision = nil }
    if stage < stages {
      request.scoreLowerBound = nil
      request.search.targetParams = constraints.params.map { ParameterCount(integerLiteral: Int($0)) }
      request.search.targetActiveParams = constraints.activeParams.map { ParameterCount(integerLiteral: Int($0)) }
      request.search.targetMemory = try constraints.memoryMB.map { try Mebibytes("\(Int($0))") }
    }
    return request
  }

  /// What follows the pruning of a stage: calibration text is learned from.
  func learning(stage: Int, teacher: String) -> DistillRequest {
    let length = prune.search.seqLength
    let rows = max(tokens / max(length, 1), 1)
    // A hundred steps, unless that were larger ones than the reference takes, of micro-batches of some thousand tokens.
    let globalBatch = min(max(rows / 100, 1), DistillRequest.defaults.globalBatch)
    let steps = max((rows + globalBatch - 1) / globalBatch, 1)
    var request = DistillRequest(
      student: "\(place)/\(stage)/pruned", teacher: teacher, output: "\(place)/\(stage)/distilled", steps: steps)
    request.exported = stage == stages ? prune.output : nil
    request.data = prune.calibrationNames
    request.seqLength = length
    request.globalBatch = globalBatch
    request.microBatch = (1...globalBatch).reversed().first { globalBatch % $0 == 0 && $0 * length <= 4096 } ?? 1
    (request.rate, request.leastRate, request.warmup) = (rate, rate / 10, steps / 10)
    (request.evaluationInterval, request.evaluationSteps) = (max(steps / 5, 1), max(64 / globalBatch, 1))
    request.logInterval = max(steps / 50, 1)
    request.keptStates = 1
    request.compute = prune.compute
    return request
  }
}
