import Execution
import Messages
import Models
import Torch
import Training

extension TrainedModel {
  /// - Parameter work: what asks for it.
  /// - Throws: `RunError` where a model cannot learn here.
  static func check(_ model: SourceModel, on device: Device, for work: Message) throws {
    guard device == .cpu else {
      throw RunError("\(work) computes on the CPU so far; choose \(parameter: "device") cpu")
    }
    if let obstacle = obstacle(model) { throw RunError("\(work): \(model.checkpoint.directory): \(obstacle)") }
  }
}
