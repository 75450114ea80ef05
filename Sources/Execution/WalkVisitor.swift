public import Models
public import Torch

/// Sees a walk go by, and may change it: statistics, refits, training.
///
/// All moments have an implementation that does nothing.
public protocol WalkVisitor: AnyObject {
  /// Whether `didRun` may return weights. The walk takes one layer at a time then, and keeps what went into it.
  var replacesWeights: Bool { get }

  /// Whether each batch goes through a layer as all subjects have it before the next batch does, in the subjects' order. Else all
  /// batches are seen with one subject, then with the next. For visitors that replace weights.
  var seesSubjectsTogether: Bool { get }

  /// What sees the activations of a subject in a layer (original, 0-based); nil for nothing. Subjects that are computed
  /// alike are seen at once, each by its own observer.
  func observer(subject: Int, layer: Int) -> (any TapObserver)?

  /// What sees the inputs of the linear maps of a subject's layer; nil for nothing.
  func linearObserver(subject: Int, layer: Int) -> (any LinearObserver)?

  /// All batches have gone through a layer.
  ///
  /// - Parameters:
  ///   - subject: the first of those that were computed alike.
  ///   - weights: what was computed with.
  ///   - layer: the original layer's 0-based number.
  /// - Returns: weights to send all batches through the layer again with, for all those subjects; nil to go on.
  func didRun(layer: Int, subject: Int, weights: LayerWeights) throws -> LayerWeights?

  /// Whether all batches of all subjects go through the layer once more, with the weights there are now, seen by observers and
  /// told to `didRun`: asked after that, of visitors that replace weights. Otherwise nobody observes what new weights make of
  /// the batches.
  func runsAgain(layer: Int) throws -> Bool

  /// Where a batch that goes through the layer again may begin: asked of visitors that replace weights, for what they have kept.
  ///
  /// - Parameters:
  ///   - batch: its number.
  ///   - layer: original, 0-based.
  ///   - subject: the number of the model that is walked.
  /// - Returns: the residual stream before a branch, `[B, S, H]`, with the branch's number, or that of all branches where the stream is the
  ///   layer's result; nil to go through all of the layer.
  func resumption(layer: Int, subject: Int, batch: Int) throws -> (branch: Int, stream: Tensor)?

  /// No subject needs the layer any more.
  func didFinish(layer: Int) throws

  /// All layers have seen a chunk: these batches of all.
  func didFinish(chunk: Range<Int>) throws

  /// All layers have seen all chunks.
  func didFinishWalk() throws
}

extension WalkVisitor {
  public var replacesWeights: Bool { false }
  public var seesSubjectsTogether: Bool { false }
  public func observer(subject: Int, layer: Int) -> (any TapObserver)? { nil }
  public func linearObserver(subject: Int, layer: Int) -> (any LinearObserver)? { nil }
  public func didRun(layer: Int, subject: Int, weights: LayerWeights) throws -> LayerWeights? { nil }
  public func runsAgain(layer: Int) throws -> Bool { false }
  public func resumption(layer: Int, subject: Int, batch: Int) throws -> (branch: Int, stream: Tensor)? { nil }
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

/// Subjects that are computed alike are seen by the observer of each.
final class SeveralObservers: TapObserver {
  private let observers: [any TapObserver]

  init(_ observers: [any TapObserver]) { self.observers = observers }

  func observe(_ tap: Tap, layer: Int, _ sums: ChannelSums) throws {
    for observer in observers { try observer.observe(tap, layer: layer, sums) }
  }

  func observeLayer(_ layer: Int, input: Tensor, output: Tensor, lengths: [Int]) throws {
    for observer in observers { try observer.observeLayer(layer, input: input, output: output, lengths: lengths) }
  }

  func observeExperts(layer: Int, _ sums: ExpertSums) throws {
    for observer in observers { try observer.observeExperts(layer: layer, sums) }
  }

  func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
    for observer in observers {
      try observer.observeStream(sublayer, layer: layer, state: state, lengths: lengths)
    }
  }
}

/// The same for the inputs of linear maps.
final class SeveralLinearObservers: LinearObserver {
  private let observers: [any LinearObserver]

  init(_ observers: [any LinearObserver]) { self.observers = observers }

  func observe(
    _ weight: Weight, bias: Weight?, routed: RoutedRows?, layer: Int, input: Tensor, lengths: [Int]?
  ) throws {
    for observer in observers {
      try observer.observe(weight, bias: bias, routed: routed, layer: layer, input: input, lengths: lengths)
    }
  }

  func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
    for observer in observers {
      try observer.observeStream(sublayer, layer: layer, state: state, lengths: lengths)
    }
  }
}
