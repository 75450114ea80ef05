import Checkpoint
import Execution
import Formatting
import JSON
import Minitron
import Models
import Recovery
import Torch

/// What `PruneJob.estimate` finds.
public enum PruneEstimate: Sendable {
  /// The result is there already.
  case finished(PruneOutcome)
  /// There is something to do.
  case work(WorkEstimate)
}

/// What a run would do: work, memory, disk, and a time from a short measurement.
public struct WorkEstimate: Codable, Sendable, Equatable {
  public let family: String
  /// The model's parameters, and the bytes of its weights on disk.
  public let params: Int, weightBytes: Int
  public let computeType: String
  public let calibrationRows: Int, calibrationTokens: Int
  public let walk: WalkSummary
  /// Multiplications and additions of calibration and of scoring.
  public let calibrationOperations: Double, scoringOperations: Double
  /// The same of leaving out each layer; 0 where layers are not ranked by that.
  public let layerScoringOperations: Double
  /// The same of a refit, where one is asked for: of the walks of original and pruned model, and of moments.
  public let refitOperations: Double
  public let candidates: Int
  /// Bytes of memory for hidden states, and for weights.
  public let stateBytes: Int, layerBytes: Int
  /// Bytes of the result, at most.
  public let diskBytes: Int
  /// Operations a second, measured just now on matrix products of this model's shape.
  public let operationsPerSecond: Double
  /// What several processes would hold and take; nil for one.
  public let crew: CrewEstimate?
  /// How long all that would take, in one process.
  public var seconds: Double {
    (calibrationOperations + layerScoringOperations + scoringOperations + refitOperations) / operationsPerSecond
  }

  init(_ job: PruneJob, _ prepared: PruneJob.Prepared, ranks: Int) throws {
    let (request, model, inputs) = (job.request, prepared.model, prepared.inputs)
    let description = model.description
    let whole = description.counts(job.settings)
    let layerParams =
      whole.activeParams - description.outerWeights.reduce(0) { $0 + $1.elementCount(description.sizes) }
    let rows = inputs.isCalibrated ? try inputs.text.calibrationRows().rows : []
    let tokens = rows.reduce(0) { $0 + $1.count }
    let found = try Self.candidates(job, description, prepared)
    let isRotated = inputs.basis == .rotated
    calibrationOperations =
      inputs.measuresImportance
      ? description.operations(rows: rows.map(\.count), in: Architecture(description))
        + (isRotated ? description.momentOperations(tokens: tokens) : 0) : 0
    layerScoringOperations =
      inputs.layers.score == .kl
      ? description.layerScoringOperations(rows: rows.prefix(request.rowsToScoreLayers).map(\.count)) : 0
    let refitted = request.refit == .none ? [] : rows.prefix(request.rowsToRefit).map(\.count)
    // By hand nothing is scored. Items are taken for rows of their mean length.
    let items = inputs.task.map { task in Array(repeating: task.tokenCount / max(task.count, 1), count: task.count) }
    let order = Self.order(description, inputs.layers)
    let scored = found.map {
      description.operations(rows: items ?? [], in: $0.config.architecture(of: description, ranking: order))
    }
    let finished = request.refit == .sequential ? min(request.refitCandidates, found.count) : 0
    // Of a search candidates are scored with each map refitted for itself as well, and the best few once more.
    let walks =
      inputs.task == nil
      ? request.refit.walks : RefitMode.local.walks + RefitMode.sequential.walks * Double(finished)
    refitOperations = walks * description.operations(rows: refitted, in: Architecture(description))
    scoringOperations =
      scored.reduce(0, +) * (request.refit == .none || request.racing ? 1 : 2)
      + (inputs.task == nil ? 0 : scored.prefix(finished).reduce(0, +))
    operationsPerSecond = try Self.measured(description, inputs.dtype)
    crew = ranks > 1 ? try CrewEstimate(request, description, inputs.dtype, ranks: ranks) : nil

    let plan = try request.compute.executor(model)
      .plan(TokenBatch.groups(rows, size: request.batchSize), subjects: [Selection(all: description)])
    family = description.family
    params = whole.params
    weightBytes = model.checkpoint.tensors.reduce(0) { $0 + $1.range.count }
    computeType = "\(inputs.dtype)"
    (calibrationRows, calibrationTokens) = (rows.count, tokens)
    walk = WalkSummary(plan)
    candidates = found.count
    stateBytes = plan.stateBytes - plan.spilledBytes
    layerBytes =
      2 * (layerParams / max(description.layers.count, 1) * inputs.dtype.byteCount)
      // Second moments of the residual stream, and the basis.
      + (isRotated ? description.sizes[.hidden] * description.sizes[.hidden] * 12 : 0)
    diskBytes = (found.map { $0.metrics.params }.max() ?? whole.params) * model.storedType.byteCount
  }

  private static func candidates(
    _ job: PruneJob, _ description: ModelDescription, _ prepared: PruneJob.Prepared
  ) throws -> [Candidate] {
    if let byHand = prepared.byHand {
      let order = order(description, prepared.inputs.layers)
      let counts = description.counts(
        byHand.architecture(of: description, ranking: order), tokens: job.settings.seqLength)
      try job.events.note(.byHand(byHand, params: counts.pruned.params))
      return []
    }
    return try (prepared.planned ?? job.search(description, layerRanking: nil)).candidates
  }

  /// The order of layers as far as it is known before anything is measured.
  private static func order(_ description: ModelDescription, _ layers: LayerOrder) -> [Int] {
    description.keepingOrder(layers.known(description) ?? Array(description.layers.indices), layers.choice)
  }

  /// Matrix products of this model's shape for about a fifth of a second.
  static func measured(_ description: ModelDescription, _ dtype: DType) throws -> Double {
    let hidden = min(description.sizes[.hidden], 4096)
    let width = min(max(description.ownSizes(.ffn).last ?? description.sizes[.ffn], 64), 8192)
    let x = try Tensor.ones([512, hidden], dtype: dtype)
    let weight = try Tensor.ones([width, hidden], dtype: dtype)
    _ = try x.linear(weight: weight)
    let start = ContinuousClock.now
    var products = 0
    var elapsed = 0.0
    repeat {
      _ = try x.linear(weight: weight)
      products += 1
      let passed = (ContinuousClock.now - start).components
      elapsed = Double(passed.seconds) + Double(passed.attoseconds) / 1e18
    } while elapsed < 0.2
    return 2 * 512 * Double(hidden) * Double(width) * Double(products) / elapsed
  }
}
