extension ModelDescription {
  /// How weights change in value once the sizes do: what is written for them is
  /// `(offset + weight) × factor − offset`, in float32. Empty for most families.
  ///
  /// An architecture that computes the factor on embeddings from hidden_size would shift the balance between them
  /// and what layers add. So every residual branch is scaled by the same factor, folded into the norms after the blocks;
  /// norms over the residual stream, the final one too, do not see a scale. Where no norms stand after the blocks
  /// (Gemma 1) the embedding itself makes up for it, and the final norm where it is the head, too.
  public func rescaled(to changed: Sizes) -> [Weight: (offset: Double, factor: Double)] {
    guard let scale = scales.embedding, scale(changed) != scale(sizes) else { return [:] }
    let factor = scale(changed) / scale(sizes)
    var rescaled: [Weight: (offset: Double, factor: Double)] = [:]
    func fold(into norm: Norm) {
      if let weight = norm.weight { rescaled[weight] = (norm.kind.offset, factor) }
      if let bias = norm.bias { rescaled[bias] = (0, factor) }
    }
    let after = layers.flatMap(\.addedNorms)
    if after.allSatisfy({ $0?.weight != nil }) {
      after.compactMap { $0 }.forEach(fold)
      // What reads the stream without a norm sees its scale.
      for sublayer in layers.flatMap(\.sublayers) where sublayer.norm == nil {
        for weight in sublayer.block.weights where weight.readsAxis != nil { rescaled[weight] = (0, 1 / factor) }
      }
      // What is put in the place of embeddings has no such factor in the architecture.
      for weight in others where weight.writesAxis != nil { rescaled[weight] = (0, factor) }
    } else {
      rescaled[embedding] = (0, 1 / factor)
      if isTied { fold(into: finalNorm) }
    }
    for block in layers.flatMap(\.sublayers).map(\.block) {
      for (weight, factor) in block.sizeFactors { rescaled[weight] = (0, factor(sizes) / factor(changed)) }
    }
    return rescaled
  }
}

extension LayerDescription {
  /// The norm of what each branch, or branches that stand together, add to the residual stream; nil where there is none.
  fileprivate var addedNorms: [Norm?] {
    sublayers.indices.compactMap { index in
      let isJoined = sublayers.indices.contains(index + 1) && sublayers[index + 1].jointNorm != nil
      return isJoined ? nil : .some(sublayers[index].jointNorm ?? sublayers[index].postNorm)
    }
  }
}
