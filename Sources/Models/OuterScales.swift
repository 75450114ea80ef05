public import Torch

/// What multiplies embeddings and logits in some families.
public struct OuterScales: Sendable {
  /// The factor on embeddings. Where the architecture computes it from hidden_size itself (Gemma: its square
  /// root) it follows the sizes, and the exported weights have to make up for its change.
  public let embedding: (@Sendable (Sizes) -> Double)?
  /// The factor on logits; nil for one.
  public let logits: Double?
  /// Logits pass through `softcap × tanh(logit / softcap)`, after the factor; nil for none.
  public let softcap: Double?

  public init(embedding: (@Sendable (Sizes) -> Double)? = nil, logits: Double? = nil, softcap: Double? = nil) {
    self.embedding = embedding
    self.logits = logits
    self.softcap = softcap
  }
}

extension OuterScales {
  /// What embeddings are multiplied by, rounded to the type computed with, as Gemma was trained; nil for nothing.
  public func embeddingFactor(_ sizes: Sizes, dtype: DType) throws -> Tensor? {
    try embedding.map { try Tensor([Float($0(sizes))], shape: [1]).to(dtype) }
  }

  /// Logits in float32 of states' products with the head: with its bias, scaled and capped.
  ///
  /// - Parameters:
  ///   - products: `[M, R]`, of R rows of the vocabulary.
  ///   - bias: of these rows, `[R]`; nil for none.
  ///   - widening: whether products that are the logits already become float32, too.
  public func logits(of products: Tensor, bias: Tensor?, widening: Bool = true) throws -> Tensor {
    guard widening || bias != nil || logits != nil || softcap != nil else { return products }
    var logits = try products.to(.float32)
    if let bias { logits = try logits.adding(bias.to(.float32)) }
    if let factor = self.logits { logits = try logits.multiplied(by: factor) }
    if let softcap { logits = try logits.divided(by: softcap).tanh().multiplied(by: softcap) }
    return logits
  }
}
