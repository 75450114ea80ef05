/// A shape of a model: which layers it has and how large everything in them is. Search, counts, rules, config writing and
/// export all take this; which indices are kept is a `Selection`'s to say.
public struct Architecture: Sendable, Hashable {
  /// The layers that are kept, by their original numbers (0-based), ascending.
  public var layers: [Int] { didSet { sizes = sizes.counting(layers) } }
  /// Sizes of the whole model,
  public var sizes: Sizes
  /// and by original layer those that are its own, in place of the model's.
  public var layerSizes: [Int: Sizes]

  /// Some layers of these sizes; where a model's layers differ, `init(_:layers:)` knows.
  public init(layers: [Int], sizes: Sizes, layerSizes: [Int: Sizes] = [:]) {
    self.layers = layers
    self.sizes = sizes.counting(layers)
    self.layerSizes = layerSizes
  }

  /// A model, or some of its layers (0-based), as they are.
  public init(_ model: ModelDescription, layers: [Int]? = nil) {
    self.init(layers: layers ?? Array(model.layers.indices), sizes: model.sizes, layerSizes: model.layerSizes)
  }

  /// The sizes in a layer (original, 0-based; nil outside the layers).
  public func sizes(inLayer layer: Int?) -> Sizes { sizes.replacing(layer.flatMap { layerSizes[$0] }) }
}

extension Sizes {
  /// With the number of these layers, where a weight has a part for each.
  fileprivate func counting(_ layers: [Int]) -> Sizes {
    guard self[.layers] > 0 else { return self }
    var sizes = self
    sizes[.layers] = layers.count
    return sizes
  }
}

extension ModelDescription {
  /// The sizes in a layer (0-based; nil outside the layers).
  public func sizes(inLayer layer: Int?) -> Sizes { sizes.replacing(layer.flatMap { layerSizes[$0] }) }

  /// The sizes that a dimension has in single layers, ascending; none where it is the whole model's.
  public func ownSizes(_ dimension: Dimension) -> [Int] {
    Set(layerSizes.values.filter { $0.dimensions.contains(dimension) }.map { $0[dimension] }).sorted()
  }

  /// Floating-point operations of all layers for rows of so many tokens, in a shape of the model.
  public func operations(rows: [Int], in architecture: Architecture) -> Double {
    architecture.layers.reduce(0) { sum, layer in
      let sizes = architecture.sizes(inLayer: layer)
      return layers[layer].sublayers.reduce(sum) { $0 + $1.block.operations(rows: rows, sizes: sizes) }
    }
  }

  /// The same of the logits of so many tokens, in the model's own shape.
  public func headOperations(tokens: Int) -> Double {
    2 * Double(tokens) * Double(sizes[.hidden]) * Double(sizes[.vocabulary])
  }
}

extension Selection {
  /// The shape of what is kept.
  public func architecture(of model: ModelDescription) -> Architecture {
    var architecture = Architecture(model, layers: layers)
    for (dimension, cut) in cuts {
      if case .everywhere(let kept) = cut {
        architecture.sizes[dimension] = kept.count
        continue
      }
      func counts(_ layers: [Int]) -> [(layer: Int, count: Int)] {
        layers.compactMap { layer in cut.lists(inLayer: layer).first.map { (layer, $0.count) } }
      }
      let kept = counts(layers)
      // Where all kept layers agree, or none has it, it is a size of the model.
      guard let first = kept.first ?? counts(Array(model.layers.indices)).first else { continue }
      if kept.allSatisfy({ $0.count == first.count }), model.ownSizes(dimension).isEmpty {
        architecture.sizes[dimension] = first.count
      } else {
        for (layer, count) in kept { architecture.layerSizes[layer, default: Sizes([:])][dimension] = count }
      }
    }
    return architecture
  }
}
