public import Execution
public import Models
import Torch

/// The original's residual stream after runs of dropped layers, which the layer that is kept before each run should bring the pruned
/// model's stream to: its last map makes up for the run.
///
/// Found in a walk of the original alone, before that of the refit.
public final class StreamsAhead {
  /// The last layer of the run that follows, by the layer before it.
  private let ends: [Int: Int]
  private let store: any StateChannel
  private let batches: Int
  /// Has to see the walk of `subject`.
  public let visitor: LayerResults

  /// - Parameters:
  ///   - batches: that will be walked.
  ///   - store: for the streams.
  ///   - isRefitted: whether that is done of a layer already.
  /// - Returns: nil where no run of dropped layers can be made up for, or all that could are refitted.
  public init?(
    _ model: ModelDescription, _ selection: Selection, batches: Int, store: any StateChannel,
    isRefitted: (Int) throws -> Bool
  ) rethrows {
    let ends = try Self.runs(model, selection).filter { try !isRefitted($0.key) }
    if ends.isEmpty { return nil }
    (self.ends, self.store, self.batches) = (ends, store, batches)
    visitor = LayerResults(model, of: ends.values, together: true) { layer, batch, state, lengths in
      try store.put(StateKey(path: layer, batch: batch), state.valid(lengths).clone())
    }
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

  /// `[T, hidden]`: of a batch's valid tokens; nil where no run follows the layer.
  func stream(after layer: Int, batch: Int) throws -> Tensor? {
    try ends[layer].map { try store.get(StateKey(path: $0, batch: batch)) }
  }

  /// The layer is refitted.
  func release(_ layer: Int) {
    guard let end = ends[layer] else { return }
    for batch in 0..<batches { store.remove(StateKey(path: end, batch: batch)) }
  }
}
