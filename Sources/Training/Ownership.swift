import Ranks
import Torch

/// Processes that learn together, each from its part of a step's micro-batches and with its part of the optimizer's state
/// (Rajbhandari et al. 2020, arXiv 1910.02054, stage 1): who keeps which parameters' moments, and how gradients and new values
/// come to where they are wanted.
struct Ownership {
  private let world: World
  /// The owner of each parameter.
  private let owners: [Int]

  /// Parameters in their order, divided by their elements.
  init(_ parameters: [Parameter], _ world: World) {
    self.world = world
    let whole = parameters.reduce(0) { $0 + $1.elementCount }
    var before = 0
    owners = parameters.map { parameter in
      defer { before += parameter.elementCount }
      return min(before * world.size / max(whole, 1), world.size - 1)
    }
  }

  func isOwn(_ number: Int) -> Bool { owners[number] == world.rank }
  func owner(_ number: Int) -> Int { owners[number] }

  /// Which of a step's micro-batches are this process's.
  func share(of batches: Int) -> Range<Int> {
    batches * world.rank / world.size..<batches * (world.rank + 1) / world.size
  }

  private static func nothing() throws -> Tensor { try Tensor.zeros([0], dtype: .float32) }

  /// For the gradients of a step; nil for one process, which has them all.
  func exchange(of model: TrainedModel) -> GradientExchange? {
    world.isAlone ? nil : GradientExchange(model, self, world)
  }

  /// Gives every process the values that owners have changed.
  ///
  /// - Parameter changed: numbers of the parameters that this process has changed.
  func spreadValues(_ parameters: [Parameter], changed: Set<Int>) throws {
    guard !world.isAlone else { return }
    for (number, parameter) in parameters.enumerated() {
      if isOwn(number) {
        let value = try changed.contains(number) ? parameter.value() : Self.nothing()
        for rank in 0..<world.size where rank != world.rank { try world.send(value, to: rank) }
      } else {
        let value = try world.receive(from: owners[number])
        if value.elementCount > 0 { try parameter.set(value: value) }
      }
    }
  }
}
