import Execution
import Formatting

/// What a walk over the weights will do.
public struct WalkSummary: Codable, Sendable, Equatable, CustomStringConvertible {
  /// Times that the weights are read.
  public let passes: Int
  /// Bytes of weights that one pass reads.
  public let weightBytes: Int
  /// Bytes of hidden states held at once, and how many of them are on disk.
  public let stateBytes: Int, spilledBytes: Int
  /// Bytes that go to the disk and come back, in all passes.
  public let expectedBytes: Int

  init(_ plan: WalkPlan) {
    passes = plan.passes
    weightBytes = plan.weightBytes
    stateBytes = plan.stateBytes
    spilledBytes = plan.spilledBytes
    expectedBytes = plan.expectedBytes
  }

  /// In words.
  public var description: String {
    let often = passes == 1 ? "1 pass" : "\(passes) passes"
    let spilled = spilledBytes > 0 ? ", \(Format.bytes(spilledBytes)) of them on disk" : ""
    let states = "\(Format.bytes(stateBytes)) of hidden states\(spilled)"
    return "\(often) over \(Format.bytes(weightBytes)) of weights, \(states), \(Format.bytes(expectedBytes)) to move"
  }
}
