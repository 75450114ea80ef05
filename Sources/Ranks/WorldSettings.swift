/// How a process finds the others that do the same run.
public struct WorldSettings: Sendable, Equatable {
  /// Who gave the ranks out, as people know it.
  public enum Source: String, Sendable {
    case own = "coppice"
    case torchrun
    case environment = "RANK and WORLD_SIZE"
    case openMPI = "Open MPI"
    case pmi = "PMI"
    case slurm = "Slurm"
  }

  /// Where the store is by which ranks find each other.
  public enum Rendezvous: Sendable, Equatable {
    /// Rank 0 serves it, on a socket that it was given where there is a descriptor.
    case served(host: String, port: UInt16, listener: Int32?)
    /// The launcher serves it.
    case agent(host: String, port: UInt16)
    /// Rank 0 serves it on this machine, at a port that the others read of a file of this name.
    case local(name: String)
  }

  public var source: Source
  /// From 0.
  public var rank: Int
  public var size: Int
  /// Among the ranks of this machine, from 0.
  public var localRank: Int
  public var localSize: Int
  public var rendezvous: Rendezvous
  /// What the keys of this run begin with: several runs may share a store.
  public var job: String
  /// This process's address for the others; nil to find it out.
  public var address: String?
  /// The network interface whose address that is.
  public var interface: String?
  /// The name of this machine; nil for the system's.
  public var host: String?
  /// Seconds that ranks wait for each other at the start.
  public var joinTimeout = 120.0
  /// Seconds of silence after which a rank is given up.
  public var silenceTimeout = 15.0
  /// A descriptor of which rank 0 reads how processes have ended: of Coppice's own launcher.
  public var news: Int32?
  /// Whether the process is ended when a rank is lost and this one does not come to say so by itself. Not in a process that
  /// has other things to do.
  public var endsProcess = true

  public init(
    _ source: Source, rank: Int, size: Int, localRank: Int, localSize: Int, rendezvous: Rendezvous, job: String
  ) {
    (self.source, self.rank, self.size, self.localRank, self.localSize) = (source, rank, size, localRank, localSize)
    (self.rendezvous, self.job) = (rendezvous, job)
  }

  /// Whether all ranks are on this machine.
  public var isOneMachine: Bool { localSize == size }
}
