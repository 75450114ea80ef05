#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Which candidates still have a chance while they are scored, item by item in a random order.
///
/// A candidate is out when it is unlikely to end up more than a standard error above the leader, were both asked everything:
/// differences smaller than that are noise of the questions themselves. The difference over all N items, given the n
/// seen, is normal around the mean difference with the variance s²/n × (N − n)/N (sampling without replacement; Cochran
/// 1977, Sampling Techniques, ch. 2), s² from paired differences. Racing of this kind goes back to Maron & Moore (1993).
public struct Race: Sendable {
  /// Items in the order in which they are asked, round by round.
  public let rounds: [[Int]]
  /// Candidates that are still in, ascending.
  public private(set) var survivors: [Int]

  /// How unlikely, in standard deviations of a normal distribution: one in 44.
  public static let threshold = 2.0

  private let items: Int

  /// - Parameters:
  ///   - items: questions or rows in all.
  ///   - seed: of their order.
  ///   - candidates: how many race.
  public init(items: Int, candidates: Int, seed: UInt64) {
    self.items = items
    survivors = Array(0..<candidates)
    var generator = SplitMix(state: seed)
    let order = Array(0..<items).shuffled(using: &generator)
    var rounds: [[Int]] = []
    // First as many as tell apart what is far apart; then in steps that keep rounds few.
    var end = min(items, max(items / 12, min(64, items / 4), 4))
    var start = 0
    while start < items {
      rounds.append(Array(order[start..<end]))
      start = end
      end = min(items, max(end * 8 / 5, end + 1))
    }
    self.rounds = rounds
  }

  /// Whether there is nothing left to ask.
  public func isOver(afterRounds count: Int) -> Bool { survivors.count < 2 || count >= rounds.count }

  /// The best of those still in; of equal ones the earlier.
  public func leader(_ scores: [ItemScores]) -> Int {
    survivors.max { (scores[$0].mean, $1) < (scores[$1].mean, $0) } ?? 0
  }

  /// Drops candidates that are out.
  ///
  /// - Parameter scores: of all candidates, so far.
  public mutating func judge(_ scores: [ItemScores]) {
    let leader = leader(scores)
    survivors = survivors.filter { candidate in
      candidate == leader || Self.normal(-chance(candidate, over: leader, scores)) > Self.normal(-Self.threshold)
    }
  }

  /// How sure it is that no candidate would score more than a standard error above the winner over all items: one less
  /// the sum of the chances that one does.
  public func certainty(of winner: Int, _ scores: [ItemScores]) -> Double {
    let chances = scores.indices.filter { $0 != winner }.map { Self.normal(-chance($0, over: winner, scores)) }
    return max(0, 1 - chances.reduce(0, +))
  }

  /// Standard deviations between what is expected and a final difference of a standard error in the candidate's favour.
  private func chance(_ candidate: Int, over leader: Int, _ scores: [ItemScores]) -> Double {
    let (own, best) = scores[candidate].common(with: scores[leader])
    let seen = Double(own.count)
    let left = (Double(items) - seen) / Double(items)
    let difference = best.mean - own.mean
    let margin = scores[leader].standardError * (Double(scores[leader].count) / Double(items)).squareRoot()
    // Few answers that happen to agree prove little: one more that differs as much as answers do is added.
    let spread = best.standardError * seen.squareRoot()
    let paired = best.pairedError(with: own)
    let deviation = ((paired * paired + spread * spread / (seen * seen)) * left).squareRoot()
    guard deviation > 0 else { return difference + margin > 0 ? .infinity : -.infinity }
    return (difference + margin) / deviation
  }

  /// The standard normal distribution.
  private static func normal(_ x: Double) -> Double { erfc(-x / 2.0.squareRoot()) / 2 }

  /// SplitMix64 (Steele et al. 2014): the same order everywhere.
  private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
  }
}
