public import Models
public import Torch

/// Hands on what a layer leaves, batch after batch.
public final class LayerResults: LinearObserver {
  private let branches: Int
  private let take: (_ batch: Int, _ state: Tensor, _ lengths: [Int]?) throws -> Void
  private var batch = 0

  /// - Parameters:
  ///   - layer: what is watched.
  ///   - take: gets the number of the batch in their order, and the residual stream, `[B, S, H]`, whose memory is used again.
  public init(
    of layer: LayerDescription, take: @escaping (_ batch: Int, _ state: Tensor, _ lengths: [Int]?) throws -> Void
  ) {
    (branches, self.take) = (layer.sublayers.count, take)
  }

  public func observe(
    _ weight: Weight, bias: Weight?, routed: RoutedRows?, layer: Int, input: Tensor, lengths: [Int]?
  ) throws {}

  public func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
    guard sublayer == branches else { return }
    try take(batch, state, lengths)
    batch += 1
  }
}
