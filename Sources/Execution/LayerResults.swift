public import Models
public import Torch

/// Hands on what some layers of a walk's only subject leave.
public final class LayerResults: WalkVisitor {
  /// Takes a layer's 0-based number, the batch's number in their order, the residual stream, `[B, S, H]`, whose memory is used again, and
  /// the valid tokens of each of B rows; nil where all are valid.
  public typealias Take = (_ layer: Int, _ batch: Int, _ state: Tensor, _ lengths: [Int]?) throws -> Void

  /// Whether all batches go through each layer together: as in a walk that replaces weights, and so the same to the last bit.
  public let replacesWeights: Bool
  private let observers: [Int: Observer]

  /// - Parameters:
  ///   - model: what is walked.
  ///   - layers: that are watched, 0-based.
  ///   - together: whether all batches go through each layer together.
  ///   - take: gets what they leave.
  public init(_ model: ModelDescription, of layers: some Sequence<Int>, together: Bool, take: @escaping Take) {
    replacesWeights = together
    observers = Dictionary(
      uniqueKeysWithValues: layers.map { ($0, Observer(branches: model.layers[$0].sublayers.count, take)) })
  }

  public func linearObserver(subject: Int, layer: Int) -> (any LinearObserver)? { observers[layer] }

  private final class Observer: LinearObserver {
    private let branches: Int
    private let take: Take
    private var batch = 0

    init(branches: Int, _ take: @escaping Take) { (self.branches, self.take) = (branches, take) }

    func observe(
      _ weight: Weight, bias: Weight?, routed: RoutedRows?, layer: Int, input: Tensor, lengths: [Int]?
    ) throws {}

    func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
      guard sublayer == branches else { return }
      try take(layer, batch, state, lengths)
      batch += 1
    }
  }
}
