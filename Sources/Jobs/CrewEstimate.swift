import Execution
import Minitron
package import Models
package import Ranks
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
  package init(
    _ description: ModelDescription, _ layout: CrewLayout, rows: Int, seqLength: Int, elementBytes: Int, budget: Int,
    speed: Speed
  ) {
    let rowsAtOnce = max(description.tokensAtOnce(elementSize: elementBytes, device: .cpu) / seqLength, 1)
    let all = (rows + rowsAtOnce - 1) / rowsAtOnce
    batches = (all + layout.replicas - 1) / layout.replicas
    let stretches = Crew.stretches(batches: all, ranks: layout.ranks)
    let batchRows = Array(repeating: seqLength, count: min(rowsAtOnce, rows))
    let stateBytes = batchRows.count * seqLength * description.sizes[.hidden] * elementBytes
    func bytes(_ weights: [Weight], inLayer layer: Int? = nil) -> Int {
      let sizes = description.sizes(inLayer: layer)
      return weights.reduce(0) { $0 + $1.elementCount(sizes) } * elementBytes
    }
    let layerBytes = description.layers.enumerated().map { bytes($1.weights, inLayer: $0) }
    let isPipeline = layout.stages.count > 1
    // A stage that has its layers in memory together sends a batch on when it has gone through them, else all of a stretch that
    // there is room for.
    let isWhole = layout.stages.allSatisfy { layers in
      (layers.count - 1) * (layerBytes[layers].max() ?? 0) <= budget / 2
    }
    let waiting = min((batches + stretches - 1) / stretches, max(budget / max(stateBytes, 1), 1))
    let together = isWhole && isPipeline ? 1 : waiting
    // A batch in each stage, with handing it on.
    let times = layout.stages.map { layers in
      let own = Architecture(description, layers: Array(layers))
      return description.operations(rows: batchRows, in: own) / speed.operations
        + (isPipeline ? Double(stateBytes) / speed.bytes : 0)
    }
    let slowest = times.max() ?? 0
    // One batch after the other out of the slowest stage; before and after each stretch the others fill and empty.
    seconds = Double(batches) * slowest + Double(stretches * together) * (times.reduce(0, +) - slowest)
    secondsAlone =
      Double(all) * description.operations(rows: batchRows, in: Architecture(description)) / speed.operations
    idle = 1 - secondsAlone / max(seconds * Double(layout.ranks), .leastNonzeroMagnitude)
    // Band by band, as alone, a layer is read while another is computed.
    let held =
      isWhole && isPipeline
      ? layout.stages.map { layerBytes[$0].reduce(0, +) }.max() ?? 0 : 2 * (layerBytes.max() ?? 0)
    memoryBytes = max(held, bytes(description.outerWeights)) + (together + (isPipeline ? 1 : 0)) * stateBytes
    stages = layout.stages.map { $0.lowerBound + 1...$0.upperBound }
    replicas = layout.replicas
  }
}
