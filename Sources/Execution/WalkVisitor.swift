public import Models

/// Sees a walk go by, and may change it: statistics, refits, training.
///
/// All moments have an implementation that does nothing.
public protocol WalkVisitor: AnyObject {
  /// Whether `didRun` may return weights. The walk takes one layer at a time then, and keeps what went into it.
  var replacesWeights: Bool { get }

  /// What sees the activations of a subject in a layer (original, 0-based); nil for nothing. Subjects that are computed
  /// alike are seen at once, each by its own observer.
  func observer(subject: Int, layer: Int) -> (any TapObserver)?

  /// All batches have gone through a layer.
  ///
  /// - Parameters:
  ///   - subject: the first of those that were computed alike.
  ///   - weights: what was computed with.
  /// - Returns: weights to send all batches through the layer again with, for all those subjects; nil to go on. The
  ///   second time nobody observes.
  func didRun(layer: Int, subject: Int, weights: LayerWeights) throws -> LayerWeights?

  /// No subject needs the layer any more.
  func didFinish(layer: Int) throws

  /// All layers have seen a chunk: these batches of all.
  func didFinish(chunk: Range<Int>) throws

  /// All layers have seen all chunks.
  func didFinishWalk() throws
}

extension WalkVisitor {
  public var replacesWeights: Bool { false }
  public func observer(subject: Int, layer: Int) -> (any TapObserver)? { nil }
  public func didRun(layer: Int, subject: Int, weights: LayerWeights) throws -> LayerWeights? { nil }
  public func didFinish(layer: Int) throws {}
  public func didFinish(chunk: Range<Int>) throws {}
  public func didFinishWalk() throws {}
}

/// Lets one observer see every layer of every subject.
public final class EveryLayer: WalkVisitor {
  private let sees: any TapObserver

  public init(_ observer: any TapObserver) { sees = observer }

  public func observer(subject: Int, layer: Int) -> (any TapObserver)? { sees }
}
