import Foundation

/// The learning rate of each step: up to `peak` in equal steps, then along half a cosine down to `end`. Megatron's
/// `OptimizerParamScheduler` has the same one step later, so that its first step changes nothing.
public struct LearningRate: Sendable, Equatable {
  public var peak: Double
  public var end: Double
  /// Steps on the way up.
  public var warmup: Int
  /// Steps in all.
  public var steps: Int

  public init(peak: Double, end: Double, warmup: Int, steps: Int) {
    (self.peak, self.end, self.warmup, self.steps) = (peak, end, warmup, steps)
  }

  /// - Parameter step: from 1.
  public func rate(atStep step: Int) -> Double {
    if step <= warmup { return peak * Double(step) / Double(max(warmup, 1)) }
    let share = min(Double(step - warmup) / Double(max(steps - warmup, 1)), 1)
    return end + (peak - end) * 0.5 * (1 + cos(.pi * share))
  }
}
