public import Models

/// How the channels of a layer's experts are ranked.
public enum ExpertChannels: String, Sendable, CaseIterable {
  /// One ranking for all of them, from all their tokens together (the reference's grouped experts).
  case shared
  /// Each expert ranks its own channels, from its own tokens (the reference's `SequentialMLP`,
  /// `--no_moe_grouped_gemm`). All experts keep the same number of them.
  case own
}

/// Importance of everything that can be pruned: the higher, the more it matters.
public struct ImportanceScores: Sendable, Equatable {
  /// Scores with one order for the whole model: `hidden_size` → H numbers.
  public var global: [Hyperparameter: [Float]] = [:]
  /// Scores layer by layer (0-based): `ffn_hidden_size` → L lists of F, `num_attention_heads` → L of N. nil for a layer
  /// that does not have what they rank.
  public var perLayer: [Hyperparameter: [[Float]?]] = [:]
  /// Where experts rank their channels each for itself, `moe_ffn_hidden_size` is here instead: for each layer (nil
  /// without experts) and expert F numbers. nil where one ranking is shared.
  public var expertChannels: [[[Float]]?]?
  /// `1 − cos` of each layer's input and output, summed over micro-batches.
  public var layers: [Double] = []
  /// Layer numbers (0-based), best first, that were found elsewhere; not among the scores that are kept.
  public var givenLayerRanking: [Int]?

  public init() {}

  /// Layer numbers (0-based), the most important first: as given, else as measured, of equal ones the earlier first.
  public var layerRanking: [Int] {
    givenLayerRanking ?? layers.indices.sorted { (layers[$0], $1) > (layers[$1], $0) }
  }

  /// Checks that there is a finite score for each thing that the table of weights says can be pruned, and for nothing
  /// else.
  ///
  /// - Parameter what: where the scores come from, for messages.
  /// - Throws: `ModelError` naming layer and hyperparameter.
  func check(for model: ModelDescription, what: String) throws {
    func check(_ values: [Float]?, _ count: Int, _ name: String) throws {
      guard let values, values.count == count else {
        throw ModelError(
          "\(what): there should be \(count) scores of \(name), found \(values.map { "\($0.count)" } ?? "none")")
      }
      guard values.allSatisfy(\.isFinite) else { throw ModelError("\(what): a score of \(name) is not finite") }
    }
    func check<List>(_ lists: [List?]?, _ hyperparameter: Hyperparameter, _ body: (List?, String) throws -> Void) throws
    {
      let name = hyperparameter.rawValue
      guard let lists, lists.count == model.layers.count else {
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
    guard layers.count == model.layers.count, layers.allSatisfy(\.isFinite) else {
      throw ModelError("\(what): there should be \(model.layers.count) finite scores of num_layers")
    }
    for hyperparameter in model.hyperparameters where hyperparameter != .numLayers {
      let size = model.value(of: hyperparameter)
      if hyperparameter == .hiddenSize {
        try check(global[hyperparameter], size, hyperparameter.rawValue)
      } else if hyperparameter == .moeFFNHiddenSize, let expertChannels {
        try check(expertChannels, hyperparameter) { lists, name in
          let experts = model.sizes[.experts]
          guard let lists, lists.count == experts else {
            throw ModelError("\(what): there should be scores of \(name) for each of \(experts) experts")
          }
          for (expert, list) in lists.enumerated() { try check(list, size, "\(name), expert \(expert + 1)") }
        }
      } else {
        try check(perLayer[hyperparameter], hyperparameter) { try check($0, size, $1) }
      }
    }
  }

  /// What stays when pruning to `config`.
  ///
  /// - Throws: `ModelError` when scores that are needed are missing.
  public func selection(for config: ExportConfig, of model: ModelDescription) throws -> Selection {
    var selection = Selection(all: model)
    for entry in config.entries {
      let hyperparameter = entry.hyperparameter
      if entry.value == model.value(of: hyperparameter) { continue }
      switch hyperparameter {
      case .numLayers:
        selection.layers = model.keepingOrder(layerRanking).prefix(entry.value).sorted()
      case .hiddenSize:
        guard let scores = global[.hiddenSize] else { throw ModelError("there are no scores of hidden_size") }
        selection.global[.hiddenSize] = Self.best(entry.value, of: scores)
      case .moeFFNHiddenSize where expertChannels != nil:
        selection.expertChannels = expertChannels?.map { $0?.map { Self.best(entry.value, of: $0) } }
      default:
        guard let lists = perLayer[hyperparameter] else {
          throw ModelError("there are no scores of \(hyperparameter.rawValue)")
        }
        let groups = model.groups(of: hyperparameter)
        selection.perLayer[hyperparameter] = lists.map { $0.map { Self.best(entry.value, of: $0, groups: groups) } }
      }
    }
    return selection
  }

  /// The indices of the `count` highest scores, ascending; ties go to the lower index. With groups, each keeps
  /// the same number of its own.
  package static func best(_ count: Int, of scores: [Float], groups: Int = 1) -> [Int] {
    let size = scores.count / max(groups, 1)
    guard size > 0 else { return [] }
    return (0..<groups).flatMap { group in
      (group * size..<(group + 1) * size)
        .sorted { (scores[$0], $1) > (scores[$1], $0) }
        .prefix(count / groups).sorted()
    }
  }
}
