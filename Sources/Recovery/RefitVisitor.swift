public import Execution
public import Models
public import Torch

/// Refits a pruned model's linear maps, layer by layer, while the original and the pruned model walk side by side: each map is
/// solved so that from what reaches it in the pruned model it gives what the original gives there (`RidgeRegression`). What
/// earlier maps have become is what reaches later ones.
///
/// The method is GPTQ's and SparseGPT's (Frantar et al. 2022 and 2023, arXiv 2210.17323, 2301.00774) without quantising: second
/// moments of a map's inputs, one map after another.
///
/// Subject 0 is the original, subject 1 the pruned model. Each layer is walked once for each place in it where activations are
/// read, as far as that place.
public final class RefitVisitor: WalkVisitor {
  public var replacesWeights: Bool { true }
  public var seesSubjectsTogether: Bool { true }

  private let model: ModelDescription
  private let selection: Selection
  private let kept: any RefittedWeights
  private let storedType: (Weight, Int?) -> DType
  private let basis: StreamBasis
  /// What the stream should be after the last layer, where that is not the same.
  private let last: StreamBasis?
  private let room: Int
  private let tokens: Int
  private let division: RowDivision
  private let head: HeadRefit
  /// The first layer in which the two differ, and the first that is refitted: its last map may make up for layers after it.
  private let firstUnlike: Int, first: Int
  private let ahead: StreamsAhead?
  public private(set) var counts = RefitCounts()

  /// The layer that is being refitted.
  private var current: LayerRefit?

  /// - Parameters:
  ///   - model: the original.
  ///   - selection: of the pruned model.
  ///   - kept: takes what is found; layers that it has are not refitted again.
  ///   - directions: of the original's residual stream that the pruned model's has, `[hidden, kept]`; nil for the channels that
  ///     the selection keeps.
  ///   - tiedHead: the embedding as head, its columns multiplied by the final norm's weight: the original's, `[V, hidden]`, and
  ///     the pruned model's, `[V, kept]`; nil where the head is not tied.
  ///   - batches: that will be walked, in their order. Every eighth row is held back, to judge by.
  ///   - ahead: the original's stream after runs of dropped layers; nil where none is dropped, or what is before them is refitted.
  ///   - room: bytes for what the original gives in a layer, so that it goes through the layer once, and then for its last states.
  ///   - storedType: of a weight in the result.
  public init(
    _ model: ModelDescription, _ selection: Selection, kept: any RefittedWeights, directions: Tensor? = nil,
    tiedHead: (whole: Tensor, own: Tensor)? = nil, batches: [TokenBatch], ahead: StreamsAhead? = nil, room: Int,
    storedType: @escaping (_ weight: Weight, _ layer: Int?) -> DType
  ) throws {
    (self.model, self.selection, self.kept, self.storedType) = (model, selection, kept, storedType)
    (self.ahead, self.room) = (ahead, room)
    tokens = batches.reduce(0) { $0 + $1.tokenCount }
    division = try RowDivision(batches.map(\.lengths))
    basis = try StreamBasis(selection, directions)
    last = try tiedHead.flatMap { try StreamBasis.read(by: $0.own, for: $0.whole) }
    head = HeadRefit(model, division, room: room)
    firstUnlike =
      selection.kept(.hidden, layer: nil) != nil
      ? 0
      : model.layers.indices.first { layer in
        !selection.layers.contains(layer)
          || model.layers[layer].weights.contains { weight in
            selection.keptIndices(of: weight, layer: layer, in: model).contains { $0 != nil }
          }
      } ?? model.layers.count
    first = min(StreamsAhead.runs(model, selection).keys.min() ?? firstUnlike, firstUnlike)
  }

  /// What has to be walked: the original and the pruned model.
  public var subjects: [Subject] {
    // While two subjects are alike they are computed once, and their weights are replaced together.
    let apart = first < firstUnlike ? OwnWeights(from: first) : nil
    return [Subject(Selection(all: model)), Subject(selection, overlay: apart)]
  }

  /// Changes nothing, but keeps a subject from being computed together with others.
  private final class OwnWeights: WeightOverlay {
    let firstLayer: Int

    init(from layer: Int) { firstLayer = layer }

    func apply(_ weights: LayerWeights, of selection: Selection, layer: Int?) -> LayerWeights { weights }
  }

  private func isRefitted(_ layer: Int) -> Bool { layer >= first && selection.layers.contains(layer) }

  public func linearObserver(subject: Int, layer: Int) -> (any LinearObserver)? {
    guard isRefitted(layer), let refit = try? refit(of: layer), !refit.isKept else { return nil }
    return subject == 0 ? refit.original : refit.pruned
  }

  private func refit(of layer: Int) throws -> LayerRefit {
    if let current, current.layer == layer { return current }
    let found = try kept.found(layer)
    if let found { counts = counts + found.counts }
    let last = layer == selection.layers.last ? self.last : nil
    let refit = LayerRefit(
      layer, model, selection, basis, last: last, kept: found?.weights, room: room, tokens: tokens, division,
      ahead: ahead, isWholeBefore: layer < firstUnlike
    ) { [storedType] in storedType($0, layer) }
    current = refit
    return refit
  }

  public func didRun(layer: Int, subject: Int, weights: LayerWeights) throws -> LayerWeights? {
    guard isRefitted(layer) else { return nil }
    let refit = try refit(of: layer)
    if subject == 0 {
      refit.whole = weights
      return nil
    }
    return try refit.didRun(weights)
  }

  public func runsAgain(layer: Int) throws -> Bool {
    guard isRefitted(layer), let current, current.layer == layer else { return false }
    return current.runsAgain()
  }

  public func resumption(layer: Int, subject: Int, batch: Int) throws -> (branch: Int, stream: Tensor)? {
    guard subject == 1, let current, current.layer == layer else { return nil }
    return try current.branches.resumption(batch)
  }

  public func didFinish(layer: Int) throws {
    guard let done = current, done.layer == layer else { return }
    current = nil
    // What was solved with is of no use to the next walk.
    try LibTorch.releaseMemory()
    guard !done.isKept else { return }
    counts = counts + done.counts
    ahead?.release(layer)
    try kept.keep(done.found, layer: layer, counts: done.counts)
  }

  // MARK: After the layers

  /// States after the final norm: all batches of subject 0, then all of subject 1.
  ///
  /// - Parameter hidden: `[B, S, hidden]`.
  public func didFinish(subject: Int, batch: TokenBatch, number: Int, hidden: Tensor, head: OutputHead) throws {
    guard first < model.layers.count else { return }
    try self.head.see(subject: subject, batch: number, lengths: batch.lengths, hidden: hidden, head: head)
  }

  /// Refits the head, or the final norm's weight where the head is tied.
  ///
  /// - Parameter norm: the pruned model's final norm's weight.
  public func solveHead(norm: Tensor?) throws {
    // Of what comes before the first cut it is said that nothing is replaced: who computes with the result asks for every layer.
    for layer in selection.layers where layer < first { try kept.keep([:], layer: layer, counts: RefitCounts()) }
    guard first < model.layers.count else { return try kept.keep([:], layer: nil, counts: RefitCounts()) }
    let found = try head.solve(norm: norm)
    var own = RefitCounts()
    if found.isEmpty { own.sliced = 1 } else { own.refitted = 1 }
    counts = counts + own
    let stored = try Dictionary(uniqueKeysWithValues: found.map { ($0, try $1.to(storedType($0, nil))) })
    try kept.keep(stored, layer: nil, counts: own)
  }
}
