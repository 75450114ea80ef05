public import Models

/// How the channels of a layer's experts are ranked.
public enum ExpertChannels: String, Sendable, CaseIterable {
  /// One ranking for all of them, from all their tokens together (the reference's grouped experts).
  case shared
  /// Each expert ranks its own channels, from its own tokens (the reference's `SequentialMLP`,
  /// `--no_moe_grouped_gemm`). All experts keep the same number of them.
  case own
}

/// What `hidden_size` is cut in.
public enum ResidualBasis: String, Sendable, CaseIterable {
  /// The channels as they are: those with the highest scores are kept.
  case channels
  /// The residual stream is rotated so that its first directions hold most of it: these are kept.
  case rotated
}

/// Importance of everything that can be pruned: the higher, the more it matters.
public struct ImportanceScores: Sendable, Equatable {
  /// For each index of what a hyperparameter counts its score: one list for the whole model (`hidden_size`), one a
  /// layer, or one for each expert of a layer (`moe_ffn_hidden_size`, where experts rank their own channels).
  public var lists: [Hyperparameter: ScopedLists<Float>] = [:]
  /// `1 − cos` of each layer's input and output, summed over micro-batches.
  public var layers: [Double] = []
  /// The divergence of the whole model without each layer, where layers are ranked by it; kept apart from the other scores.
  public var layerDivergences: [Double]?
  /// The basis in whose directions `hidden_size` is cut; nil for the channels as they are. Its shares are the scores of
  /// `hidden_size`.
  public private(set) var rotation: Rotation?
  /// Layer numbers (0-based), best first, that were found elsewhere; not among the scores that are kept.
  public var givenLayerRanking: [Int]?
  /// Layers that are kept or dropped whatever their rank; not among the scores that are kept either.
  public var layerChoice = LayerChoice()

  public init() {}

  /// Cuts `hidden_size` in this basis from now on.
  public mutating func rotate(by rotation: Rotation) {
    self.rotation = rotation
    lists[.hiddenSize] = .everywhere(rotation.shares)
  }

  /// Layer numbers (0-based), the most important first: as given, else as measured, of equal ones the earlier first.
  public var layerRanking: [Int] {
    let scores = layerDivergences ?? layers
    return givenLayerRanking ?? scores.indices.sorted { (scores[$0], $1) > (scores[$1], $0) }
  }

  /// The scores of a hyperparameter: as they were measured, of groups the L2 norm of their members'; nil where there are
  /// none.
  public func scores(of hyperparameter: Hyperparameter, in model: ModelDescription) -> ScopedLists<Float>? {
    if let own = lists[hyperparameter] { return own }
    guard let members = hyperparameter.facts.members, let scores = lists[members] else { return nil }
    let groups = model.groups(of: members)
    return scores.map { list, _ in
      let size = max(list.count / groups, 1)
      return stride(from: 0, to: list.count, by: size).map { start in
        list[start..<min(start + size, list.count)].reduce(0) { $0 + $1 * $1 }.squareRoot()
      }
    }
  }

  /// Checks that there is a finite score for each thing that the table of weights says can be pruned, and for nothing
  /// else.
  ///
  /// - Parameter what: where the scores come from, for messages.
  /// - Throws: `ModelError` naming layer and hyperparameter.
  func check(for model: ModelDescription, what: String) throws {
    guard layers.count == model.layers.count, layers.allSatisfy(\.isFinite) else {
      throw ModelError("\(what): there should be \(model.layers.count) finite scores of num_layers")
    }
    for hyperparameter in model.measured {
      try check(lists[hyperparameter], of: hyperparameter, in: model, what)
    }
  }

  private func check(
    _ found: ScopedLists<Float>?, of hyperparameter: Hyperparameter, in model: ModelDescription, _ what: String
  ) throws {
    let (size, name) = (model.value(of: hyperparameter), hyperparameter.rawValue)
    func check(_ values: [Float]?, _ name: String) throws {
      guard let values, values.count == size else {
        throw ModelError(
          "\(what): there should be \(size) scores of \(name), found \(values.map { "\($0.count)" } ?? "none")")
      }
      guard values.allSatisfy(\.isFinite) else { throw ModelError("\(what): a score of \(name) is not finite") }
    }
    func check<List>(_ lists: [List?], _ body: (List?, String) throws -> Void) throws {
      guard lists.count == model.layers.count else {
        throw ModelError("\(what): there should be scores of \(name) for each of \(model.layers.count) layers")
      }
      for (layer, list) in lists.enumerated() {
        if model.layers[layer].carries(hyperparameter) {
          try body(list, "\(name) in layer \(layer + 1)")
        } else if list != nil {
          throw ModelError("\(what): there are scores of \(name) in layer \(layer + 1), which has none")
        }
      }
    }
    switch (hyperparameter.facts.scope, found) {
    case (.model, .everywhere(let list)): try check(list, name)
    case (.model, _): try check(nil, name)
    case (.layer, .byLayer(let lists)): try check(lists) { try check($0, $1) }
    case (.layer, .byExpert(let lists)):
      try check(lists) { lists, name in
        let experts = model.sizes[.experts]
        guard let lists, lists.count == experts else {
          throw ModelError("\(what): there should be scores of \(name) for each of \(experts) experts")
        }
        for (expert, list) in lists.enumerated() { try check(list, "\(name), expert \(expert + 1)") }
      }
    case (.layer, _): try check([] as [[Float]?]) { try check($0, $1) }
    }
  }

  /// What is kept when pruning to `config`.
  ///
  /// - Throws: `ModelError` when scores that are needed are missing, or no config says which layers are kept.
  public func selection(for config: ExportConfig, of model: ModelDescription) throws -> Selection {
    var selection = Selection(all: model)
    if let count = config[.numLayers], count != model.layers.count {
      selection.layers = model.keepingOrder(layerRanking, layerChoice).prefix(count).sorted()
      if let reason = model.refusesLayers?(selection.layers) {
        throw ModelError("these layers cannot be kept: \(reason)")
      }
    }
    let sizes = config.completed(for: model).architecture(of: model, keeping: selection.layers).sizes
    // Groups first: their members go with them.
    let changed = (model.prunable + model.measured.filter(\.follows)).filter { hyperparameter in
      hyperparameter.dimension.map { sizes[$0] != model.sizes[$0] } ?? false
    }
    for hyperparameter in changed.sorted(by: { ($0.facts.members != nil ? 0 : 1) < ($1.facts.members != nil ? 0 : 1) })
    {
      guard let dimension = hyperparameter.dimension else { continue }
      guard let scores = scores(of: hyperparameter, in: model) else {
        throw ModelError("there are no scores of \(hyperparameter.rawValue)")
      }
      selection.cuts[dimension] = scores.map { list, layer in
        let kept = hyperparameter.facts.groups.flatMap { selection.kept($0.dimension, layer: layer) }
        let groups = model.groups(of: hyperparameter, inLayer: layer)
        return Self.best(sizes[dimension], of: list, groups: groups, keeping: kept)
      }
    }
    for (dimension, order) in model.followers where sizes[dimension] != order.count {
      selection.cuts[dimension] = .everywhere(order.prefix(sizes[dimension]).sorted())
    }
    return selection
  }

  /// The indices of the `count` highest scores, ascending; ties go to the lower index. With groups, each keeps
  /// the same number of its own.
  ///
  /// - Parameter keeping: the groups that are kept at all, ascending; nil: all.
  package static func best(_ count: Int, of scores: [Float], groups: Int = 1, keeping: [Int]? = nil) -> [Int] {
    let size = scores.count / max(groups, 1)
    guard size > 0 else { return [] }
    let kept = keeping ?? Array(0..<groups)
    return kept.flatMap { group in
      (group * size..<(group + 1) * size)
        .sorted { (scores[$0], $1) > (scores[$1], $0) }
        .prefix(count / max(kept.count, 1)).sorted()
    }
  }
}
