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
  /// `[M, H]` → `[M, R]`, in the type computed with.
  func products(_ states: Tensor, _ rows: Range<Int>) throws -> Tensor
  /// Logits of such products: in float32, or these themselves where they are the logits.
  func logits(of products: Tensor, _ rows: Range<Int>) throws -> Tensor
}

/// Some tokens' logits of some rows of the vocabulary.
package struct LogitBlock {
  package let tokens: Range<Int>
  package let rows: Range<Int>
  /// The student's, `[M, R]`.
  package let logits: Tensor
}

/// The losses of a micro-batch's tokens, and what the student's last states and head change them by.
///
/// As many tokens are taken at a time as there is room for the logits of, so that these are computed once. Of those the vocabulary
/// is taken a slice at a time, twice: for the sums that probabilities are divided by, and for the gradients.
package struct VocabularyLoss {
  /// Rows of the vocabulary at a time. Fewer make small products, more need more memory.
  private let slice: Int
  /// Bytes of logits that are kept for the second time, and the fewest tokens at a time whatever they take: gradients of the
  /// head are read and written for each such group.
  private let keptBytes: Int, leastTokens: Int

  private let rule: LossRule

  package init(rule: LossRule, slice: Int = 4096, keptBytes: Int = 256 << 20, leastTokens: Int = 128) {
    (self.rule, self.slice, self.keptBytes, self.leastTokens) = (rule, slice, keptBytes, leastTokens)
  }

  /// - Parameters:
  ///   - states: the student's, after the final norm, `[M, H]`.
  ///   - teacher: the teacher's states, `[M, H']`, and its head; nil for cross-entropy alone.
  ///   - targets: the next tokens, `[M]` int64.
  ///   - weights: of each token in the sums, `[M]` float32.
  ///   - backward: called with a block of logits and the gradient by them, `[M, R]` in their type; nil where only the losses
  ///     are wanted.
  /// - Returns: the losses, × the rule's shares nowhere.
  package func callAsFunction(
    _ states: Tensor, head: any SlicedHead, teacher: (states: Tensor, head: any SlicedHead)?, targets: Tensor,
    weights: Tensor, backward: ((_ block: LogitBlock, _ slope: Tensor) throws -> Void)?
  ) throws -> LossSums {
    let bytes = states.dtype.byteCount + (teacher?.states.dtype.byteCount ?? 0)
    let most = max(keptBytes / (bytes * head.vocabulary), leastTokens)
    let count = states.shape[0]
    let groups = (count + most - 1) / most
    var losses = LossSums()
    for group in 0..<groups {
      let tokens = count * group / groups..<count * (group + 1) / groups
      func part(_ tensor: Tensor) throws -> Tensor {
        try tensor.narrow(dim: 0, start: tokens.lowerBound, length: tokens.count)
      }
      let sides = (
        own: Side(try part(states), head), other: try teacher.map { Side(try part($0.states), $0.head) }
      )
      losses = losses + (try measure(tokens, sides, targets: part(targets), weights: part(weights), backward))
    }
    return losses
  }

  /// The losses of some tokens.
  private func measure(
    _ tokens: Range<Int>, _ sides: (own: Side, other: Side?), targets: Tensor, weights: Tensor,
    _ backward: ((LogitBlock, Tensor) throws -> Void)?
  ) throws -> LossSums {
    var (own, other) = sides
    let vocabulary = own.head.vocabulary
    let slices = stride(from: 0, to: vocabulary, by: slice).map { $0..<min($0 + slice, vocabulary) }
    let least = try rule.topK.flatMap { $0 < vocabulary ? try other?.least(ofTop: $0, slices) : nil }
    let isSoft = other != nil && (rule.temperature != 1 || least != nil)
    let scale = 1 / rule.temperature
    var targetLogits = try Tensor.zeros(targets.shape, dtype: .float32)
    var (plain, soft, teacherSoft): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
    for rows in slices {
      let (logits, theirs) = (try own.logits(rows), try other?.logits(rows))
      targetLogits = try targetLogits.adding(Self.picked(logits, targets, rows))
      plain.append(try logits.logSums())
      guard let theirs else { continue }
      let choice = least == nil ? nil : theirs
      if isSoft { soft.append(try logits.logSums(scaledBy: scale, where: choice, atLeast: least)) }
      teacherSoft.append(try theirs.logSums(scaledBy: scale, where: choice, atLeast: least))
    }
    let sums = try Self.joined(plain)
    var losses = LossSums()
    losses.crossEntropy = try sums.subtracting(targetLogits).multiplied(by: weights).sum(dtype: .float64).item()
    guard backward != nil || other != nil else { return losses }
    let terms = VocabularyTerms(
      plain: sums,
      soft: other == nil ? nil : (isSoft ? try Self.joined(soft) : sums, try Self.joined(teacherSoft)), least: least,
      weights: weights, scale: scale, divergence: rule.divergence * rule.temperature, crossEntropy: rule.crossEntropy)
    for rows in slices {
      let (logits, theirs) = (try own.last(rows), try other?.last(rows))
      let found = try terms(
        logits, teacher: theirs, targets: targets.subtracting(Double(rows.lowerBound)), wantsSlope: backward != nil)
      if let gaps = found.gaps { losses.divergence += try gaps.multiplied(by: weights).sum(dtype: .float64).item() }
      if let slope = found.slope { try backward?(LogitBlock(tokens: tokens, rows: rows, logits: logits), slope) }
    }
    losses.divergence *= rule.temperature * rule.temperature
    return losses
  }

  /// Of stretches' sums that of all of them, `[M]`.
  private static func joined(_ sums: [Tensor]) throws -> Tensor { try Tensor.stack(sums, dim: 0).logSumExp(dims: [0]) }

  /// The logits of the targets that lie in a slice, elsewhere zero: `[M]`.
  private static func picked(_ logits: Tensor, _ targets: Tensor, _ rows: Range<Int>) throws -> Tensor {
    let index = try targets.subtracting(Double(rows.lowerBound))
    let isInside = try index.ge(0).logicalAnd(index.lt(Double(rows.count)))
    let places = try index.clamp(min: 0, max: Double(rows.count - 1)).unsqueeze(1)
    let found = try logits.gather(dim: 1, index: places).squeeze(1).to(.float32)
    return try Tensor.where(isInside, found, .zeros(found.shape, dtype: .float32))
  }

  /// One model's logits.
  private struct Side {
    let head: any SlicedHead
    private let states: Tensor
    /// Products by the first row of their slice: half the memory of logits where they are bfloat16.
    private var kept: [Int: Tensor] = [:]

    init(_ states: Tensor, _ head: any SlicedHead) { (self.states, self.head) = (states, head) }

    mutating func logits(_ rows: Range<Int>) throws -> Tensor {
      let products = try kept[rows.lowerBound] ?? head.products(states, rows)
      kept[rows.lowerBound] = products
      return try head.logits(of: products, rows)
    }

    /// The same when nobody asks for them again.
    mutating func last(_ rows: Range<Int>) throws -> Tensor {
      defer { kept[rows.lowerBound] = nil }
      return try logits(rows)
    }

    /// The least of each token's largest logits, `[M]` float32.
    mutating func least(ofTop count: Int, _ slices: [Range<Int>]) throws -> Tensor? {
      var top: Tensor?
      for rows in slices {
        let logits = try logits(rows)
        let all = try top.map { try Tensor.cat([$0, logits], dim: 1) } ?? logits
        top = try all.topK(min(count, all.shape[1]), dim: 1).values
      }
      return try top?.amin(dims: [1]).to(.float32)
    }
  }
}
