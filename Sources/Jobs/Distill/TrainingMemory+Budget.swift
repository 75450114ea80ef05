import Execution
import Files
import Models
import Torch
import Training

extension TrainingMemory {
  /// What fits three quarters of the memory budget, or of the free memory of machine or device where none is given, and the rest in
  /// a directory.
  ///
  /// - Parameters:
  ///   - device: where it is trained.
  ///   - stage: the layers that this process trains, 0-based; nil for all.
  ///   - replicas: processes that train the same layers.
  ///   - processes: of this machine.
  ///   - directory: made where it is needed.
  ///   - events: hear what is on disk.
  init(
    _ student: SourceModel, on device: Device = .cpu, stage: Range<Int>? = nil, dtype: DType,
    _ compute: ComputeParameters, replicas: Int = 1,
    processes: Int = 1, directory: String, _ events: RunEvents
  ) throws {
    let room: Int
    if device == .cpu {
      room = (compute.memoryBudget?.bytes ?? MemoryBudget.free() / processes) / 4 * 3
    } else {
      room = try device.memory().free / processes / 4 * 3
    }
    let spill = Self.fitting(student.description, stage: stage, dtype: dtype, processes: replicas, room: room)
    if spill != .nothing {
      try makeDirectories(directory)
      try events.note(.trainingSpills(spill, directory: directory))
    }
    try self.init(spill, directory: directory)
  }

  /// Bytes of an accelerator that another model's weights may take beside a training: half of what it leaves, the other half being
  /// for activations. 0 on the CPU.
  ///
  /// - Parameters:
  ///   - model: whose weights are there already, and nothing else of its training.
  ///   - replicas: processes that train the same layers.
  ///   - processes: of this machine.
  func roomBesides(_ model: TrainedModel, replicas: Int = 1, processes: Int = 1) throws -> Int {
    guard model.device != .cpu else { return 0 }
    let whole = Self.bytes(
      spill, model.description, stage: model.stage, dtype: model.dtype, processes: replicas)
    let coming = whole - (spill.rawValue < Spill.weights.rawValue ? 4 * model.elementCount : 0)
    return max(try model.device.memory().free / processes - coming, 0) / 2
  }
}
