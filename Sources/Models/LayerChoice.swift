import JSON

extension LayerDescription {
  /// Whether it keeps keys and values of every token: by these `transformers` knows how many tokens it has seen.
  var cachesTokens: Bool { sublayers.contains { $0.block.cachesTokens } }
}

extension ModelDescription {
  /// The layer that is kept whatever its rank: the best attention layer of a hybrid. `transformers` cannot generate with
  /// layers that have nothing but a state of fixed size ("`get_seq_length` can only be called on Attention layers").
  /// nil where all layers are of one kind, or none has attention.
  ///
  /// - Parameter ranking: layer numbers (0-based), best first.
  public func indispensableLayer(_ ranking: [Int]) -> Int? {
    let attention = layers.map(\.cachesTokens)
    guard attention.contains(true), attention.contains(false) else { return nil }
    return ranking.first { attention[$0] }
  }

  /// Layers in the order in which they are kept: the first k of them remain in a model of k layers. The ranking, with the
  /// indispensable layer in front: so the layer that it takes the place of is always the last of the others.
  public func keepingOrder(_ ranking: [Int]) -> [Int] {
    guard let first = indispensableLayer(ranking) else { return ranking }
    return [first] + ranking.filter { $0 != first }
  }

  /// What to say when a model of `count` layers keeps one that its rank would not.
  public func indispensableNote(_ ranking: [Int], keeping count: Int) -> String? {
    guard let layer = indispensableLayer(ranking), !ranking.prefix(count).contains(layer) else { return nil }
    return
      "layer \(layer + 1), the best of those with attention, is kept although others rank higher: the architecture's "
      + "own loader cannot generate without any attention layer"
  }

  /// Config keys whose lists are never one entry a layer, however long they are.
  private static let otherLists = ["architectures", "mlp_only_layers", "time_step_limit"]

  /// Shortens every list that has one entry a layer and that no family knows: none leaves at its old length.
  ///
  /// - Parameter config: of the pruned model; what its family has changed in it is left as it is.
  func shortenLists(_ config: inout JSON.Object, keeping kept: [Int]) {
    guard kept.count != layers.count else { return }
    for (key, value) in self.config.entries {
      let name = key.description
      guard let list = value.array, list.count == layers.count, config[key] == value,
        !Self.otherLists.contains(name), !name.hasSuffix("_id"), !name.hasSuffix("_ids")
      else { continue }
      config[key] = .array(kept.map { list[$0] })
    }
  }
}
