public import Execution
public import Ranks
public import Torch

/// Hidden states between the processes of a pipeline.
public final class WorldLink: StageLink {
  private let world: World
  private let before: Int, after: Int

  /// - Parameter world: whose ranks beside this one have the stages beside this one's.
  public init(_ world: World) {
    self.world = world
    (before, after) = (world.rank - 1, world.rank + 1)
  }

  public func receive() throws -> Tensor { try world.receive(from: before) }
  public func send(_ state: Tensor) throws { try world.send(state, to: after) }
}

extension CrewLayout {
  /// What a rank computes of a walk.
  public func stage(_ rank: Int, of executor: Executor, _ link: any StageLink) -> WalkStage {
    WalkStage(
      layers: stages[stage(of: rank)], of: executor.weights.model.description.layers.count, link: link)
  }
}
