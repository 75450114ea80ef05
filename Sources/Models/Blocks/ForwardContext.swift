public import Torch

// Shapes: B rows, S tokens, C channels.

/// What a forward pass needs besides weights and activations.
public struct ForwardContext {
  /// The original layer's 0-based number.
  public var layer: Int
  /// Valid tokens of each row (`B` numbers up to `S`); rows are padded on the right.
  public let lengths: [Int]
  public let positions: Positions
  /// Rows of each micro-batch, in their order: what is measured of experts is measured micro-batch by micro-batch.
  public let microBatches: [Int]
  public internal(set) var observer: (any TapObserver)?
  public let linearObserver: (any LinearObserver)?
  public let cache: KeyValueCache?
  /// Where several sequences share the one row there is.
  public private(set) var packed: PackedContext?
  /// What the layer gets of each token besides the residual stream, `[B, S, hidden_size_per_layer_input]`.
  public var layerInput: (() throws -> Tensor)?
  /// The residual stream that a branch reads, for what norms it in its own manner.
  var stream: Tensor?
  /// Keys and values on their path between layers.
  var rides: KeyRides?

  /// - Parameters:
  ///   - microBatches: rows of each, as many as there are lengths in all; nil for a single one.
  ///   - linearObserver: sees what goes into linear maps.
  ///   - layer: the original layer's 0-based number.
  ///   - positions: the tokens' positions.
  ///   - cache: keys and values of the tokens before; nil where rows are whole.
  ///   - packed: where several sequences share the one row there is.
  ///   - observer: sees activations.
  ///   - lengths: valid tokens of each row.
  public init(
    layer: Int = 0, lengths: [Int], microBatches: [Int]? = nil, positions: Positions,
    observer: (any TapObserver)? = nil, linearObserver: (any LinearObserver)? = nil, cache: KeyValueCache? = nil,
    packed: PackedContext? = nil
  ) {
    self.packed = packed
    self.layer = layer
    self.lengths = lengths
    self.microBatches = microBatches ?? [lengths.count]
    self.linearObserver = linearObserver
    self.positions = positions
    self.observer = observer
    self.cache = cache
  }

  /// The same for a block whose result is wanted for all tokens.
  var untrimmed: ForwardContext {
    var context = self
    context.packed?.lastTokensOnly = false
    return context
  }

  /// Lets the observer, where there is one, see what `compute` hands to the sums.
  func observing<R>(_ tap: Tap, channels: Int, of x: Tensor, _ compute: (ChannelSums?) throws -> R) throws -> R {
    guard let observer else { return try compute(nil) }
    let sums = try ChannelSums(lengths: lengths, channels: channels, device: x.device)
    let result = try compute(sums)
    try observer.observe(tap, layer: layer, sums)
    return result
  }

  /// The same for activations that are there already, `[B, S, C]`.
  func observe(_ tap: Tap, _ x: Tensor) throws {
    guard observer != nil else { return }
    try observing(tap, channels: x.shape[2], of: x) { try $0?.add(x) }
  }
}
