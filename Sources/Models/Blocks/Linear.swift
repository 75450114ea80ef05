public import Torch

/// A linear projection: its weight `[out, in]` and, where the family has one, its bias `[out]`.
public struct Linear: Sendable {
  public let weight: Weight
  public let bias: Weight?

  /// - Parameters:
  ///   - axes: of the output and of the input.
  ///   - name: without `.weight`.
  ///   - bias: whether there are biases.
  ///   - isStoredTransposed: whether the weight lies `[in, out]` in the file.
  public init(_ name: String, _ axes: [Axis], bias: Bool = false, isStoredTransposed: Bool = false) {
    // A projection from hidden_size reads the residual stream, one to hidden_size writes it.
    let (reads, writes) = (axes.last == .hidden ? axes.count - 1 : nil, axes.first == .hidden ? 0 : nil)
    weight = Weight(
      name + ".weight", axes, isProjection: true, reads: reads, writes: writes, isStoredTransposed: isStoredTransposed)
    self.bias = bias ? Weight(name + ".bias", Array(axes.prefix(1)), writes: writes) : nil
  }

  public var weights: [Weight] { bias.map { [weight, $0] } ?? [weight] }

  /// `[…, in]` → `[…, out]`.
  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    try context.observe(weight, bias: bias, x)
    return try x.linear(weight: weights[weight], bias: weights[optional: bias])
  }
}

/// Sees what goes into the linear maps of layers, those of experts too: second moments for a refit, hooks for training.
/// Calls come one at a time. Routers are none of them.
public protocol LinearObserver: StreamObserver {
  /// - Parameters:
  ///   - weight: what the input is multiplied by; projections of one input are seen one by one.
  ///   - bias: what is added to the product.
  ///   - routed: which rows these are, of a weight that each expert has.
  ///   - layer: the original layer's 0-based number.
  ///   - input: `[B, S, in]`, or `[rows, in]`: of experts the rows that were routed there, perhaps in several calls.
  ///   - lengths: valid tokens of each of B rows; nil where all rows count.
  func observe(
    _ weight: Weight, bias: Weight?, routed: RoutedRows?, layer: Int, input: Tensor, lengths: [Int]?) throws
}

/// Rows of one expert that are multiplied together.
public struct RoutedRows {
  /// The expert's 0-based number among those that are kept.
  public let expert: Int
  /// Which of the batch's valid tokens each row is, 0-based, ascending.
  public let tokens: [Int]
  /// What the router weighs each row's result with: `[R, 1]`.
  public let shares: Tensor
}

/// Thrown by an observer that has seen what it wants of a batch in a layer: what would follow is not computed. For observers of
/// visitors that replace weights.
public struct SeenEnough: Error {
  public init() {}
}

extension ForwardContext {
  /// Shows the observer, where there is one, the input of a linear map.
  func observe(_ weight: Weight, bias: Weight? = nil, routed: RoutedRows? = nil, _ x: Tensor) throws {
    guard let linearObserver else { return }
    try linearObserver.observe(
      weight, bias: bias, routed: routed, layer: layer, input: x, lengths: rowLengths(x))
  }

  /// Shows all observers the residual stream.
  func observeStream(_ sublayer: Int, _ h: Tensor) throws {
    try observer?.observeStream(sublayer, layer: layer, state: h, lengths: rowLengths(h))
    try linearObserver?.observeStream(sublayer, layer: layer, state: h, lengths: rowLengths(h))
  }

  private func rowLengths(_ x: Tensor) -> [Int]? {
    x.shape.count == 3 && x.shape[0] == lengths.count && packed == nil ? lengths : nil
  }
}
