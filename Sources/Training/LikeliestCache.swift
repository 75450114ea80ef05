import Torch

// Shapes: S tokens, K of the vocabulary.

/// The teacher's likeliest tokens on disk: 6 bytes for each of the K, and two for all others.
struct LikeliestCache: Sendable {
  let rule: LikeliestRule
  private let files: RowFiles

  /// - Parameter directory: of one teacher and one division of data into rows; others' rules have other places in it.
  init(directory: String, rule: LikeliestRule) {
    self.rule = rule
    // Logarithms are rounded by 1/2048 of themselves at most: a probability of 2% by a thousandth, one of a millionth by four.
    files = RowFiles(
      directory: "\(directory)/likeliest-\(rule.count)-\(rule.temperature)", kind: "likeliest",
      parts: [(rule.count, .int32), (rule.count + 1, .float16)])
  }

  /// - Returns: nil where there is no such row.
  func read(_ row: String, tokens: Int) -> LikeliestTokens? {
    files.read(row, tokens: tokens).flatMap { try? unpacked($0) }
  }

  /// - Returns: what will be read, so that whoever computes a row learns from the same numbers as those who read it.
  func write(_ row: String, _ likeliest: LikeliestTokens) throws -> LikeliestTokens {
    let packed = [try likeliest.ids.to(.int32), try likeliest.logs.to(.float16)]
    try files.write(row, packed)
    return try unpacked(packed)
  }

  /// Probabilities that were rounded add up to one again.
  private func unpacked(_ parts: [Tensor]) throws -> LikeliestTokens {
    let logs = try parts[1].to(.float32)
    return LikeliestTokens(
      ids: try parts[0].to(.int64), logs: try logs.subtracting(logs.logSumExp(dims: [1], keepDim: true)))
  }
}
