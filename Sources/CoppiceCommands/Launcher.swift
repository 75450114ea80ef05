import Files

/// What a launcher such as `torchrun` says of this process among those that it has started.
struct Launcher {
  /// From 0.
  let rank: Int
  let worldSize: Int

  init(_ environment: Environment = .process) {
    func number(_ name: String) -> Int? { environment[name].flatMap { Int($0) } }
    let size = number("WORLD_SIZE") ?? 1
    guard let rank = number("RANK"), (0..<size).contains(rank) else {
      (self.rank, worldSize) = (0, 1)
      return
    }
    (self.rank, worldSize) = (rank, size)
  }

  /// Whether there is nothing to do for this process: the first does the work of all.
  var isSpare: Bool { rank > 0 }

  var spareNote: String { "rank \(rank) of \(worldSize): rank 0 does the work of all" }
}
