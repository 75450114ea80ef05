import Torch

extension Monitor {
  /// What its two threads and the run's know.
  struct State {
    var loss: Loss?
    var lossTime = 0.0
    /// When the run was told of the loss, and began to end.
    var endingSince: Double?
    /// What this rank has to tell the others.
    var report: Loss?
    var reportTime = 0.0
    var isTold = false
    /// The last time for which this process did not run, and when it ended.
    var stop: (seconds: Double, time: Double)?
    var pending: [ObjectIdentifier: PendingMessage] = [:]
    /// No rank is watched any more: all have done their work.
    var isLeaving = false
    var threads = 2
    /// When the store last answered, and why it does not.
    var contact = now()
    var storeError: (text: String, since: Double)?
    /// The last sign of life of each watched rank.
    var signs: [Int: (value: [UInt8], time: Double)] = [:]
  }
}
