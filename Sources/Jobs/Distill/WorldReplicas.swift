import Ranks
import Torch
import Training

/// Processes that learn together, as the ranks of a world.
struct WorldReplicas: Replicas {
  let world: World

  var rank: Int { world.rank }
  var count: Int { world.size }

  func sum(_ numbers: [Double]) throws -> [Double] {
    guard !world.isAlone else { return numbers }
    let own = numbers.flatMap { number in withUnsafeBytes(of: number.bitPattern.littleEndian) { Array($0) } }
    let all = try world.gather(own, to: 0)
    var sums = [Double](repeating: 0, count: numbers.count)
    for bytes in all {
      for (place, number) in Self.numbers(bytes).enumerated().prefix(sums.count) { sums[place] += number }
    }
    let added = sums.flatMap { number in withUnsafeBytes(of: number.bitPattern.littleEndian) { Array($0) } }
    return Self.numbers(try world.broadcast(added, from: 0))
  }

  private static func numbers(_ bytes: [UInt8]) -> [Double] {
    bytes.withUnsafeBytes { all in
      stride(from: 0, to: bytes.count - 7, by: 8).map {
        Double(bitPattern: UInt64(littleEndian: all.loadUnaligned(fromByteOffset: $0, as: UInt64.self)))
      }
    }
  }

  func send(_ tensor: Tensor, to rank: Int) throws { try world.send(tensor, to: rank) }
  func receive(from rank: Int) throws -> Tensor { try world.receive(from: rank) }
}
