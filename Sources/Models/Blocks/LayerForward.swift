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
  ///   - input: the residual stream before the layer, or before the branch to begin with. It keeps its values.
  ///   - first: the number of that branch, where those before it are in the stream already; 0 for the whole layer. Of a layer whose
  ///     branches read the same input there is nothing else.
  ///   - weights: the layer's.
  ///   - context: of the batch.
  public func forward(
    _ input: Tensor, from first: Int = 0, weights: LayerWeights, context: ForwardContext
  ) throws -> Tensor {
    var h = input
    var branch: Tensor?
    // What the branch before read, where branches side by side share a norm.
    var shared: (norm: Norm, x: Tensor)?
    let trimming = context.packed.flatMap { $0.lastTokensOnly ? $0 : nil }
    let trimmed = trimming == nil || isParallel ? nil : sublayers.lastIndex { $0.block.mixing.isSequences }
    for (index, sublayer) in sublayers.enumerated().dropFirst(first) {
      let tap = Tap.residual(sublayer: index)
      let x: Tensor
      if isParallel, let norm = sublayer.norm, let last = shared, norm.weights == last.norm.weights {
        x = last.x
        try context.observe(tap, x)
      } else if let norm = sublayer.norm {
        x = try context.observing(tap, channels: input.shape[2], of: input) { sums in
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
        try context.observe(tap, x)
      }
      if isParallel { shared = sublayer.norm.map { ($0, x) } }
      if let added = branch { (h, branch) = (try h.residualSum(added, keepsInput: h === input), nil) }
      try context.observeStream(index, isParallel ? input : h)
      var y = try sublayer.block.forward(
        x, weights: weights, context: index == trimmed ? context : context.untrimmed)
      if index == trimmed, let trimming { h = try trimming.trim(h) }
      if let norm = sublayer.postNorm { y = try norm.forward(y, weights: weights) }
      if let scale = sublayer.residualScale { y = try y.multiplied(by: scale) }
      branch = y
    }
    if let branch { h = try h.residualSum(branch, keepsInput: h === input) }
    if let trimming, trimmed == nil { h = try trimming.trim(h) }
    try context.observeStream(sublayers.count, h)
    try context.observer?.observeLayer(context.layer, input: input, output: h, lengths: context.lengths)
    return h
  }
}
