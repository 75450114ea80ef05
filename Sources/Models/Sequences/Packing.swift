public import Torch

// Shapes: T tokens of a packed row, W wanted tokens, H hidden.

/// What a block does with the tokens of a row.
public enum TokenMixing: Sendable {
  /// Every token by itself (an MLP).
  case none
  /// Sequences that are packed into one row are kept apart. What several begin with may stand there once, as long as
  /// none of them has more than `sharing` tokens.
  case sequences(sharing: Int)
  /// Whatever stands in a row is one sequence.
  case rows

  var isSequences: Bool { if case .sequences = self { true } else { false } }
}

/// Several sequences in one row of tokens, without padding between them. A sequence may begin with tokens that stand
/// there once for several of them: they are computed once, and the others' attention reaches back to them.
public struct Packing: Sendable, Equatable {
  /// Each token's position in its sequence: T numbers.
  public var positions: [Int] = []
  /// Which keys each stretch of queries sees. Keys count those that were carried first, then the row's own tokens.
  public var segments: [AttentionSegment] = []
  /// Keys and values that come from the row before this one.
  public var carried = 0
  /// Keys that the row after this one needs.
  public var kept: Range<Int> = 0..<0
  /// The tokens whose hidden states are wanted after the last layer, ascending, perhaps more than once: W numbers below T.
  public var wanted: [Int] = []
  /// Where each token's key is put in a memory that is kept from step to step (`CarriedKeys.init(capacity:)`), which segments
  /// refer to then: T numbers. Empty where rows carry keys by themselves.
  public var stored: [Int] = []

  public init() {}

  /// The number of tokens in each token's sequence: T numbers.
  public var lengths: [Int] {
    var result = [Int](repeating: 0, count: positions.count)
    for segment in segments {
      for token in segment.query..<segment.query + segment.queries {
        result[token] = segment.prefixKeys + segment.keys
      }
    }
    return result
  }

  /// The segments of the wanted tokens alone: query w is the token `wanted[w]`.
  var wantedSegments: [AttentionSegment] {
    var result: [AttentionSegment] = []
    var next = segments.startIndex
    for (place, token) in wanted.enumerated() {
      while next < segments.endIndex, segments[next].query + segments[next].queries <= token { next += 1 }
      guard next < segments.endIndex else { break }
      var segment = segments[next]
      segment.keys -= segment.query + segment.queries - 1 - token
      (segment.query, segment.queries) = (place, 1)
      result.append(segment)
    }
    return result
  }
}

/// A packed row on its way through one layer.
public struct PackedContext {
  let packing: Packing
  /// Positions of the wanted tokens.
  let wantedPositions: Positions
  /// `[W]` int64.
  let wanted: Tensor
  /// `[T]` int64: `Packing.stored`; nil where there is none.
  private let stored: Tensor?
  /// Keys and values from the row before, for this layer.
  let carry: CarriedKeys
  /// Whether the layer's result is wanted for the wanted tokens alone.
  public var lastTokensOnly = false

  /// - Parameters:
  ///   - wantedPositions: made of the positions of the wanted tokens.
  ///   - carry: the same for all rows of one subject in one layer.
  ///   - wanted: the tokens whose states are wanted, `[W]` int64.
  ///   - stored: where each token's key is put, `[T]` int64; nil where `packing` says nothing of it.
  ///   - packing: how sequences share the row.
  public init(
    _ packing: Packing, wantedPositions: Positions, wanted: Tensor, stored: Tensor? = nil, carry: CarriedKeys
  ) {
    self.stored = stored
    self.packing = packing
    self.wantedPositions = wantedPositions
    self.wanted = wanted
    self.carry = carry
  }

  /// Whether sequences go on from step to step.
  var isStepwise: Bool { stored != nil }

  /// The keys and values that the row's segments refer to: its own, `[1, T, …]`, with what was kept of rows before.
  func join(key: Tensor, value: Tensor) throws -> (key: Tensor, value: Tensor) {
    if let stored { return try carry.store(key: key, value: value, at: stored) }
    return try carry.join(key: key, value: value, packing)
  }

  /// The wanted tokens of `[1, T, …]`: `[1, W, …]`.
  func trim(_ x: Tensor) throws -> Tensor { try x.indexSelect(dim: 1, wanted) }
}

extension ModelDescription {
  /// Whether several sequences may be packed into one row: every block can tell them apart.
  public var packsSequences: Bool { longestSharing > 0 }

  /// The longest sequences that may share a beginning in a packed row; 0 where nothing can be packed. Keys of longer
  /// ones are rotated for the length of their own sequence.
  public var longestSharing: Int {
    layers.flatMap(\.sublayers).reduce(.max) { longest, sublayer in
      switch sublayer.block.mixing {
      case .none: longest
      case .sequences(let own): min(longest, own)
      case .rows: 0
      }
    }
  }
}
