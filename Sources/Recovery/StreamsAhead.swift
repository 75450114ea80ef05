public import Execution
public import Models
import Torch

/// The original's residual stream after runs of dropped layers, which the layer that is kept before each run should bring the pruned
/// model's stream to: its last map makes up for the run.
///
/// Found in a walk of the original alone, before that of the refit.
public final class StreamsAhead: WalkVisitor {
  // All batches go through each layer together, as in the walk of the refit: so that streams are the same to the last bit.
  public var replacesWeights: Bool { true }

  /// The last layer of the run that follows, by the layer before it.
  private let ends: [Int: Int]
  private let model: ModelDescription
  private let store: any StateChannel
  private let batches: Int
  private var observers: [Int: LayerResults] = [:]

  /// - Parameters:
  ///   - store: for the streams.
  ///   - batches: that will be walked.
  ///   - kept: layers that are refitted already.
  /// - Returns: nil where no run of dropped layers can be made up for, or all that could are refitted.
  public init?(
    _ model: ModelDescription, _ selection: Selection, batches: Int, store: any StateChannel,
    isRefitted: (Int) throws -> Bool
  ) rethrows {
    (self.model, self.store, self.batches) = (model, store, batches)
    ends = try Self.runs(model, selection).filter { try !isRefitted($0.key) }
    if ends.isEmpty { return nil }
  }

  /// The layers that are kept before a run of dropped ones and whose last map reaches the stream, with the run's last layer.
  static func runs(_ model: ModelDescription, _ selection: Selection) -> [Int: Int] {
    let next = selection.layers.dropFirst() + [model.layers.count]
    let pairs = zip(selection.layers, next).filter { layer, next in
      next > layer + 1 && model.layers[layer].reachesStream(model.layers[layer].sublayers.count - 1)
    }
    return Dictionary(uniqueKeysWithValues: pairs.map { ($0, $1 - 1) })
  }

  /// What has to be walked.
  public var subject: Subject { Subject(Selection(layers: Array(0...(ends.values.max() ?? 0)))) }

  public func linearObserver(subject: Int, layer: Int) -> (any LinearObserver)? {
    guard ends.values.contains(layer) else { return nil }
    let observer =
      observers[layer]
      ?? LayerResults(of: model.layers[layer]) { [store] batch, state, lengths in
        try store.put(StateKey(path: layer, batch: batch), state.valid(lengths).clone())
      }
    observers[layer] = observer
    return observer
  }

  /// `[T, hidden]`: of a batch's valid tokens; nil where no run follows the layer.
  func stream(after layer: Int, batch: Int) throws -> Tensor? {
    try ends[layer].map { try store.get(StateKey(path: $0, batch: batch)) }
  }

  func isFollowed(_ layer: Int) -> Bool { ends[layer] != nil }

  /// The layer is refitted.
  func release(_ layer: Int) {
    guard let end = ends[layer] else { return }
    for batch in 0..<batches { store.remove(StateKey(path: end, batch: batch)) }
  }
}
