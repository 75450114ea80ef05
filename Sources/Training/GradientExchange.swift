import Ranks
import Torch

/// The gradients of one step on their way to the processes that keep their moments: a layer's set out when the backward pass has gone
/// through it, and travel while it goes on through those before (Li et al. 2020, arXiv 2006.15704, section 3.2.3).
///
/// All processes come to the groups of parameters that they have in the same order, whether they have gradients of them or not.
final class GradientExchange {
  private typealias Member = (number: Int, parameter: Parameter)

  private let ownership: Ownership
  private let world: World
  /// The parameters of each layer that is here, the last layer first; then those outside the layers, one by one. The same processes
  /// have all of a group.
  private let groups: [(layer: Int?, members: [Member])]
  private var next = 0
  private var underway: [Group] = []

  /// Groups under way, whose gradients take memory of their own.
  private static let mostUnderway = 4

  /// Messages of one group: a 1 or a 0 for each parameter, whether there is a gradient, and then the gradients.
  private struct Group {
    /// What is kept here.
    let own: [Parameter]
    var outgoing: [Exchange] = []
    /// By the ranks they come from, ascending.
    var incoming: [Exchange] = []
  }

  init(_ model: TrainedModel, _ ownership: Ownership, _ world: World) {
    let members = Array(zip(model.numbers, model.parameters))
    let byLayer = Dictionary(grouping: members) { $0.1.name.layer }
    groups = model.stage.reversed().map { ($0, byLayer[$0] ?? []) } + (byLayer[nil] ?? []).map { (nil, [$0]) }
    (self.ownership, self.world) = (ownership, world)
  }

  /// The gradients of this layer, and of those after it, are what they will be.
  func send(layer: Int) throws {
    while next < groups.count, let group = groups[next].layer, group >= layer { try start() }
  }

  /// All gradients are what they will be: adds them up at their owners; others have none afterwards.
  func finish() throws {
    while next < groups.count { try start() }
    while !underway.isEmpty { try settle() }
  }

  /// Sets the next group under way.
  private func start() throws {
    // Others have come as far before long: whoever is the last waits for nobody.
    while underway.count >= Self.mostUnderway { try settle() }
    let members = groups[next].members
    next += 1
    func owned(by rank: Int) -> [Parameter] {
      members.filter { ownership.owner($0.number) == rank }.map(\.parameter)
    }
    var group = Group(own: owned(by: world.rank))
    for rank in members.first.map({ ownership.others($0.number) }) ?? [] {
      let theirs = owned(by: rank)
      if !theirs.isEmpty { group.outgoing.append(try world.begin(sending: packed(theirs), to: rank)) }
      guard !group.own.isEmpty else { continue }
      let count = group.own.reduce(group.own.count) { $0 + $1.elementCount }
      group.incoming.append(try world.begin(receivingInto: .empty([count], dtype: .float32), from: rank))
    }
    underway.append(group)
  }

  /// A message's content. The gradients are not kept here any more.
  private func packed(_ parameters: [Parameter]) throws -> Tensor {
    let flags = try Tensor(parameters.map { $0.hasGradient ? Float(1) : 0 }, shape: [parameters.count])
    let slopes = try parameters.map { parameter in
      defer { parameter.dropGradient() }
      return try parameter.gradient()?.reshape([-1]).to(device: .cpu)
        ?? .zeros([parameter.elementCount], dtype: .float32)
    }
    return try Tensor.cat([flags] + slopes, dim: 0)
  }

  /// Waits for the oldest group, and adds its gradients in the order of ranks.
  private func settle() throws {
    let group = underway.removeFirst()
    for exchange in group.incoming {
      try world.finish(exchange)
      let flags = try exchange.tensor.narrow(dim: 0, start: 0, length: group.own.count).floats()
      var start = group.own.count
      for (parameter, flag) in zip(group.own, flags) {
        defer { start += parameter.elementCount }
        guard flag == 1 else { continue }
        let slope = try exchange.tensor.narrow(dim: 0, start: start, length: parameter.elementCount)
        try parameter.add(slope.view(parameter.shape))
      }
    }
    for exchange in group.outgoing { try world.finish(exchange) }
  }
}
