import JSON

extension LayerDescription {
  /// Whether it keeps keys and values of every token: by these `transformers` knows how many tokens it has seen.
  var cachesTokens: Bool { sublayers.contains { $0.block.cachesTokens } }
}

extension ModelDescription {
  /// The layer that is kept whatever its rank: the best attention layer of a hybrid. `transformers` cannot generate with
  /// layers that have nothing but a state of fixed size ("`get_seq_length` can only be called on Attention layers").
  /// nil where all layers are of one kind, none has attention, or one that has is kept by choice.
  ///
  /// - Parameters:
  ///   - ranking: layer numbers (0-based), best first.
  ///   - choice: layers that were chosen by hand.
  public func indispensableLayer(_ ranking: [Int], _ choice: LayerChoice = LayerChoice()) -> Int? {
    let attention = layers.map(\.cachesTokens)
    guard attention.contains(true), attention.contains(false),
      !attention.indices.contains(where: { attention[$0] && choice.kept.contains($0) })
    else { return nil }
    return ranking.first { attention[$0] && !choice.dropped.contains($0) }
  }

  /// Layers in the order in which they are kept: the first k of them remain in a model of k layers. The ranking without the
  /// layers that are dropped by choice, and in front of it those that are kept by choice or have to be: so a layer
  /// that one of these takes the place of is always the last of the others.
  public func keepingOrder(_ ranking: [Int], _ choice: LayerChoice = LayerChoice()) -> [Int] {
    let indispensable = indispensableLayer(ranking, choice)
    func isFirst(_ layer: Int) -> Bool {
      layer == indispensable || required.layers.contains(layer) || choice.kept.contains(layer)
    }
    let open = ranking.filter { !choice.dropped.contains($0) }
    let order = open.filter(isFirst) + open.filter { !isFirst($0) }
    guard layerStretch > 1 else { return order }
    // By the mean of their layers' places; those with a layer that has to be kept come first.
    let places = order.enumerated().map { (layer: $1, place: isFirst($1) ? -layers.count * layerStretch : $0) }
    let stretches = Dictionary(grouping: places) { $0.layer / layerStretch }
    func place(_ stretch: [(layer: Int, place: Int)]) -> Double {
      Double(stretch.reduce(0) { $0 + $1.place }) / Double(stretch.count)
    }
    // One that is not whole goes first, unless something in it has to be kept.
    func isLast(_ stretch: Int) -> Int {
      let layers = (stretch * layerStretch..<(stretch + 1) * layerStretch)
      return layers.upperBound > self.layers.count && !layers.contains(where: isFirst) ? 1 : 0
    }
    return stretches.sorted { (isLast($0.key), place($0.value), $0.key) < (isLast($1.key), place($1.value), $1.key) }
      .flatMap { $0.value.map(\.layer).sorted() }
  }

  /// The fewest layers that are left with a choice: those that it keeps, an indispensable one, at least one.
  public func fewestLayers(_ choice: LayerChoice) -> Int {
    let all = Array(layers.indices)
    let kept = required.layers.union(choice.kept.layers(of: all.count)).count
    return max(kept + (indispensableLayer(all, choice) == nil ? 0 : 1), 1)
  }

  /// What to say when a model of `count` layers keeps one that its rank would not.
  public func indispensableNote(
    _ ranking: [Int], _ choice: LayerChoice = LayerChoice(), keeping count: Int
  ) -> String? {
    let lower = required.layers.subtracting(ranking.filter { !choice.dropped.contains($0) }.prefix(count)).sorted()
    if !lower.isEmpty {
      let (one, numbers) = (lower.count == 1, lower.map { "\($0 + 1)" }.joined(separator: ", "))
      return
        "layer\(one ? "" : "s") \(numbers) \(one ? "is" : "are") kept although others rank higher: \(required.reason)"
    }
    guard let layer = indispensableLayer(ranking, choice), !ranking.prefix(count).contains(layer) else { return nil }
    return
      "layer \(layer + 1), the best of those with attention, is kept although others rank higher: the architecture's "
      + "own loader cannot generate without any attention layer"
  }

  /// Lists of the numbers of layers.
  private static let numberLists = ["mlp_only_layers"]

  /// Whether a list of as many entries as there are layers has one for each, by its key: others are as long by chance (multipliers,
  /// tokens, languages).
  private static func isByLayer(_ key: String) -> Bool {
    !numberLists.contains(key) && ["layer", "block", "pattern"].contains { key.lowercased().contains($0) }
  }

  /// Shortens lists that have one entry a layer and that no family knows.
  ///
  /// - Parameter config: of the pruned model; what its family has changed in it is left as it is.
  func shortenLists(_ config: inout JSON.Object, keeping kept: [Int]) {
    guard kept.count != layers.count else { return }
    for (key, value) in self.config.entries {
      let name = key.description
      guard let list = value.array, list.count == layers.count, config[key] == value, Self.isByLayer(name) else {
        continue
      }
      config[key] = .array(kept.map { list[$0] })
    }
  }
}
