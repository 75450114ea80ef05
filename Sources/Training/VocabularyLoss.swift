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

/// The losses of a micro-batch's tokens, and what the student's last states and head change them by.
///
/// As many tokens are taken at a time as there is room for the logits of, so that these are computed once. Of those the vocabulary
/// is taken a slice at a time, twice: for the sums that probabilities are divided by, and for the gradients.
package struct VocabularyLoss {
  let rule: LossRule
  let slices: VocabularySlices

  package init(rule: LossRule, slices: VocabularySlices = VocabularySlices()) {
    (self.rule, self.slices) = (rule, slices)
  }

  /// - Parameters:
  ///   - states: the student's, after the final norm, `[M, H]`.
  ///   - teacher: what is known of the teacher's distributions; nil for cross-entropy alone. Of its likeliest tokens the divergence is
  ///     that of K + 1 outcomes, whatever the rule's `topK`.
  ///   - targets: the next tokens, `[M]` int64.
  ///   - weights: of each token in the sums, `[M]` float32.
  ///   - backward: called with a block of logits and the gradient by them, `[M, R]` in their type; nil where only the losses
  ///     are wanted.
  /// - Returns: the losses, × the rule's shares nowhere.
  package func callAsFunction(
    _ states: Tensor, head: any SlicedHead, teacher: Teaching?, targets: Tensor, weights: Tensor,
    backward: ((_ block: LogitBlock, _ slope: Tensor) throws -> Void)?
  ) throws -> LossSums {
    let bytes = (states.dtype.byteCount + (teacher?.logitBytes ?? 0)) * head.vocabulary
    var losses = LossSums()
    for tokens in slices.groups(of: states.shape[0], bytes: bytes) {
      let group = TokenGroup(
        tokens: tokens, targets: try targets.narrow(dim: 0, tokens), weights: try weights.narrow(dim: 0, tokens))
      let own = SlicedLogits(try states.narrow(dim: 0, tokens), head)
      switch teacher {
      case .likeliest(let likeliest):
        losses = losses + (try measure(group, own, likeliest: likeliest.part(tokens), backward))
      case .states(let states, let head):
        let other = SlicedLogits(try states.narrow(dim: 0, tokens), head)
        losses = losses + (try measure(group, own, other, backward))
      case nil: losses = losses + (try measure(group, own, nil, backward))
      }
    }
    return losses
  }

  /// Some tokens, with the next of each and its weight: `[M]`.
  struct TokenGroup {
    let tokens: Range<Int>
    let targets: Tensor, weights: Tensor

    /// Σ of each token's number × its weight.
    func sum(_ values: Tensor) throws -> Double { try values.multiplied(by: weights).sum(dtype: .float64).item() }
  }

  /// The losses of some tokens.
  private func measure(
    _ group: TokenGroup, _ own: SlicedLogits, _ other: SlicedLogits?, _ backward: ((LogitBlock, Tensor) throws -> Void)?
  ) throws -> LossSums {
    var (own, other) = (own, other)
    let slices = slices.rows(of: own.vocabulary)
    let least = try rule.topK.flatMap { $0 < own.vocabulary ? try other?.least(ofTop: $0, slices) : nil }
    let isSoft = other != nil && (rule.temperature != 1 || least != nil)
    let scale = 1 / rule.temperature
    var targetLogits = try Tensor.zeros(group.targets.shape, dtype: .float32, device: group.targets.device)
    var (plain, soft, teacherSoft): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
    for rows in slices {
      let (logits, theirs) = (try own.logits(rows), try other?.logits(rows))
      targetLogits = try targetLogits.adding(SlicePlaces(group.targets, rows).picked(of: logits))
      plain.append(try logits.logSums())
      guard let theirs else { continue }
      let choice = least == nil ? nil : theirs
      if isSoft { soft.append(try logits.logSums(scaledBy: scale, where: choice, atLeast: least)) }
      teacherSoft.append(try theirs.logSums(scaledBy: scale, where: choice, atLeast: least))
    }
    let sums = try SlicedLogits.joined(plain)
    var losses = LossSums()
    losses.crossEntropy = try group.sum(sums.subtracting(targetLogits))
    guard backward != nil || other != nil else { return losses }
    let both = try other.map { _ in
      (own: isSoft ? try SlicedLogits.joined(soft) : sums, teacher: try SlicedLogits.joined(teacherSoft))
    }
    let terms = VocabularyTerms(
      plain: sums, soft: both, least: least, weights: group.weights, scale: scale,
      divergence: rule.divergence * rule.temperature, crossEntropy: rule.crossEntropy)
    for rows in slices {
      let (logits, theirs) = (try own.last(rows), try other?.last(rows))
      let found = try terms(
        logits, teacher: theirs, targets: group.targets.subtracting(Double(rows.lowerBound)),
        wantsSlope: backward != nil)
      if let gaps = found.gaps { losses.divergence += try group.sum(gaps) }
      if let slope = found.slope { try backward?(LogitBlock(tokens: group.tokens, rows: rows, logits: logits), slope) }
    }
    losses.divergence *= rule.temperature * rule.temperature
    return losses
  }
}
