import Execution
import Minitron
import Models
import Torch

/// What a run of several processes would hold and take, from a short measurement on this machine: the time of calibration, whose
/// walk is the same for every model, and how well the processes would be used.
public struct CrewEstimate: Codable, Sendable, Equatable {
  /// Layers of each stage, counted from 1.
  public let stages: [ClosedRange<Int>]
  public let replicas: Int
  /// Batches that go through a replica's pipeline.
  public let batches: Int
  /// Bytes that the fullest process holds: the weights of its layers, and hidden states.
  public let memoryBytes: Int
  /// The part of the time in which a process waits for others, on average.
  public let idle: Double
  /// Of calibration, in this many processes and in one of the same speed.
  public let seconds: Double, secondsAlone: Double

  /// A machine's speed, as one process has it.
  public struct Speed: Sendable {
    /// Operations a second.
    public let operations: Double
    /// Bytes a second between two processes.
    public let bytes: Double

    public init(operations: Double, bytes: Double) { (self.operations, self.bytes) = (operations, bytes) }
  }

  /// Bytes a second between processes of one machine, as Gloo moves them (`Benchmarks/results`).
  static let usualBytes = 1e9

  /// - Parameters:
  ///   - rows: of calibration.
  ///   - seqLength: tokens of each.
  ///   - elementBytes: of a number computed with.
  ///   - budget: bytes of hidden states that a process may hold.
  init(
    _ description: ModelDescription, _ layout: CrewLayout, rows: Int, seqLength: Int, elementBytes: Int, budget: Int,
    speed: Speed
  ) {
    let rowsAtOnce = max(description.tokensAtOnce(elementSize: elementBytes, device: .cpu) / seqLength, 1)
    let all = (rows + rowsAtOnce - 1) / rowsAtOnce
    batches = (all + layout.replicas - 1) / layout.replicas
    let batchRows = Array(repeating: seqLength, count: min(rowsAtOnce, rows))
    let stateBytes = batchRows.count * seqLength * description.sizes[.hidden] * elementBytes
    let isPipeline = layout.stages.count > 1
    // A batch in each stage, with handing it on.
    let times = layout.stages.map { layers in
      let own = Architecture(layers: Array(layers), sizes: description.sizes)
      return description.operations(rows: batchRows, in: own) / speed.operations
        + (isPipeline ? Double(stateBytes) / speed.bytes : 0)
    }
    let slowest = times.max() ?? 0
    // The first batch through all stages, then one after the other out of the slowest.
    seconds = times.reduce(0, +) + Double(batches - 1) * slowest
    secondsAlone =
      Double(all) * description.operations(rows: batchRows, in: Architecture(description)) / speed.operations
    idle = 1 - secondsAlone / max(seconds * Double(layout.ranks), .leastNonzeroMagnitude)
    let weights = layout.stages.map { layers in
      layers.reduce(0) { $0 + description.layers[$1].weights.reduce(0) { $0 + $1.elementCount(description.sizes) } }
    }
    let outer = description.outerWeights.reduce(0) { $0 + $1.elementCount(description.sizes) }
    // Stages keep their layers; alone, a layer is read while another is computed.
    let largest =
      description.layers.indices.map { layer in
        description.layers[layer].weights.reduce(0) { $0 + $1.elementCount(description.sizes) }
      }.max() ?? 0
    let held = isPipeline ? (weights.max() ?? 0) : 2 * largest
    memoryBytes = max(held, outer) * elementBytes + min(budget, batches * stateBytes)
    stages = layout.stages.map { $0.lowerBound + 1...$0.upperBound }
    replicas = layout.replicas
  }
}
