public import Execution
public import Models
public import Torch

/// Refits every linear map whose inputs are cut, each for itself: from the inputs that are kept it gives the original's outputs as
/// nearly as it can, had nothing before it been cut. `W' = W C[:, k] C[k, k]⁻¹`, C the second moments of the original's inputs and k
/// the kept ones (the closed form of He et al. 2017, arXiv 1707.06168, with a ridge and a test on rows held back).
///
/// The moments of a layer serve any number of pruned models. They are found while the original walks along, on rows of its own:
/// one layer's are in memory.
///
/// Shapes: T valid tokens of a batch, H hidden, K kept of it, V vocabulary.
public final class LocalRefit: WeightOverlay {
  private let model: ModelDescription
  private let executor: Executor
  private let batches: [TokenBatch]
  private let selections: [Selection]
  private let division: RowDivision
  private let storedType: (Weight, Int?) -> DType
  /// The original on its way through the layers, in the rotated basis and in channels: each where some model is cut so.
  private var walks: [Bool: (lane: LayerLane, moments: LocalMoments)] = [:]
  /// What was found outside the layers, of the model asked for last.
  private var outer: (selection: Selection, found: [Weight: Tensor])?

  /// - Parameters:
  ///   - executor: walks the original; in a rotated basis its weights are turned already.
  ///   - batches: to refit on. Every eighth row is held back, to judge by.
  ///   - selections: of the pruned models.
  ///   - storedType: of a weight in the result.
  public init(
    _ executor: Executor, _ batches: [TokenBatch], for selections: [Selection],
    storedType: @escaping (_ weight: Weight, _ layer: Int?) -> DType
  ) throws {
    model = executor.weights.model.description
    (self.executor, self.batches, self.selections, self.storedType) = (executor, batches, selections, storedType)
    division = try RowDivision(batches.map(\.lengths))
  }

  private func isRotated(_ selection: Selection) -> Bool {
    executor.weights.rotated != nil && selection.kept(.hidden, layer: nil) != nil
  }

  /// The original's walk in the basis of a selection, before a layer or in it.
  private func walk(_ selection: Selection, before layer: Int) throws -> (lane: LayerLane, moments: LocalMoments) {
    let isRotated = isRotated(selection)
    if let walk = walks[isRotated], (walk.moments.layer ?? -1) <= layer { return walk }
    walks[isRotated] = nil
    let alike = selections.filter { self.isRotated($0) == isRotated }
    let moments = LocalMoments(model, alike, division, isRotated: isRotated, room: executor.budget / 4)
    var whole = Selection(all: model)
    if isRotated { whole.cuts[.hidden] = .everywhere(Array(0..<model.sizes[.hidden])) }
    let walk = (try LayerLane(executor, batches, Subject(whole), visitor: moments), moments)
    walks[isRotated] = walk
    return walk
  }

  public func apply(_ weights: LayerWeights, of selection: Selection, layer: Int?) throws -> LayerWeights {
    try weights.replacing(refitted(weights, of: selection, layer: layer).weights)
  }

  /// The weights that are better than as they were cut, in the types they are stored in.
  ///
  /// - Parameters:
  ///   - weights: as the selection has them.
  ///   - selection: one of those that were announced.
  ///   - layer: original, 0-based, in ascending order; nil for the final norm and the head.
  public func refitted(
    _ weights: LayerWeights, of selection: Selection, layer: Int?
  ) throws -> (weights: [Weight: Tensor], counts: RefitCounts) {
    guard let layer else {
      let found = try outside(selection)
      var counts = RefitCounts()
      if found.isEmpty { counts.sliced = 1 } else { counts.refitted = 1 }
      return (found.filter { weights.has($0.key) }, counts)
    }
    let (lane, moments) = try walk(selection, before: layer)
    try lane.advance(through: layer)
    return try moments.solve(weights, selection) { [storedType] in storedType($0, layer) }
  }

  /// The final norm's weight where the head is tied, or the head.
  private func outside(_ selection: Selection) throws -> [Weight: Tensor] {
    if let outer, outer.selection == selection { return outer.found }
    guard selection.kept(.hidden, layer: nil) != nil else { return [:] }
    let (lane, _) = try walk(selection, before: model.layers.count)
    let source = executor.weights
    let norm = model.finalNorm
    func weights(_ selection: Selection) throws -> LayerWeights {
      try source.outside(selection).mapping {
        try $1.to($0.computesInFloat32 ? .float32 : source.dtype).to(device: source.device)
      }
    }
    let (all, cut) = (try weights(Selection(all: model)), try weights(selection))
    let directions = try source.rotated?.directions(keeping: model.sizes[.hidden]).to(.float32)
    let basis = try StreamBasis(selection, nil)
    var found: DividedMoments?
    try lane.finish { batch, state in
      // The lane's states are in the rotated basis, of which the first directions are kept.
      let rows = try state.rows(batches[batch].lengths)
      let (own, original) = (try basis.kept(rows), try directions.map { try rows.matmul($0.transpose(0, 1)) } ?? rows)
      let x = try norm.forward(own.to(source.dtype), weights: cut)
      let y = try norm.forward(original.to(source.dtype), weights: all)
      let moments = try found ?? DividedMoments(inputs: x.shape[1], targets: y.shape[1])
      found = moments
      try moments.add(x, y, division.batches[batch])
    }
    guard let found else { return [:] }
    let solved = try HeadRefit.solve(
      model, found, whole: executor.head(of: Subject(Selection(all: model))).weight(),
      own: executor.head(of: Subject(selection)).weight(), norm: norm.weight.map { try source.outer($0, of: selection) }
    )
    let stored = try Dictionary(uniqueKeysWithValues: solved.map { ($0, try $1.to(storedType($0, nil))) })
    outer = (selection, stored)
    return stored
  }
}
