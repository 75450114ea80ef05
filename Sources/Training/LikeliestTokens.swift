package import Torch

// Shapes: M tokens, H hidden, V vocabulary, K of its tokens.

/// How much is taken of a distribution.
public struct LikeliestRule: Sendable, Equatable {
  /// K: the likeliest tokens, of which each has its probability; all others have one together.
  public var count: Int
  /// What logits are divided by before they are probabilities.
  public var temperature: Double

  public init(count: Int, temperature: Double = 1) { (self.count, self.temperature) = (count, temperature) }
}

/// Of each distribution of the next token the likeliest tokens, and the probability of all others together.
package struct LikeliestTokens {
  /// Log-probabilities below are no different from this: zero, and yet a number that can be told from others.
  static let leastLog = -3e4

  /// `[M, K]` int64.
  package let ids: Tensor
  /// Log-probabilities in nats, of the others together in the last place: `[M, K + 1]` float32.
  package let logs: Tensor

  package init(ids: Tensor, logs: Tensor) { (self.ids, self.logs) = (ids, logs) }

  /// - Parameters:
  ///   - states: of a model, after the final norm, `[M, H]`.
  ///   - rule: K of it is at most V.
  package init(
    of states: Tensor, head: any SlicedHead, _ rule: LikeliestRule, slices: VocabularySlices = VocabularySlices()
  ) throws {
    let rows = slices.rows(of: head.vocabulary)
    var (ids, logs): ([Tensor], [Tensor]) = ([], [])
    for tokens in slices.groups(of: states.shape[0], bytes: states.dtype.byteCount * head.vocabulary) {
      var side = SlicedLogits(try states.narrow(dim: 0, tokens), head)
      guard let largest = try side.largest(rule.count, rows)?.ids else { continue }
      ids.append(largest)
      logs.append(try side.outcomes(of: largest, rows, scale: 1 / rule.temperature).logs)
    }
    self.init(ids: try Tensor.cat(ids, dim: 0), logs: try Tensor.cat(logs, dim: 0))
  }

  func placed(on device: Device) throws -> LikeliestTokens {
    LikeliestTokens(ids: try ids.to(device: device), logs: try logs.to(device: device))
  }

  /// Those of some tokens.
  func part(_ tokens: Range<Int>) throws -> LikeliestTokens {
    LikeliestTokens(ids: try ids.narrow(dim: 0, tokens), logs: try logs.narrow(dim: 0, tokens))
  }
}

/// What is known of a teacher's distributions.
package enum Teaching {
  /// All of it: states after the final norm, `[M, H]`, and the head that makes logits of them.
  case states(Tensor, head: any SlicedHead)
  /// Its likeliest tokens.
  case likeliest(LikeliestTokens)

  /// Bytes of a logit where logits have to be made.
  var logitBytes: Int {
    switch self {
    case .states(let states, _): states.dtype.byteCount
    case .likeliest: 0
    }
  }
}

extension SlicedLogits {
  /// What a model makes of some tokens of the vocabulary and of all others together.
  struct Outcomes {
    /// Logits of those tokens, `[M, K]` float32.
    let logits: Tensor
    /// Log-probabilities, of the others together in the last place: `[M, K + 1]` float32.
    let logs: Tensor
    /// log Σ e^(scale × logit) over the whole vocabulary, `[M]`.
    let sum: Tensor
  }

  /// The probability of the others is added up from theirs: what the first K leave of one would be rounding where it is small.
  ///
  /// - Parameters:
  ///   - ids: `[M, K]` int64, each token at most once.
  ///   - scale: what logits are multiplied by.
  ///   - also: called with the logits of each slice.
  mutating func outcomes(
    of ids: Tensor, _ slices: [Range<Int>], scale: Double, also: (Tensor, Range<Int>) throws -> Void = { _, _ in }
  ) throws -> Outcomes {
    var picked = try Tensor.zeros(ids.shape, dtype: .float32, device: ids.device)
    var tails: [Tensor] = []
    for rows in slices {
      let logits = try logits(rows)
      try also(logits, rows)
      let places = try SlicePlaces(ids, rows)
      picked = try picked.adding(places.picked(of: logits))
      tails.append(try places.leftOut(of: logits).logSums(scaledBy: scale))
    }
    let all = try Tensor.cat([picked.multiplied(by: scale), Self.joined(tails).unsqueeze(1)], dim: 1)
    let sum = try all.logSumExp(dims: [1])
    let logs = try all.subtracting(sum.unsqueeze(1)).clamp(min: LikeliestTokens.leastLog)
    return Outcomes(logits: picked, logs: logs, sum: sum)
  }
}

extension SlicePlaces {
  /// Logits of a slice, minus infinity where the ids stand: `[M, R]`.
  func leftOut(of logits: Tensor) throws -> Tensor {
    try adding(.full(shape, -.infinity, dtype: .float32, device: logits.device), to: logits)
  }
}
