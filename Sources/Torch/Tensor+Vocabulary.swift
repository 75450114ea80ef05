import CTorch

// Shapes: M tokens, R rows of a stretch of the vocabulary.

extension Tensor {
  /// log Σ e^(scale × logit) of each token over a stretch of the vocabulary: `[M, R]` → `[M]` float32. In one go, without copies.
  ///
  /// - Parameters:
  ///   - choice: `[M, R]`, with which only those have a part whose number in it is no less than the token's `least`.
  ///   - least: `[M]` float32. A token without any gets minus infinity.
  /// - Throws: `TorchError` where shapes or types do not fit.
  public func logSums(scaledBy scale: Double = 1, where choice: Tensor? = nil, atLeast least: Tensor? = nil) throws
    -> Tensor
  {
    try Self.make(self, choice, least) { $0.pointee.log_sums(handle, choice?.handle, least?.handle, scale, &$1) }
  }
}

/// A loss of next tokens' distributions over a vocabulary whose logits come in stretches: weight × (divergence ×
/// KL(teacher ‖ student) + crossEntropy × that of the target), summed over tokens.
public struct VocabularyTerms {
  /// log Σ e^logit of the student over the whole vocabulary, `[M]`.
  public var plain: Tensor
  /// The same of both sides as the divergence takes them; nil without one.
  public var soft: (own: Tensor, teacher: Tensor)?
  /// What the teacher's logit must at least be for a token of the vocabulary to have a part in the divergence, `[M]`; nil for all.
  public var least: Tensor?
  /// `[M]` float32.
  public var weights: Tensor
  /// What logits are multiplied by for the divergence.
  public var scale: Double
  /// The factor on the difference of both sides' probabilities, and that on the cross-entropy.
  public var divergence: Double, crossEntropy: Double

  public init(
    plain: Tensor, soft: (own: Tensor, teacher: Tensor)?, least: Tensor?, weights: Tensor, scale: Double,
    divergence: Double, crossEntropy: Double
  ) {
    (self.plain, self.soft, self.least, self.weights) = (plain, soft, least, weights)
    (self.scale, self.divergence, self.crossEntropy) = (scale, divergence, crossEntropy)
  }

  /// What a stretch of the vocabulary has of it.
  ///
  /// - Parameters:
  ///   - logits: the student's, `[M, R]`.
  ///   - teacher: the teacher's; nil without a divergence.
  ///   - targets: the next tokens, `[M]` int64, counted from the stretch's first row; those outside it have no part.
  ///   - wantsSlope: whether the gradient by the logits is wanted.
  /// - Returns: Σ of the teacher's share × the logarithms' difference of each token, `[M]` float32, nil without a teacher; the gradient by
  ///   the logits, `[M, R]` in their type, nil where it is not wanted.
  /// - Throws: `TorchError` where shapes or types do not fit.
  public func callAsFunction(
    _ logits: Tensor, teacher: Tensor?, targets: Tensor, wantsSlope: Bool
  ) throws -> (gaps: Tensor?, slope: Tensor?) {
    let api = try LibTorch.api
    var call = ct_vocabulary_loss(
      logits: logits.handle, teacher: teacher?.handle, plain: plain.handle, soft: soft?.own.handle,
      teacher_soft: soft?.teacher.handle, least: least?.handle, weights: weights.handle, targets: targets.handle,
      scale: scale, divergence: divergence, cross_entropy: crossEntropy, wants_slope: wantsSlope)
    var (gaps, slope): (OpaquePointer?, OpaquePointer?)
    defer { withExtendedLifetime((self, logits, teacher, targets)) {} }
    try check(api.pointee.vocabulary_slopes(&call, &gaps, &slope), "vocabularyTerms")
    return (gaps.map { Tensor(owning: $0, api) }, slope.map { Tensor(owning: $0, api) })
  }
}
