/// What stays of a model: layers, channels, heads. Indices are those of the original model, ascending.
public struct Selection: Sendable, Equatable {
  /// The layers that stay, 0-based.
  public var layers: [Int]
  /// Kept indices of hyperparameters with one order for the whole model (`hidden_size`). Absent: all.
  public var global: [Hyperparameter: [Int]]
  /// Kept indices of hyperparameters ranked layer by layer, by original layer; nil for a layer that does not have it.
  /// Absent: all.
  public var perLayer: [Hyperparameter: [[Int]?]]
  /// Where experts keep channels each of its own (`moe_ffn_hidden_size`): by original layer (nil without experts) and
  /// original expert.
  public var expertChannels: [[[Int]]?]?

  public init(layers: [Int], global: [Hyperparameter: [Int]] = [:], perLayer: [Hyperparameter: [[Int]?]] = [:]) {
    self.layers = layers
    self.global = global
    self.perLayer = perLayer
  }

  /// The whole model.
  public init(all model: ModelDescription) { self.init(layers: Array(model.layers.indices)) }

  /// The indices of `dimension` that stay in layer `layer` (original, 0-based; nil outside the layers), and of
  /// channels that each expert chooses for itself those of `expert` (original, 0-based).
  public func kept(_ dimension: Dimension, layer: Int?, expert: Int? = nil) -> [Int]? {
    guard let hyperparameter = dimension.hyperparameter else { return nil }
    if let indices = global[hyperparameter] { return indices }
    guard let layer else { return nil }
    if hyperparameter == .moeFFNHiddenSize, let expert, let experts = channels(ofExpertsIn: layer) {
      return experts.indices.contains(expert) ? experts[expert] : nil
    }
    guard let lists = perLayer[hyperparameter], lists.indices.contains(layer) else { return nil }
    return lists[layer]
  }

  private func channels(ofExpertsIn layer: Int?) -> [[Int]]? {
    guard let layer, let expertChannels, expertChannels.indices.contains(layer) else { return nil }
    return expertChannels[layer]
  }

  /// Whether each expert keeps channels of its own on an axis of `weight`: it is cut expert by expert then.
  public func isCutByExpert(_ weight: Weight, layer: Int?) -> Bool {
    channels(ofExpertsIn: layer) != nil && weight.axes.first == .experts
      && weight.axes.contains { $0.hyperparameters.contains(.moeFFNHiddenSize) }
  }

  /// Per axis of `weight`, the indices that stay; nil for a whole axis.
  public func keptIndices(of weight: Weight, layer: Int?, expert: Int? = nil, sizes: Sizes) -> [[Int]?] {
    weight.axes.map { $0.keptIndices(sizes) { kept($0, layer: layer, expert: expert) } }
  }
}
