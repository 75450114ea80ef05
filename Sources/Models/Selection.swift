/// What is kept of a model: layers, channels, heads. Indices are those of the original model, ascending.
public struct Selection: Sendable, Hashable {
  /// The layers that are kept, 0-based.
  public var layers: [Int]
  /// The indices that are kept of each dimension that is cut; those of others are all kept.
  public var cuts: [Dimension: ScopedLists<Int>]

  public init(layers: [Int], cuts: [Dimension: ScopedLists<Int>] = [:]) {
    self.layers = layers
    self.cuts = cuts
  }

  /// The whole model.
  public init(all model: ModelDescription) { self.init(layers: Array(model.layers.indices)) }

  /// The indices of `dimension` that are kept in layer `layer` (original, 0-based; nil outside the layers), and of
  /// channels that each expert chooses for itself those of `expert` (original, 0-based); nil for all.
  public func kept(_ dimension: Dimension, layer: Int?, expert: Int? = nil) -> [Int]? {
    dimension == .layers ? layers : cuts[dimension]?.list(layer: layer, expert: expert)
  }

  /// Everything that is cut in a layer: layers with equal ones are computed alike.
  public func cuts(inLayer layer: Int) -> [Dimension: [[Int]]] { cuts.mapValues { $0.lists(inLayer: layer) } }

  /// Whether each expert keeps indices of its own on an axis of `weight`: it is cut expert by expert then.
  public func isCutByExpert(_ weight: Weight, layer: Int?) -> Bool {
    guard let layer, weight.axes.first == .experts else { return false }
    return weight.axes.contains { axis in
      axis.dimensions.contains { dimension in
        guard case .byExpert(let lists) = cuts[dimension] else { return false }
        return lists.indices.contains(layer) && lists[layer] != nil
      }
    }
  }

  /// Per axis of `weight`, the indices that are kept; nil for a whole axis.
  public func keptIndices(of weight: Weight, layer: Int?, expert: Int? = nil, sizes: Sizes) -> [[Int]?] {
    weight.axes.map { axis in
      axis.keptIndices(sizes) { dimension in
        // Of all layers there is nothing to leave out.
        dimension == .layers && layers.count == sizes[.layers] ? nil : kept(dimension, layer: layer, expert: expert)
      }
    }
  }

  /// The same of a weight of a model.
  public func keptIndices(
    of weight: Weight, layer: Int?, expert: Int? = nil, in model: ModelDescription
  ) -> [[Int]?] {
    keptIndices(of: weight, layer: layer, expert: expert, sizes: model.sizes(inLayer: layer))
  }
}
