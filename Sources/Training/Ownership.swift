import Ranks
import Torch

/// Processes that learn together, each from its part of a step's micro-batches and with its part of the optimizer's state
/// (Rajbhandari et al. 2020, arXiv 1910.02054, stage 1): who has which parameters, which of these keeps their moments, and how
/// gradients and new values come to where they are wanted. Parameters have their numbers in the whole model.
struct Ownership {
  private let world: World
  private let layout: CrewLayout
  /// Those that have each parameter, ascending, and which of them is its owner.
  private let holders: [[Int]]
  private let owners: [Int]

  /// Parameters in their order: those that the same processes have are divided by their elements.
  init(_ model: TrainedModel, _ layout: CrewLayout, _ world: World) {
    (self.world, self.layout) = (world, layout)
    let slots = model.slots
    holders = slots.map { layout.holders(of: $0, model.description) }
    var (whole, before) = ([[Int]: Int](), [[Int]: Int]())
    for (slot, holders) in zip(slots, holders) { whole[holders, default: 0] += slot.elementCount }
    owners = zip(slots, holders).map { slot, holders in
      defer { before[holders, default: 0] += slot.elementCount }
      let place = before[holders, default: 0] * holders.count / max(whole[holders, default: 0], 1)
      return holders[min(place, holders.count - 1)]
    }
  }

  func isOwn(_ number: Int) -> Bool { owners[number] == world.rank }
  func owner(_ number: Int) -> Int { owners[number] }

  /// The other processes that have a parameter which is here, ascending.
  func others(_ number: Int) -> [Int] { holders[number].filter { $0 != world.rank } }

  /// Which of a step's micro-batches are this process's.
  func share(of batches: Int) -> Range<Int> {
    let (own, all) = (layout.replica(of: world.rank), layout.replicas)
    return batches * own / all..<batches * (own + 1) / all
  }

  private static func nothing() throws -> Tensor { try Tensor.zeros([0], dtype: .float32) }

  /// For the gradients of a step; nil for one process, which has them all.
  func exchange(of model: TrainedModel) -> GradientExchange? {
    world.isAlone ? nil : GradientExchange(model, self, world)
  }

  /// Gives every process the values that owners have changed.
  ///
  /// - Parameter changed: numbers of the parameters that this process has changed.
  func spreadValues(of model: TrainedModel, changed: Set<Int>) throws {
    guard !world.isAlone else { return }
    for (number, parameter) in zip(model.numbers, model.parameters) {
      if isOwn(number) {
        let value = try changed.contains(number) ? parameter.value() : Self.nothing()
        for rank in others(number) { try world.send(value, to: rank) }
      } else {
        let value = try world.receive(from: owners[number])
        if value.elementCount > 0 { try parameter.set(value: value) }
      }
    }
  }
}
