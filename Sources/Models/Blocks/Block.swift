public import Torch

// Shapes: B rows, S tokens, H hidden.

/// The part of a layer between its norm and the residual sum: attention, an MLP, …
public protocol Block: Sendable {
  var weights: [Weight] { get }
  /// Where its activations are looked at: one tap for each of its axes that can be pruned.
  var taps: [Tap] { get }
  /// - Parameters:
  ///   - x: `[B, S, H]`, the norm's output.
  ///   - weights: this layer's weights, whole or sliced: blocks take sizes from them.
  ///   - context: positions, lengths, caches and observers of this pass.
  /// - Returns: `[B, S, H]`, to be added to the residual stream.
  func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor
  /// Elements kept between tokens while generating, for `rows` sequences of `tokens`: keys and values, or a
  /// state of fixed size. Full attention is assumed, whatever the window (as the reference's memory estimate does).
  func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int
  /// The same in bytes: of a sliding window's tokens only, and states in the type that they are kept in. Keys, values and what
  /// says nothing else takes 16 bits.
  func cacheBytes(rows: Int, tokens: Int, sizes: Sizes) -> Int
  /// Elements kept of one sequence of `tokens` where many are continued together, step by step.
  func steppedElements(tokens: Int, sizes: Sizes) -> Int
  /// Whether what it keeps grows with the tokens: the keys and values of attention.
  var cachesTokens: Bool { get }
  /// The parameters that one token uses; all of them but where routing picks experts.
  func activeElements(sizes: Sizes) -> Int
  /// Floating-point operations for rows of so many tokens, each by itself: two a weight and token, and what attention or a
  /// recurrence computes between tokens.
  func operations(rows: [Int], sizes: Sizes) -> Double
  /// Weights beside a factor that the architecture computes from sizes: what is written makes up for its change.
  var sizeFactors: [(weight: Weight, factor: @Sendable (Sizes) -> Double)] { get }
  /// Whether it also reads the residual stream as it is (`ForwardContext.stream`).
  var readsStream: Bool { get }
  /// What it does with the tokens of a row; rows are one sequence where a block does not say.
  var mixing: TokenMixing { get }
  /// Projections of the same input, that may be multiplied as one where they have no biases: `LayerWeights.joint`.
  var jointProjections: [[Linear]] { get }
  /// Of its weights those that only some tokens meet, and how many experts each token goes to.
  var expertWeights: [Weight] { get }
  var expertsPerToken: Int { get }
  /// One expert's part of a weight as a projection `[out, in]`, for `LayerWeights.packed`; nil where it is none.
  func expertProjection(_ weight: Weight, of part: Tensor) throws -> Tensor?
}

extension Block {
  public var taps: [Tap] { [] }
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int { 0 }
  public func cacheBytes(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    2 * cacheElements(rows: rows, tokens: tokens, sizes: sizes)
  }
  public func steppedElements(tokens: Int, sizes: Sizes) -> Int {
    cacheElements(rows: 1, tokens: tokens, sizes: sizes)
  }
  public var cachesTokens: Bool { false }
  public func activeElements(sizes: Sizes) -> Int { weights.reduce(0) { $0 + $1.elementCount(sizes) } }
  public func operations(rows: [Int], sizes: Sizes) -> Double { productOperations(rows: rows, sizes: sizes) }
  /// Two a weight and token.
  func productOperations(rows: [Int], sizes: Sizes) -> Double {
    2 * Double(activeElements(sizes: sizes)) * Double(rows.reduce(0, +))
  }
  public var sizeFactors: [(weight: Weight, factor: @Sendable (Sizes) -> Double)] { [] }
  public var readsStream: Bool { false }
  public var mixing: TokenMixing { .rows }
  public var jointProjections: [[Linear]] { [] }
  public var expertWeights: [Weight] { [] }
  public var expertsPerToken: Int { 0 }
  public func expertProjection(_ weight: Weight, of part: Tensor) throws -> Tensor? { nil }
}
