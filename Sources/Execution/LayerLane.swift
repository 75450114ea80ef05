import Models
public import Torch

/// A walk that goes through a layer when somebody asks for it: beside another walk, which needs what this one finds there.
public final class LayerLane {
  private let walk: ChunkWalk
  private var leg = 0

  /// - Parameters:
  ///   - executor: of which it holds all batches' hidden states, within the budget.
  ///   - batches: rows of tokens.
  ///   - subject: what is kept of the model.
  ///   - visitor: sees this walk go by.
  public init(_ executor: Executor, _ batches: [TokenBatch], _ subject: Subject, visitor: any WalkVisitor) throws {
    walk = try ChunkWalk(executor, batches, [subject], visitor: visitor, bands: subject.layers)
    try walk.embed()
  }

  /// Goes on until all batches have been through this layer (original, 0-based), if they have not been.
  public func advance(through layer: Int) throws {
    let end = walk.schedule.legs.firstIndex { ($0.steps.first?.layer ?? 0) > layer } ?? walk.schedule.legs.count
    guard end > leg else { return }
    try walk.run(from: (leg, 0), to: end) { _ in }
    leg = end
  }

  /// Goes through all layers that are left.
  ///
  /// - Parameter body: called with each batch's states, `[B, S, H]`, before the final norm.
  public func finish(_ body: (_ batch: Int, _ state: Tensor) throws -> Void) throws {
    try advance(through: walk.description.layers.count - 1)
    guard let path = walk.schedule.ends.first else { return }
    for batch in walk.batches.indices { try body(batch, walk.states.get(.init(path: path, batch: batch))) }
  }
}
