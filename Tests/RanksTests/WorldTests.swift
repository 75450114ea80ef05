import Foundation
import Ranks
import TestSupport
import Testing
import Torch

/// Ranks on threads of one process: the same code, with real connections over the loopback.
@Suite(.serialized) struct WorldTests {
  private func message<T>(_ result: Result<T, any Error>?) -> String {
    if case .failure(let error)? = result { return "\(error)" }
    return "no error"
  }

  @Test func aloneNothingIsOpenedAndEverythingIsAnswered() throws {
    let world = World.alone
    #expect(world.isAlone && world.rank == 0 && world.size == 1)
    #expect(try world.broadcast([1, 2], from: 0) == [1, 2])
    #expect(try world.gather([3], to: 0) == [[3]])
    try world.barrier()
    try world.agree(on: [("a", "b")])
    world.fail("nobody hears")
    try world.leave()
    #expect(throws: RankError.self) { try world.receive(from: 0) }
    #expect(throws: RankError.self) { try world.send([1], to: 1) }
  }

  @Test func theLeastOfAllNumbersIsTheSameEverywhere() throws {
    #expect(try World.alone.least(of: [4, -1]) == [4, -1])
    let results = try inRanks(3) { world in
      let least = try world.least(of: [Double(world.rank - 1), Double(7 - world.rank), .infinity])
      try world.leave()
      return least
    }
    for result in results { #expect(try result?.get() == [-1, 5, .infinity]) }
    let others = try inRanks(2) { world in try world.least(of: Array(repeating: 1, count: 1 + world.rank)) }
    for result in others { #expect(throws: RankError.self) { try result?.get() } }
  }

  @Test func tensorsArriveAsTheyWereSentAndInOrder() throws {
    let results = try inRanks(2) { world -> Bool in
      let shapes: [[Int]] = [[], [0], [3], [2, 3, 4], [1, 0, 2], [1000, 500]]
      var same = true
      for dtype in DType.allCases {
        for (index, shape) in shapes.enumerated() {
          let tensor = try Tensor.full(shape, Double(index + 1), dtype: dtype)
          if world.rank == 0 {
            try world.send(tensor, to: 1)
            // The copy is on its way, not this.
            try tensor.fill(0)
          } else {
            let got = try world.receive(from: 0)
            same = try same && got.dtype == dtype && got.shape == shape && got.equals(tensor)
          }
        }
      }
      // Columns of a matrix do not lie in a row.
      let matrix = try Tensor.arange(12, dtype: .float32).reshape([3, 4])
      if world.rank == 0 {
        try world.send(matrix.transpose(0, 1), to: 1)
      } else {
        same = try same && world.receive(from: 0).equals(matrix.transpose(0, 1))
      }
      try world.leave()
      return same
    }
    for result in results { #expect(try result?.get() == true) }
  }

  @Test func sendsDoNotWaitForTheReceiver() throws {
    let results = try inRanks(2) { world -> [Double] in
      // Both send first and receive then.
      let other = 1 - world.rank
      for number in 0..<World.inFlight {
        try world.send(try Tensor.full([1 << 18], Double(number), dtype: .float32), to: other)
      }
      let values = try (0..<World.inFlight).map { _ in try world.receive(from: other).select(dim: 0, index: 7).item() }
      try world.leave()
      return values
    }
    for result in results { #expect(try result?.get() == [0, 1, 2, 3]) }
  }

  @Test(arguments: [2, 3, 5]) func bytesGoToAllAndComeFromAll(_ size: Int) throws {
    let results = try inRanks(size) { world -> Bool in
      var same = true
      for root in 0..<size {
        let long = [UInt8](repeating: UInt8(root), count: 100_000)
        same = try same && world.broadcast(world.rank == root ? long : [9], from: root) == long
        same = try same && world.broadcast([], from: root) == []
        let gathered = try world.gather([UInt8(world.rank)], to: root)
        same = same && gathered == (world.rank == root ? (0..<size).map { [UInt8($0)] } : [])
        try world.barrier()
      }
      try world.leave()
      return same
    }
    for result in results { #expect(try result?.get() == true) }
  }

  @Test func messagesOfAnotherKindAreRefused() throws {
    let results = try inRanks(2) { world in
      if world.rank == 0 {
        try world.send([1], to: 1)
        try world.leave()
      } else {
        #expect(throws: RankError.self) { try world.send([1], to: 1) }
        #expect(throws: RankError.self) { try world.send([1], to: 2) }
        #expect(throws: RankError.self) { try world.receive(from: -1) }
        let error = #expect(throws: RankError.self) { try world.receive(from: 0) }
        #expect(error?.kind == .misuse)
        try world.leave()
      }
    }
    for result in results { #expect(throws: Never.self) { try result?.get() } }
  }

  @Test func differencesAreOneErrorOnEveryRank() throws {
    let results = try inRanks(3) { world in
      try world.agree(on: [("size", "3")])
      try world.agree(on: [("model", world.rank == 1 ? "b" : "a")])
    }
    for result in results {
      #expect(message(result).contains("model is a on ranks 0 and 2, b on rank 1"), "\(message(result))")
    }
  }

  @Test func anotherVersionIsRefusedBeforeAnythingIsDone() throws {
    let results = try inRanks(3, versions: ["1", "1", "2"]) { _ in }
    for result in results {
      #expect(
        message(result).contains("the version of Coppice is 1 on ranks 0 and 1, 2 on rank 2"), "\(message(result))")
    }
  }

  @Test func aRankThatDoesNotComeIsNamed() throws {
    let results = try inRanks(4, missing: [2], timeout: 2) { _ in }
    for result in results where result != nil {
      #expect(message(result).contains("rank 2 of 4 did not come within 2 seconds"), "\(message(result))")
      #expect(message(result).contains("ranks 0, 1 and 3 on"), "\(message(result))")
    }
  }

  @Test func whereRankZeroIsMissingTheOthersSayWhere() throws {
    let (socket, port) = try loopbackListener()
    close(socket)
    var settings = WorldSettings(
      .environment, rank: 1, size: 2, localRank: 1, localSize: 2,
      rendezvous: .served(host: "127.0.0.1", port: port, listener: nil), job: "test")
    settings.joinTimeout = 0.3
    let error = #expect(throws: RankError.self) { try World(settings, version: "1") }
    #expect(
      error?.description.contains("did not reach rank 0 at 127.0.0.1:\(port)") == true, "\(error.debugDescription)")
  }

  @Test func aRankThatFailsIsHeardByThoseThatWaitForIt() throws {
    let start = Date()
    let results = try inRanks(3) { world in
      if world.rank == 1 {
        world.fail("no room on the disk")
      } else {
        _ = try world.receive(from: world.rank == 0 ? 1 : 0)
      }
    }
    for rank in [0, 2] {
      #expect(message(results[rank]).contains("failed: no room on the disk"), "\(message(results[rank]))")
    }
    #expect(Date().timeIntervalSince(start) < 15)
  }

  @Test func theLaunchersLinesAreRead() throws {
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    let news = News(ends[0])
    #expect(news.next() == nil)
    let text = News.line(rank: 2, signal: SIGKILL, code: 0) + News.line(rank: 1, signal: nil, code: 3) + "nonsense\n"
    _ = Array(text.utf8).withUnsafeBytes { write(ends[1], $0.baseAddress, $0.count) }
    #expect(news.next()?.text.contains("SIGKILL") == true)
    #expect(news.next()?.text == "ended with code 3")
    #expect(news.next() == nil)
    for end in ends { close(end) }
  }
}
