/// What stays of a model: layers, channels, heads. Indices are those of the original model, ascending.
public struct Selection: Sendable, Equatable {
  /// The layers that stay, 0-based.
  public let layers: [Int]
  /// Kept indices of hyperparameters with one order for the whole model (`hidden_size`). Absent: all.
  public var global: [Hyperparameter: [Int]]
  /// Kept indices of hyperparameters ranked layer by layer, by original layer. Absent: all.
  public var perLayer: [Hyperparameter: [[Int]]]

  public init(layers: [Int], global: [Hyperparameter: [Int]] = [:], perLayer: [Hyperparameter: [[Int]]] = [:]) {
    self.layers = layers
    self.global = global
    self.perLayer = perLayer
  }

  /// The whole model.
  public init(all model: ModelDescription) { self.init(layers: Array(model.layers.indices)) }

  /// The indices of `dimension` that stay in layer `layer` (original, 0-based; nil outside the layers).
  public func kept(_ dimension: Dimension, layer: Int?) -> [Int]? {
    guard let hyperparameter = dimension.hyperparameter else { return nil }
    if let indices = global[hyperparameter] { return indices }
    guard let layer, let lists = perLayer[hyperparameter], lists.indices.contains(layer) else { return nil }
    return lists[layer]
  }

  /// Per axis of `weight`, the indices that stay; nil for a whole axis.
  public func keptIndices(of weight: Weight, layer: Int?, sizes: Sizes) -> [[Int]?] {
    weight.axes.map { $0.keptIndices(sizes) { kept($0, layer: layer) } }
  }
}
