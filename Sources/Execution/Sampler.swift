#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

import Models

/// Chooses the next token from logits: the most likely one, or by chance among the likely ones. The cuts and their
/// order are those of `transformers`' `generate`: temperature, top-k, top-p (Holtzman et al. 2019, arXiv 1904.09751).
public struct Sampler: Sendable {
  /// Divides the logits; 0 chooses the most likely token.
  public var temperature: Double
  /// Only this many of the most likely tokens; 0: all.
  public var topK: Int
  /// Only the most likely tokens that together have at least this probability; 1: all.
  public var topP: Double
  private var state: UInt64

  /// - Parameters:
  ///   - seed: the same one gives the same choices.
  ///   - topK: tokens that are kept; 0 for all.
  ///   - temperature: divides logits; 0 takes the largest.
  ///   - topP: the share of probability that is kept.
  public init(temperature: Double = 0, topK: Int = 0, topP: Double = 1, seed: UInt64 = 0) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    state = seed
  }

  /// - Parameter logits: one for each token of the vocabulary.
  /// - Throws: `ModelError` when there are none, or one is NaN or infinite.
  public mutating func next(_ logits: [Float]) throws -> Int {
    guard let largest = logits.max(), logits.allSatisfy(\.isFinite) else {
      throw ModelError("the model's logits are not finite: the weights hold NaN or infinite values")
    }
    // The first of equal ones, as argmax has it.
    guard temperature > 0 else { return logits.firstIndex(of: largest) ?? 0 }
    func weight(_ token: Int) -> Double { exp((Double(logits[token]) - Double(largest)) / temperature) }
    var order = topK > 0 && topK < logits.count ? Self.largest(topK, logits) : Array(logits.indices)
    var weights = order.map(weight)
    if topP < 1 {
      let limit = topP * weights.reduce(0, +)
      var likely = Self.likely(limit, weights).map { (token: order[$0], weight: weights[$0]) }
      likely.sort { (logits[$0.token], $1.token) > (logits[$1.token], $0.token) }
      var sum = 0.0
      // The token that reaches the limit still belongs: there is always one.
      let last = likely.firstIndex {
        sum += $0.weight
        return sum >= limit
      }
      if let last { likely = Array(likely[...last]) }
      (order, weights) = (likely.map(\.token), likely.map(\.weight))
    }
    var left = uniform() * weights.reduce(0, +)
    for (token, weight) in zip(order, weights) {
      left -= weight
      if left < 0 { return token }
    }
    return order.last ?? 0
  }

  /// The tokens with the largest logits, those first; of equal ones the first. The rest of the vocabulary is not sorted.
  private static func largest(_ count: Int, _ logits: [Float]) -> [Int] {
    var best: [Int] = []
    for (token, logit) in logits.enumerated() {
      if best.count == count {
        guard let last = best.last, logit > logits[last] else { continue }
        best.removeLast()
      }
      var (low, high) = (0, best.count)
      while low < high {
        let middle = (low + high) / 2
        if logits[best[middle]] >= logit { low = middle + 1 } else { high = middle }
      }
      best.insert(token, at: low)
    }
    return best
  }

  /// Indices of weights among which are the largest ones that together reach `limit`: few of a large vocabulary.
  private static func likely(_ limit: Double, _ weights: [Double]) -> [Int] {
    var least = 1e-3
    while least > 1e-12 {
      let some = weights.indices.filter { weights[$0] >= least }
      // With something to spare for the order in which they are added.
      if some.reduce(0, { $0 + weights[$1] }) > limit * (1 + 1e-9) { return some }
      least *= 1e-3
    }
    return Array(weights.indices)
  }

  /// A number in 0 ..< 1 (SplitMix64, Steele et al. 2014).
  private mutating func uniform() -> Double {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Double((z ^ (z >> 31)) >> 11) / 9_007_199_254_740_992
  }
}
