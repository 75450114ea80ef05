import Models
package import Torch

// Shapes: M tokens, H hidden, V vocabulary, R rows of a slice of it.

/// What a loss is made of.
public struct LossRule: Sendable, Equatable {
  /// The share of KL(teacher ‖ student) of the next token's distribution (Hinton et al. 2015, arXiv 1503.02531); zero for none.
  public var divergence: Double
  /// The share of the cross-entropy of the text's next token; zero for none.
  public var crossEntropy: Double
  /// What logits are divided by for the divergence, which is multiplied by its square.
  public var temperature: Double
  /// Tokens that the divergence is taken over: of each distribution those that the teacher finds likeliest, as if there were no
  /// others, ties included (`TopKLogitsKLLoss` of the reference); nil for all.
  public var topK: Int?
  /// Whether the divergence is first scaled to be as large as the cross-entropy, micro-batch by micro-batch, as the reference
  /// does where it mixes the two.
  public var isBalanced: Bool

  public init(
    divergence: Double = 1, crossEntropy: Double = 0, temperature: Double = 1, topK: Int? = nil,
    isBalanced: Bool = false
  ) {
    (self.divergence, self.crossEntropy, self.temperature) = (divergence, crossEntropy, temperature)
    (self.topK, self.isBalanced) = (topK, isBalanced)
  }

  /// The rule for a micro-batch of these losses.
  package func balanced(by losses: LossSums) -> LossRule {
    var rule = self
    rule.isBalanced = false
    if losses.divergence > 0 { rule.divergence *= losses.crossEntropy / losses.divergence }
    return rule
  }
}

/// Losses of a micro-batch, summed over its tokens by their weights.
public struct LossSums: Sendable, Equatable {
  /// KL(teacher ‖ student) in nats; 0 without a teacher.
  public var divergence = 0.0
  /// Cross-entropy of the text in nats.
  public var crossEntropy = 0.0
  /// The mean over pairs of layers; 0 where none are compared.
  public var intermediate = 0.0

  public init() {}

  static func + (a: LossSums, b: LossSums) -> LossSums {
    var sum = a
    sum.divergence += b.divergence
    sum.crossEntropy += b.crossEntropy
    sum.intermediate += b.intermediate
    return sum
  }
}

/// Makes logits of states, for a stretch of the vocabulary at a time.
package protocol SlicedHead {
  /// V.
  var vocabulary: Int { get }
  /// `[M, H]` → `[M, R]` float32.
  func logits(_ states: Tensor, _ rows: Range<Int>) throws -> Tensor
}

/// The losses of a micro-batch's tokens, and what the student's last states and head change them by.
///
/// The vocabulary is taken a slice at a time, twice: for the sums that probabilities are divided by, and for the gradients. Slices
/// of the first time are used again as long as they take little memory, and computed again otherwise.
package struct VocabularyLoss {
  /// Rows of the vocabulary at a time. Fewer make small products, more need more memory.
  private let slice: Int
  /// Bytes of logits that are kept for the second time.
  private let keptBytes: Int

  private let rule: LossRule

  package init(rule: LossRule, slice: Int = 4096, keptBytes: Int = 256 << 20) {
    (self.rule, self.slice, self.keptBytes) = (rule, slice, keptBytes)
  }

  /// - Parameters:
  ///   - states: the student's, after the final norm, `[M, H]`.
  ///   - teacher: the teacher's states, `[M, H']`, and its head; nil for cross-entropy alone.
  ///   - targets: the next tokens, `[M]` int64.
  ///   - weights: of each token in the sums, `[M]` float32.
  ///   - backward: called with a slice of the vocabulary and the gradient by its logits, `[M, R]` float32; nil where only the
  ///     losses are wanted.
  /// - Returns: the losses, × the rule's shares nowhere.
  package func callAsFunction(
    _ states: Tensor, head: any SlicedHead, teacher: (states: Tensor, head: any SlicedHead)?, targets: Tensor,
    weights: Tensor, backward: ((_ rows: Range<Int>, _ slope: Tensor) throws -> Void)?
  ) throws -> LossSums {
    let vocabulary = head.vocabulary
    let slices = stride(from: 0, to: vocabulary, by: slice).map { $0..<min($0 + slice, vocabulary) }
    let sides = teacher == nil ? 1 : 2
    let keeps = sides * states.shape[0] * vocabulary * 4 <= keptBytes
    var own = Side(states, head, keeps: keeps)
    var other = teacher.map { Side($0.states, $0.head, keeps: keeps) }
    let least = try rule.topK.flatMap { $0 < vocabulary ? try other?.least(ofTop: $0, slices) : nil }
    let isSoft = teacher != nil && (rule.temperature != 1 || least != nil)
    /// Logits as the divergence takes them.
    func softened(_ logits: Tensor, _ theirs: Tensor?) throws -> Tensor {
      let logits = rule.temperature == 1 ? logits : try logits.divided(by: rule.temperature)
      guard let least, let theirs else { return logits }
      return try Tensor.where(theirs.ge(least), logits, Self.nothing)
    }
    var targetLogits = try Tensor.zeros([states.shape[0]], dtype: .float32)
    for rows in slices {
      let (logits, theirs) = (try own.logits(rows), try other?.logits(rows))
      targetLogits = try targetLogits.adding(Self.picked(logits, targets, rows))
      try own.add(logits, softened: isSoft ? softened(logits, theirs) : nil)
      if let theirs { try other?.add(theirs, softened: isSoft ? softened(theirs, theirs) : nil) }
    }
    let (plain, soft) = try own.logSums()
    let teacherSums = try other?.logSums().soft
    var losses = LossSums()
    losses.crossEntropy = try plain.subtracting(targetLogits).multiplied(by: weights).sum(dtype: .float64).item()
    guard backward != nil || teacher != nil else { return losses }
    let column = try weights.unsqueeze(1)
    for rows in slices {
      let logits = try own.last(rows)
      var slope: Tensor?
      if let teacherSums, let found = try other?.last(rows) {
        let theirs = try softened(found, found).subtracting(teacherSums.unsqueeze(1))
        let ours = try softened(logits, found).subtracting(soft.unsqueeze(1))
        let shares = try theirs.exp()
        let gap = try theirs.subtracting(ours).multiplied(by: shares)
        losses.divergence += try gap.sum(dims: [1]).multiplied(by: weights).sum(dtype: .float64).item()
        if backward != nil, rule.divergence != 0 {
          slope = try ours.exp().subtracting(shares)
            .multiplied(by: column.multiplied(by: rule.divergence * rule.temperature))
        }
      }
      guard let backward else { continue }
      if rule.crossEntropy != 0 || slope == nil {
        let text = try logits.subtracting(plain.unsqueeze(1)).exp().subtracting(Self.indicator(targets, rows))
          .multiplied(by: column.multiplied(by: rule.crossEntropy))
        slope = try slope?.adding(text) ?? text
      }
      if let slope { try backward(rows, slope) }
    }
    losses.divergence *= rule.temperature * rule.temperature
    return losses
  }

  /// The logit of what has no part: its probability is zero, and differences of two such are numbers.
  private static var nothing: Tensor { get throws { try Tensor([-1e30 as Float], shape: [1, 1]) } }

  /// Targets within a slice, elsewhere its first row, and where they are.
  private static func places(_ targets: Tensor, _ rows: Range<Int>) throws -> (index: Tensor, isInside: Tensor) {
    let index = try targets.subtracting(Double(rows.lowerBound))
    let isInside = try index.ge(0).logicalAnd(index.lt(Double(rows.count)))
    return (try index.clamp(min: 0, max: Double(rows.count - 1)).unsqueeze(1), isInside)
  }

  /// The logits of the targets that lie in a slice, elsewhere zero: `[M]`.
  private static func picked(_ logits: Tensor, _ targets: Tensor, _ rows: Range<Int>) throws -> Tensor {
    let (index, isInside) = try places(targets, rows)
    let found = try logits.gather(dim: 1, index: index).squeeze(1)
    return try Tensor.where(isInside, found, .zeros(found.shape, dtype: .float32))
  }

  /// 1 at the targets that lie in a slice, `[M, R]`.
  private static func indicator(_ targets: Tensor, _ rows: Range<Int>) throws -> Tensor {
    let (index, isInside) = try places(targets, rows)
    return try Tensor.zeros([targets.shape[0], rows.count], dtype: .float32)
      .scatterAdd(dim: 1, index: index, source: isInside.to(.float32).unsqueeze(1))
  }

  /// One model's logits.
  private struct Side {
    private let states: Tensor
    private let head: any SlicedHead
    private let keeps: Bool
    private var kept: [Int: Tensor] = [:]
    /// log Σ exp of each slice: of logits, and of those that the divergence takes where these are others.
    private var plain: [Tensor] = [], soft: [Tensor] = []

    init(_ states: Tensor, _ head: any SlicedHead, keeps: Bool) {
      (self.states, self.head, self.keeps) = (states, head, keeps)
    }

    mutating func logits(_ rows: Range<Int>) throws -> Tensor {
      let logits = try kept[rows.lowerBound] ?? head.logits(states, rows)
      if keeps { kept[rows.lowerBound] = logits }
      return logits
    }

    /// The same when nobody asks for them again.
    mutating func last(_ rows: Range<Int>) throws -> Tensor {
      try kept.removeValue(forKey: rows.lowerBound) ?? head.logits(states, rows)
    }

    mutating func add(_ logits: Tensor, softened: Tensor?) throws {
      plain.append(try logits.logSumExp(dims: [1]))
      if let softened { soft.append(try softened.logSumExp(dims: [1])) }
    }

    /// The least of each token's largest logits, `[M, 1]`.
    mutating func least(ofTop count: Int, _ slices: [Range<Int>]) throws -> Tensor? {
      var top: Tensor?
      for rows in slices {
        let logits = try logits(rows)
        let all = try top.map { try Tensor.cat([$0, logits], dim: 1) } ?? logits
        top = try all.topK(min(count, all.shape[1]), dim: 1).values
      }
      return try top?.amin(dims: [1], keepDim: true)
    }

    /// Over the whole vocabulary, `[M]`.
    func logSums() throws -> (plain: Tensor, soft: Tensor) {
      let all = try Tensor.stack(plain, dim: 0).logSumExp(dims: [0])
      return (all, soft.isEmpty ? all : try Tensor.stack(soft, dim: 0).logSumExp(dims: [0]))
    }
  }
}
