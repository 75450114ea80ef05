public import Torch

// Shapes: B rows, S tokens, H hidden, C channels.

/// A place where activations are looked at, and the axis that their channels lie on: importance of everything on that
/// axis is measured there. Scores follow in `Minitron`; a tap only says what is seen.
public struct Tap: Hashable, Sendable {
  /// What the channels are, outermost dimension first: `.heads * .headDim` for `[B, S, heads × head_dim]`.
  public let axis: Axis
  /// What is seen, for messages.
  public let name: String
  /// For inputs of a layer's branches, which branch (0-based); nil inside a block.
  public let sublayer: Int?

  private init(_ axis: Axis, _ name: String, sublayer: Int?) {
    self.axis = axis
    self.name = name
    self.sublayer = sublayer
  }

  /// A tap inside a block, `[B, S, axis]`.
  public init(_ axis: Axis, _ name: String) { self.init(axis, name, sublayer: nil) }

  /// The input of a mixer or an MLP (a norm's output): `[B, S, H]`.
  public static func residual(sublayer: Int) -> Tap { Tap(.hidden, "input of a block", sublayer: sublayer) }
}

/// Sees the residual stream.
public protocol StreamObserver: AnyObject {
  /// What a branch of a layer reads, before its norm, and what all of them leave. Not to be kept: its memory is used again. Does
  /// nothing by default.
  ///
  /// - Parameters:
  ///   - sublayer: the branch's number from 0; the number of branches after the last.
  ///   - layer: the original layer's 0-based number.
  ///   - state: `[B, S, H]`.
  ///   - lengths: valid tokens of each of B rows; nil where all rows count.
  func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws
}

extension StreamObserver {
  public func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {}
}

/// Sees activations as they pass. `lengths` are the valid tokens of each row; the rest is padding.
public protocol TapObserver: StreamObserver {
  /// |activations| added up over each row's tokens, most of them while they were computed.
  ///
  /// - Parameters:
  ///   - layer: the original layer's 0-based number.
  ///   - sums: of one batch.
  ///   - tap: what is seen.
  func observe(_ tap: Tap, layer: Int, _ sums: ChannelSums) throws
  /// A whole layer's input and output, `[B, S, H]`; they must not be kept.
  func observeLayer(_ layer: Int, input: Tensor, output: Tensor, lengths: [Int]) throws
  /// One micro-batch at a layer's routed experts, padding left out.
  func observeExperts(layer: Int, _ sums: ExpertSums) throws
}

/// What the importance of experts and of their channels is made of, over one micro-batch. The same whatever the number
/// of threads: of blocks of rows that do not depend on it, added up in float64 in their order.
public struct ExpertSums: Sendable {
  /// For each expert the sum over its tokens of its weighted output's L2 norm.
  public let norms: [Double]
  /// For each expert the tokens routed to it.
  public let counts: [Int]
  /// For each expert and each channel of its down projection's input, the sum over its tokens of |input|; empty for an
  /// expert without tokens.
  public let channels: [[Double]]
}
