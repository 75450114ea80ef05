import Execution
import Messages
import Models
import Torch
import Training

extension TrainedModel {
  /// - Parameters:
  ///   - work: what asks for it.
  ///   - inStages: whether processes have layers of it each.
  /// - Throws: `RunError` where a model cannot learn here.
  static func check(_ model: SourceModel, on device: Device, for work: Message, inStages: Bool = false) throws {
    guard device != .mps else {
      throw RunError("\(work) computes on the CPU or on CUDA's devices; choose \(parameter: "device") cpu")
    }
    if let obstacle = obstacle(model, inStages: inStages) {
      throw RunError("\(work): \(model.checkpoint.directory): \(obstacle)")
    }
  }
}
