import Torch

// Shapes: B rows, S tokens, A of them that ask, H hidden, E the rank of queries.

/// Which tokens latent attention looks at.
enum TokenPicking {
  /// All of them.
  case none
  /// Those that the layer's indexer picks, which lends what it does it by where later layers pick the same.
  case own(TokenIndexer, lendsAs: Int?)
  /// Those that an indexer before the layer picks.
  case borrowed(TokenIndexer, from: Int)

  var indexer: TokenIndexer? {
    switch self {
    case .none: nil
    case .own(let indexer, _), .borrowed(let indexer, _): indexer
    }
  }

  /// The layer's own.
  var weights: [Weight] { if case .own(let indexer, _) = self { indexer.weights } else { [] } }

  /// Queries of the tokens that ask and keys of all; nil where no sequence has more tokens than are picked.
  ///
  /// - Parameters:
  ///   - x: `[B, S, H]`.
  ///   - asking: those whose results are wanted, `[B, A, H]`.
  ///   - low: what their queries are made of, `[B, A, E]`.
  ///   - sizes: of the model.
  ///   - rotary: of attention.
  func index(
    _ x: Tensor, asking: Tensor, low: Tensor, weights: LayerWeights, context: ForwardContext, _ sizes: Sizes,
    _ rotary: Rotary
  ) throws -> (queries: TokenIndexer.Queries, keys: Tensor)? {
    let trimming = context.packed.flatMap { $0.lastTokensOnly ? $0 : nil }
    let turning = sizes[LatentAttention.turning]
    switch self {
    case .none: return nil
    case .own(let indexer, let slot):
      guard picks(indexer, context, tokens: x.shape[1]) else {
        // The states of all rows are of one width.
        if let slot {
          let none = try Tensor.zeros(
            [x.shape[0], x.shape[1], TokenIndexer.lentChannels(sizes)], dtype: x.dtype, device: x.device)
          context.rides?.lend(none, as: slot)
        }
        return nil
      }
      let queries = try indexer.queries(
        asking, low: low, weights: weights, positions: trimming?.wantedPositions ?? context.positions, rotary,
        turning: turning)
      let keys = try indexer.keys(x, weights: weights, positions: context.positions, rotary, turning: turning)
      if let slot, trimming == nil { context.rides?.lend(try TokenIndexer.lent(queries, keys: keys), as: slot) }
      return (queries, keys)
    case .borrowed(let indexer, let slot):
      guard picks(indexer, context, tokens: x.shape[1]), let rides = context.rides else { return nil }
      let lent = try rides.borrowed(slot)
      let found = try TokenIndexer.borrowed(lent, sizes)
      guard let trimming else { return found }
      return (try TokenIndexer.borrowed(trimming.trim(lent), sizes).queries, found.keys)
    }
  }

  /// Whether some sequence has, or may come to have, more tokens than the indexer picks.
  private func picks(_ indexer: TokenIndexer, _ context: ForwardContext, tokens: Int) -> Bool {
    if context.cache != nil { return true }
    guard let packed = context.packed else { return tokens > indexer.picks }
    let packing = packed.packing
    return packed.isStepwise || packing.carried > 0 || !packing.kept.isEmpty
      || packing.segments.contains { $0.prefixKeys + $0.keys > indexer.picks }
  }
}
