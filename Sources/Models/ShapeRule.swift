/// A condition on shapes that an architecture's own loader makes, for example that hidden_size is a multiple of
/// num_attention_heads.
public struct ShapeRule: Sendable {
  /// What it looks at. A search asks once for each combination of these and takes the answer for all shapes that have
  /// them, so a rule must read no other size that can be pruned.
  public let hyperparameters: Set<Hyperparameter>
  private let check: @Sendable (_ sizes: Sizes, _ layers: [Int]) -> String?

  /// A rule about widths.
  ///
  /// - Parameter check: why the loader refuses these sizes; nil when it takes them.
  public init(_ hyperparameters: Set<Hyperparameter>, _ check: @escaping @Sendable (_ sizes: Sizes) -> String?) {
    self.hyperparameters = hyperparameters
    self.check = { sizes, _ in check(sizes) }
  }

  /// A rule about which layers are kept.
  ///
  /// - Parameter check: why the loader refuses these layers (0-based, in any order); nil when it takes them.
  public init(keptLayers check: @escaping @Sendable (_ layers: [Int]) -> String?) {
    hyperparameters = [.numLayers]
    self.check = { _, layers in check(layers) }
  }

  /// Why the loader refuses these sizes and layers; nil when it takes them.
  public func refusal(_ sizes: Sizes, layers: [Int]) -> String? { check(sizes, layers) }
}

extension ModelDescription {
  /// Why the architecture's own loader refuses these sizes and layers, by the first rule that does; nil when it takes
  /// them.
  ///
  /// - Parameter layers: the layers kept (0-based); nil: all of them.
  public func refusal(_ sizes: Sizes, layers kept: [Int]? = nil) -> String? {
    let kept = kept ?? Array(layers.indices)
    return shapeRules.lazy.compactMap { $0.refusal(sizes, layers: kept) }.first
  }
}
