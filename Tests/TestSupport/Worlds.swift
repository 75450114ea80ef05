import Foundation
public import Ranks
import Synchronization
import Testing

/// Runs a body in a world of so many ranks, and gives what each rank's gave or threw.
public func inRanks<T: Sendable>(
  _ size: Int, versions: [String]? = nil, missing: Set<Int> = [], timeout: Double = 20,
  _ body: @escaping @Sendable (World) throws -> T
) throws -> [Result<T, any Error>?] {
  let (socket, port) = try loopbackListener()
  let results = Mutex([Result<T, any Error>?](repeating: nil, count: size))
  let group = DispatchGroup()
  for rank in 0..<size where !missing.contains(rank) {
    group.enter()
    Thread.detachNewThread {
      var settings = WorldSettings(
        .own, rank: rank, size: size, localRank: rank, localSize: size,
        rendezvous: .served(host: "127.0.0.1", port: port, listener: rank == 0 ? socket : nil), job: "test")
      settings.joinTimeout = timeout
      // Other tests keep the processors busy.
      settings.silenceTimeout = 30
      settings.endsProcess = false
      let result = Result { try body(World(settings, version: versions?[rank] ?? "1")) }
      results.withLock { $0[rank] = result }
      group.leave()
    }
  }
  #expect(group.wait(timeout: .now() + 60) == .success)
  return results.withLock { $0 }
}
