import Execution
import Files
import Models
import Torch
import Training

extension TrainingMemory {
  /// What fits three quarters of the memory budget, or of the free memory where none is given, and the rest in a directory.
  ///
  /// - Parameters:
  ///   - processes: of this machine that train the model together.
  ///   - directory: made where it is needed.
  ///   - events: hear what is on disk.
  init(
    _ student: SourceModel, dtype: DType, _ compute: ComputeParameters, processes: Int = 1, directory: String,
    _ events: RunEvents
  ) throws {
    let room = (compute.memoryBudget?.bytes ?? MemoryBudget.free() / processes) / 4 * 3
    let spill = Self.fitting(student.description, dtype: dtype, processes: processes, room: room)
    if spill != .nothing {
      try makeDirectories(directory)
      try events.note(.trainingSpills(spill, directory: directory))
    }
    try self.init(spill, directory: directory)
  }
}
