import Execution
import Report

extension WalkPlan {
  /// What a walk will do, for people: passes over the weights, hidden states, and what goes through the disk.
  var summary: String {
    let often = passes == 1 ? "1 pass" : "\(passes) passes"
    let spilled = spilledBytes > 0 ? ", \(Format.bytes(spilledBytes)) of them on disk" : ""
    let states = "\(Format.bytes(stateBytes)) of hidden states\(spilled)"
    return "\(often) over \(Format.bytes(weightBytes)) of weights, \(states), \(Format.bytes(expectedBytes)) to move"
  }
}
