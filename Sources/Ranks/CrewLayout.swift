/// How the processes of a run share its work: each replica takes batches of its own through a pipeline of stages, each of which has
/// layers of its own. Ranks go through the stages of the first replica, then through those of the next.
public struct CrewLayout: Sendable, Equatable {
  /// Layers of each stage, 0-based, one range after the other.
  public let stages: [Range<Int>]
  public let replicas: Int

  public init(stages: [Range<Int>], replicas: Int) { (self.stages, self.replicas) = (stages, replicas) }

  public var ranks: Int { stages.count * replicas }

  public func stage(of rank: Int) -> Int { rank % stages.count }
  public func replica(of rank: Int) -> Int { rank / stages.count }
  /// The process that computes a replica's last layers.
  public func last(ofReplica replica: Int) -> Int { (replica + 1) * stages.count - 1 }
  /// All processes of a replica, stage by stage.
  public func ranks(ofReplica replica: Int) -> Range<Int> { replica * stages.count..<(replica + 1) * stages.count }
}
