import Execution
import Files
import Models
import Torch
import Training

extension TrainingMemory {
  /// What fits three quarters of the memory budget, or of the free memory where none is given, and the rest in a directory.
  ///
  /// - Parameters:
  ///   - stage: the layers that this process trains, 0-based; nil for all.
  ///   - replicas: processes that train the same layers.
  ///   - processes: of this machine.
  ///   - directory: made where it is needed.
  ///   - events: hear what is on disk.
  init(
    _ student: SourceModel, stage: Range<Int>? = nil, dtype: DType, _ compute: ComputeParameters, replicas: Int = 1,
    processes: Int = 1, directory: String, _ events: RunEvents
  ) throws {
    let room = (compute.memoryBudget?.bytes ?? MemoryBudget.free() / processes) / 4 * 3
    let spill = Self.fitting(student.description, stage: stage, dtype: dtype, processes: replicas, room: room)
    if spill != .nothing {
      try makeDirectories(directory)
      try events.note(.trainingSpills(spill, directory: directory))
    }
    try self.init(spill, directory: directory)
  }
}
