import CTorch

extension LibTorch {
  /// Records, on this thread and those that `parallel` shares work with, what is computed in `body`, so that gradients can be
  /// asked. Tensors that were made outside take part as constants after `Tensor.leaf`.
  ///
  /// - Throws: what `body` throws.
  public static func recording<R>(_ body: () throws -> R) throws -> R {
    let api = try LibTorch.api
    let before = api.pointee.set_gradients(true)
    defer { _ = api.pointee.set_gradients(before) }
    return try body()
  }

  /// Whether this thread records what it computes.
  public static var isRecording: Bool { (try? LibTorch.api)?.pointee.records_gradients() ?? false }
}

extension Tensor {
  /// A tensor over the same memory that nothing recorded has led to (`detach` of PyTorch). What was made outside a recording
  /// is copied.
  ///
  /// - Parameter wantsGradient: whether gradients will be asked by it.
  /// - Throws: `TorchError` outside a recording.
  public func leaf(wantsGradient: Bool) throws -> Tensor {
    try Self.make(self) { $0.pointee.leaf(handle, wantsGradient, &$1) }
  }

  /// What Σ outputs · given changes by, per element of each input; nil for an input that has no bearing. What was recorded on
  /// the way to the outputs is let go.
  ///
  /// - Parameters:
  ///   - outputs: what was computed, of any shapes.
  ///   - given: what a loss changes by, per element of each output.
  ///   - inputs: leaves that want gradients.
  /// - Throws: `TorchError` outside a recording, where shapes differ, and where an output depends on nothing that was recorded.
  public static func gradients(of outputs: [Tensor], given: [Tensor], by inputs: [Tensor]) throws -> [Tensor?] {
    guard outputs.count == given.count else {
      throw TorchError("\(outputs.count) outputs need as many gradients, not \(given.count)", operation: "gradients")
    }
    let api = try LibTorch.api
    var found = [OpaquePointer?](repeating: nil, count: inputs.count)
    defer { withExtendedLifetime((outputs, given, inputs)) {} }
    try check(
      api.pointee.gradients(
        outputs.map(\.handle), given.map(\.handle), outputs.count, inputs.map(\.handle), inputs.count, &found),
      "gradients")
    return found.map { $0.map { Tensor(owning: $0, api) } }
  }

  /// One step of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) in place, all weights at once.
  ///
  /// - Parameters:
  ///   - weights: of one type, as are the other lists; each as long.
  ///   - gradients: of the loss by them.
  ///   - means: running means of the gradients.
  ///   - squares: running means of their squares.
  ///   - rule: rates of learning, decay and averaging.
  ///   - step: the number of the step, from 1.
  /// - Throws: `TorchError` for lists of unlike lengths or types.
  public static func applyAdamW(
    _ weights: [Tensor], gradients: [Tensor], means: [Tensor], squares: [Tensor], rule: AdamWRule, step: Int
  ) throws {
    guard weights.count == gradients.count, weights.count == means.count, weights.count == squares.count else {
      throw TorchError("the lists of weights, gradients and moments differ in length", operation: "applyAdamW")
    }
    guard !weights.isEmpty else { return }
    let api = try LibTorch.api
    defer { withExtendedLifetime((weights, gradients, means, squares)) {} }
    var numbers = ct_adamw(
      rate: rule.rate, beta1: rule.firstDecay, beta2: rule.secondDecay, eps: rule.epsilon, decay: rule.weightDecay)
    try check(
      api.pointee.adamw(
        weights.map(\.handle), gradients.map(\.handle), means.map(\.handle), squares.map(\.handle), weights.count,
        &numbers, Int64(step)), "applyAdamW")
  }
}

/// What AdamW does with a gradient.
public struct AdamWRule: Sendable, Equatable {
  /// The learning rate.
  public var rate: Double
  /// How much of the running means of gradients, and of their squares, is left after a step (beta 1 and 2).
  public var firstDecay: Double, secondDecay: Double
  /// Added to the root of the squares' mean.
  public var epsilon: Double
  /// What weights shrink by at each step, × the learning rate.
  public var weightDecay: Double

  public init(
    rate: Double, firstDecay: Double = 0.9, secondDecay: Double = 0.95, epsilon: Double = 1e-8, weightDecay: Double
  ) {
    (self.rate, self.firstDecay, self.secondDecay) = (rate, firstDecay, secondDecay)
    (self.epsilon, self.weightDecay) = (epsilon, weightDecay)
  }
}
