import Execution
import Models
import Torch

/// Second moments of what goes into the linear maps of one layer of the original, of those whose inputs some pruned model cuts.
///
/// Shapes: T valid tokens of a batch, N inputs of a map, k those that are kept, M its outputs.
final class LocalMoments: WalkVisitor, LinearObserver {
  /// Whose moments these are: the layer walked last, 0-based.
  private(set) var layer: Int?
  private let model: ModelDescription
  private let selections: [Selection]
  private let division: RowDivision
  private let isRotated: Bool
  private let room: Int

  private var finder: RefitSites?
  /// By the first weight that reads the input.
  private var grams: [Weight: DividedGram] = [:]
  /// By the branch that they are in.
  private var experts: [Int: LocalExperts] = [:]
  /// Σ of the squares of the stream's channels where its mean square is one, before each branch: `[H]` float64.
  private var energies: [Int: Tensor] = [:]
  private var batch = -1
  private var whole: LayerWeights?

  /// - Parameters:
  ///   - selections: of the pruned models.
  ///   - division: of the rows that are walked.
  ///   - isRotated: whether what is walked has the stream in a rotated basis, whose norms have constants.
  ///   - room: bytes for what routed experts read.
  init(_ model: ModelDescription, _ selections: [Selection], _ division: RowDivision, isRotated: Bool, room: Int) {
    (self.model, self.selections, self.division) = (model, selections, division)
    (self.isRotated, self.room) = (isRotated, room)
  }

  // MARK: While the original goes through

  func linearObserver(subject: Int, layer: Int) -> (any LinearObserver)? {
    if layer != self.layer {
      self.layer = layer
      finder = RefitSites(model.layers[layer])
      (grams, experts, energies, batch, whole) = ([:], [:], [:], -1, nil)
    }
    return self
  }

  func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
    if sublayer == 0 { batch += 1 }
    if batch == 0 { finder?.enter(sublayer) }
    if batch >= 0 { try experts[sublayer - 1]?.end(batch) }
    guard sublayer < model.layers[layer].sublayers.count, isRescaled(sublayer, layer),
      selections.contains(where: { $0.kept(.hidden, layer: nil) != nil })
    else { return }
    let squares = try state.rows(lengths).square()
    let energy = try squares.divided(by: squares.mean(dims: [1], keepDim: true)).sum(dims: [0])
      .to(device: .cpu).to(.float64)
    if let sum = energies[sublayer] { try sum.add(energy) } else { energies[sublayer] = energy }
  }

  /// Whether the norm before a branch gives a shorter stream's channels other factors.
  private func isRescaled(_ sublayer: Int, _ layer: Int) -> Bool {
    if isRotated { return false }
    switch model.norm(readingStream: sublayer, ofLayer: layer)?.kind {
    case .rms, .rmsWide, .rmsPlusOne, .bare: return true
    case .layer, .layerPlusOne, nil: return false
    }
  }

  func observe(
    _ weight: Weight, bias: Weight?, routed: RoutedRows?, layer: Int, input: Tensor, lengths: [Int]?
  ) throws {
    if let routed { return try see(weight, routed, input) }
    guard weight.axes.count == 2 else { return }
    if batch == 0 {
      finder?.see(weight, bias: bias, input)
      guard finder?.sites.last?.weights.first == weight,
        selections.contains(where: { $0.layers.contains(layer) && inputs(of: weight, $0, layer) != nil })
      else { return }
      grams[weight] = try DividedGram(input.shape[input.shape.count - 1])
    }
    try grams[weight]?.add(input.valid(lengths), division.batches[batch])
  }

  private func see(_ weight: Weight, _ routed: RoutedRows, _ input: Tensor) throws {
    guard let layer else { return }
    if batch == 0 { finder?.seeExperts(weight) }
    guard let site = finder?.sites.first(where: { $0.experts != nil && $0.weights.first == weight }),
      let block = model.layers[layer].experts(inBranch: site.sublayer)
    else { return }
    let own = try experts[site.sublayer] ?? LocalExperts(block, layer, model, selections, division, room: room)
    experts[site.sublayer] = own
    try own.see(routed, input, isFirst: site.experts == .first, batch)
  }

  func didRun(layer: Int, subject: Int, weights: LayerWeights) throws -> LayerWeights? {
    whole = weights
    return nil
  }

  /// Those that are kept; nil for all.
  private func inputs(of weight: Weight, _ selection: Selection, _ layer: Int) -> [Int]? {
    selection.keptIndices(of: weight, layer: layer, in: model)[1]
  }

  // MARK: Of a pruned model

  /// Its weights that are better on the rows held back than as they were cut.
  ///
  /// - Parameter weights: the layer's, as the selection has them.
  func solve(
    _ weights: LayerWeights, _ selection: Selection, storedType: (Weight) -> DType
  ) throws -> (weights: [Weight: Tensor], counts: RefitCounts) {
    guard let layer, let whole, let finder else { return ([:], RefitCounts()) }
    var found: [Weight: Tensor] = [:]
    var counts = RefitCounts()
    for site in finder.sites {
      guard let first = site.weights.first else { continue }
      let scale = try scale(of: site, first, selection)
      if site.experts == .first, let experts = experts[site.sublayer] {
        let own = try experts.solve(weights, whole: whole, selection, scale: scale)
        for (weight, tensor) in own.weights { found[weight] = try tensor.to(storedType(weight)) }
        counts = counts + own.counts
      }
      guard let gram = grams[first], let kept = inputs(of: first, selection, layer) else { continue }
      var regressions: [Bool: RidgeRegression] = [:]
      for weight in site.weights {
        let bias = site.biases[weight]
        let own =
          try regressions[bias != nil]
          ?? RidgeRegression(moments: gram.moments(keeping: kept, scale: scale, isConstant: bias != nil))
        regressions[bias != nil] = own
        let solution = try own.solve(
          towards: weights.joined(weight, bias), targets: original(weight, bias, whole, selection, layer))
        guard let solution else {
          counts.sliced += 1
          continue
        }
        counts.refitted += 1
        let map = try solution.weight.narrow(dim: 1, start: 0, length: kept.count)
        found[weight] = try map.contiguous().to(storedType(weight))
        if let bias {
          found[bias] = try solution.weight.select(dim: 1, index: kept.count).contiguous().to(storedType(bias))
        }
      }
    }
    return (found, counts)
  }

  /// What the pruned model's norm multiplies the kept channels by, beyond what the original's does: the stream's mean square over
  /// all channels is not that over those.
  private func scale(of site: RefitSite, _ weight: Weight, _ selection: Selection) throws -> Double {
    guard weight.readsAxis != nil, let energy = energies[site.sublayer], let kept = selection.kept(.hidden, layer: nil)
    else { return 1 }
    let own = try energy.indexSelect(dim: 0, Tensor(kept.map(Int64.init), shape: [kept.count])).mean().item()
    let all = try energy.mean().item()
    return own > 0 && all.isFinite && own.isFinite ? (all / own).squareRoot() : 1
  }

  /// The original's map with its bias, of the outputs that are kept: `[M, N]`.
  private func original(
    _ weight: Weight, _ bias: Weight?, _ whole: LayerWeights, _ selection: Selection, _ layer: Int
  ) throws -> Tensor {
    let map = try whole.joined(weight, bias)
    guard let rows = selection.keptIndices(of: weight, layer: layer, in: model)[0] else { return map }
    return try map.indexSelect(dim: 0, Tensor(rows.map(Int64.init), shape: [rows.count]))
  }
}

extension LayerWeights {
  /// `[M, N]`, or with a bias `[M, N + 1]`, float32.
  func joined(_ weight: Weight, _ bias: Weight?) throws -> Tensor {
    func wide(_ weight: Weight) throws -> Tensor { try self[weight].to(device: .cpu).to(.float32) }
    let map = try wide(weight)
    return try bias.map { try Tensor.cat([map, wide($0).unsqueeze(1)], dim: 1) } ?? map
  }
}
