public import Torch

// Shapes: B rows, S tokens, H hidden.

extension LayerDescription {
  /// One layer over `[B, S, H]`.
  ///
  /// A branch is added to the residual stream together with the norm that reads the sum, which saves a pass. Where a
  /// packed row's result is wanted for some tokens alone, the last block that looks at other tokens gives it for those,
  /// and what follows sees no others.
  ///
  /// - Parameters:
  ///   - state: the residual stream before the layer, or before the branch to begin with, and beside it what earlier layers lend
  ///     later ones. It keeps its values.
  ///   - first: the number of that branch, where those before it are in the stream already; 0 for the whole layer. Of a layer whose
  ///     branches read the same input there is nothing else.
  ///   - weights: the layer's.
  ///   - context: of the batch.
  public func forward(
    _ state: Tensor, from first: Int = 0, weights: LayerWeights, context: ForwardContext
  ) throws -> Tensor {
    guard !(incoming.isEmpty && outgoing.isEmpty) else {
      return try through(state, from: first, weights: weights, context: context)
    }
    let rides = KeyRides()
    let stream = try rides.board(state, incoming)
    var context = context
    context.rides = rides
    return try rides.leave(through(stream, from: first, weights: weights, context: context), outgoing)
  }

  /// The same of the residual stream alone.
  private func through(
    _ input: Tensor, from first: Int, weights: LayerWeights, context: ForwardContext
  ) throws -> Tensor {
    var context = context
    var h = input
    var branch: Tensor?
    // What the branch before gave, where the two are added together.
    var beside: Tensor?
    // What the branch before read, where branches side by side share a norm.
    var shared: (norm: Norm, x: Tensor)?
    let trimming = context.packed.flatMap { $0.lastTokensOnly ? $0 : nil }
    let trimmed = trimming == nil || isParallel ? nil : sublayers.lastIndex { $0.block.mixing.isSequences }
    for (index, sublayer) in sublayers.enumerated().dropFirst(first) {
      let tap = Tap.residual(sublayer: index)
      var seen = context
      if !sublayer.isRanked { seen.observer = nil }
      let x: Tensor
      if isParallel, let norm = sublayer.norm, let last = shared, norm.weights == last.norm.weights {
        x = last.x
        try seen.observe(tap, x)
      } else if let norm = sublayer.norm {
        x = try seen.observing(tap, channels: input.shape[2], of: input) { sums in
          if isParallel { return try norm.forward(input, weights: weights, tap: sums) }
          guard let added = branch else { return try norm.forward(h, weights: weights, tap: sums) }
          let (sum, normed) = try norm.forward(
            adding: added, to: h, keepsInput: h === input, weights: weights, tap: sums)
          (h, branch) = (sum, nil)
          return normed
        }
      } else {
        if let added = branch, !isParallel { (h, branch) = (try h.residualSum(added, keepsInput: h === input), nil) }
        x = isParallel ? input : h
        try seen.observe(tap, x)
      }
      if isParallel { shared = sublayer.norm.map { ($0, x) } }
      if let added = branch { (h, branch) = (try h.residualSum(added, keepsInput: h === input), nil) }
      try context.observeStream(index, isParallel ? input : h)
      var own = index == trimmed ? context : context.untrimmed
      if sublayer.block.readsStream { own.stream = isParallel ? input : h }
      var y = try sublayer.block.forward(x, weights: weights, context: own)
      if index == trimmed, let trimming {
        h = try trimming.trim(h)
        if let whole = context.layerInput { context.layerInput = { try trimming.trim(whole()) } }
      }
      if let norm = sublayer.postNorm { y = try norm.forward(y, weights: weights) }
      if let norm = sublayer.jointNorm {
        guard let first = beside else { throw ModelError("a branch lacks the one that it stands beside") }
        (y, beside) = (try norm.forward(first.adding(y), weights: weights), nil)
      }
      if index + 1 < sublayers.count, sublayers[index + 1].jointNorm != nil {
        beside = y
        continue
      }
      if let scale = sublayer.residualScale { y = try y.multiplied(by: scale) }
      branch = y
    }
    if let branch { h = try h.residualSum(branch, keepsInput: h === input) }
    if let scalar {
      // A constant, which training leaves as it is.
      let factor = try weights[scalar]
      h = try h.multiplied(by: LibTorch.isRecording ? factor.leaf(wantsGradient: false) : factor)
    }
    if let trimming, trimmed == nil { h = try trimming.trim(h) }
    try context.observeStream(sublayers.count, h)
    try context.observer?.observeLayer(context.layer, input: input, output: h, lengths: context.lengths)
    return h
  }
}
