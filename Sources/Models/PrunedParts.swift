/// What can be pruned of a model.
extension ModelDescription {
  /// What can be pruned, in the order a walk through the model meets it; some of it by hand alone.
  public var prunable: [Hyperparameter] { carried.filter { !$0.follows } }

  /// What scores are measured of: what a search prunes, and what follows it.
  public var measured: [Hyperparameter] {
    carried.filter { $0.dimension != nil && ($0.facts.isSearched || $0.follows) }
  }

  /// The hyperparameters that layers carry and that may change.
  private var carried: [Hyperparameter] {
    var seen: [Hyperparameter] = [.numLayers, .hiddenSize]
    for layer in layers {
      for weight in layer.weights {
        for axis in weight.axes {
          for hyperparameter in axis.hyperparameters where !seen.contains(hyperparameter) {
            seen.append(hyperparameter)
          }
        }
      }
    }
    return seen.filter { hyperparameter in
      !fixed.contains(hyperparameter) && !(hyperparameter.facts.members.map(fixed.contains) ?? false)
    }
  }

  /// What a search prunes, in the order a walk through the model meets it.
  public var hyperparameters: [Hyperparameter] { prunable.filter(\.facts.isSearched) }

  /// The original value of a hyperparameter.
  public func value(of hyperparameter: Hyperparameter) -> Int {
    hyperparameter.dimension.map { sizes[$0] } ?? layers.count
  }

  /// Groups within which a hyperparameter is ranked, each losing the same number; also what its values are
  /// multiples of.
  ///
  /// - Parameters:
  ///   - sizes: of an architecture that may have fewer groups; nil for the original.
  ///   - hyperparameter: one that lives in groups.
  public func groups(of hyperparameter: Hyperparameter, in sizes: Sizes? = nil) -> Int {
    max(hyperparameter.facts.groups.map { (sizes ?? self.sizes)[$0.dimension] } ?? 1, 1)
  }

  /// The same in one layer (0-based), whose heads may stand in fewer groups than others'.
  public func groups(of hyperparameter: Hyperparameter, inLayer layer: Int?) -> Int {
    guard hyperparameter == .numAttentionHeads, let layer else { return groups(of: hyperparameter) }
    return max(sizes(inLayer: layer)[layers[layer].keyHeads], 1)
  }
}
