import CTorch
import Synchronization

extension LibTorch {
  /// Runs `task` for 0 … `count` − 1 on libtorch's threads. Operations inside use one thread each: for work in many small
  /// operations, where waking threads for each would take longer than the operation.
  ///
  /// Tasks must not touch tensors that another one changes.
  ///
  /// - Throws: the first error that a task throws; the others still run.
  public static func parallel(_ count: Int, _ task: (Int) throws -> Void) throws {
    guard count > 1 else {
      if count == 1 { try task(0) }
      return
    }
    let api = try LibTorch.api
    try withoutActuallyEscaping(task) { task in
      let tasks = Tasks(task)
      defer { withExtendedLifetime(tasks) {} }
      try check(
        api.pointee.share_out(Int64(count), Unmanaged.passUnretained(tasks).toOpaque()) { context, index in
          Unmanaged<Tasks>.fromOpaque(context).takeUnretainedValue().run(Int(index))
        }, "LibTorch.parallel")
      if let error = tasks.firstError { throw error }
    }
  }
}

/// A closure on its way through C, and what it threw.
private final class Tasks {
  private let task: (Int) throws -> Void
  private let failure = Mutex<(any Error)?>(nil)

  init(_ task: @escaping (Int) throws -> Void) { self.task = task }

  func run(_ index: Int) {
    do { try task(index) } catch { failure.withLock { $0 = $0 ?? error } }
  }

  var firstError: (any Error)? { failure.withLock { $0 } }
}
