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
    let weights = logits.map { exp((Double($0) - Double(largest)) / temperature) }
    var order = Array(logits.indices)
    if topK > 0 || topP < 1 {
      order.sort { (logits[$0], $1) > (logits[$1], $0) }
      if topK > 0 { order = Array(order.prefix(topK)) }
      if topP < 1 {
        let limit = topP * order.reduce(0) { $0 + weights[$1] }
        var sum = 0.0
        // The token that reaches the limit still belongs: there is always one.
        let last = order.firstIndex { token in
          sum += weights[token]
          return sum >= limit
        }
        if let last { order = Array(order[...last]) }
      }
    }
    var left = uniform() * order.reduce(0) { $0 + weights[$1] }
    for token in order {
      left -= weights[token]
      if left < 0 { return token }
    }
    return order.last ?? 0
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
