import Models
import Torch

/// One layer's refit: its sites in order, one for each time that the batches go through it.
///
/// Shapes: T valid tokens of a batch.
final class LayerRefit {
  let layer: Int
  let original = OriginalSide()
  let pruned = PrunedSide()
  /// The original's weights.
  var whole: LayerWeights?
  private(set) var found: [Weight: Tensor] = [:]
  private(set) var counts = RefitCounts()
  /// Whether it was done before.
  let isKept: Bool

  private let model: ModelDescription
  private let selection: Selection
  private let basis: StreamBasis
  private let storedType: (Weight) -> DType
  private var sites: [RefitSite]?
  private var number = 0
  private var finder: RefitSites
  private var moments: DividedMoments?
  /// The original's side of the batch that goes through, `[T, M]`.
  private var aim: Tensor?
  /// The pruned model's stream before the site's branch, `[T, hidden]`.
  private var before: Tensor?

  init(
    _ layer: Int, _ model: ModelDescription, _ selection: Selection, _ basis: StreamBasis, kept: [Weight: Tensor]?,
    storedType: @escaping (Weight) -> DType
  ) {
    (self.layer, self.model, self.selection, self.storedType) = (layer, model, selection, storedType)
    self.basis = basis
    finder = RefitSites(model.layers[layer])
    isKept = kept != nil
    found = kept ?? [:]
    (original.refit, pruned.refit) = (self, self)
  }

  private var description: LayerDescription { model.layers[layer] }
  private var site: RefitSite? { sites.flatMap { $0.indices.contains(number) ? $0[number] : nil } }

  // MARK: While batches go through

  /// Sees the original model.
  final class OriginalSide: LinearObserver {
    weak var refit: LayerRefit?

    func observe(_ weight: Weight, expert: Int?, layer: Int, input: Tensor, lengths: [Int]?) throws {
      try refit?.seeOriginal(weight, expert, input, lengths)
    }

    func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
      try refit?.seeOriginalStream(sublayer, state, lengths)
    }
  }

  /// Sees the pruned model, of each batch after the original.
  final class PrunedSide: LinearObserver {
    weak var refit: LayerRefit?

    func observe(_ weight: Weight, expert: Int?, layer: Int, input: Tensor, lengths: [Int]?) throws {
      try refit?.seePruned(weight, expert, input, lengths)
    }

    func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
      try refit?.seePrunedStream(sublayer, state, lengths)
    }
  }

  private func seeOriginal(_ weight: Weight, _ expert: Int?, _ input: Tensor, _ lengths: [Int]?) throws {
    if expert != nil { return }
    if sites == nil { finder.see(weight, input) }
    // While the first batch goes through, the first site is the only one that is known.
    guard let wanted = site ?? finder.sites.first, weight == wanted.weights.first, wanted.aim == .output else { return }
    aim = try input.rows(lengths)
    if number > 0 { throw SeenEnough() }
  }

  private func seeOriginalStream(_ sublayer: Int, _ state: Tensor, _ lengths: [Int]?) throws {
    if sites == nil {
      if sublayer < description.sublayers.count { finder.enter(sublayer) } else { sites = finder.found() }
    }
    guard let site, site.aim == .stream, sublayer == site.sublayer + 1 else { return }
    aim = try state.rows(lengths).clone()
    if number > 0 { throw SeenEnough() }
  }

  private func seePrunedStream(_ sublayer: Int, _ state: Tensor, _ lengths: [Int]?) throws {
    guard let site, site.aim == .stream, sublayer == site.sublayer else { return }
    before = try state.rows(lengths).clone()
  }

  private func seePruned(_ weight: Weight, _ expert: Int?, _ input: Tensor, _ lengths: [Int]?) throws {
    guard expert == nil, let site, weight == site.weights.first else { return }
    defer { (aim, before) = (nil, nil) }
    guard let aim else { throw ModelError("the original model does not come to layer \(layer + 1)'s \(weight.name)") }
    var (x, target) = (try input.rows(lengths), aim)
    if site.aim == .stream {
      guard let before else { throw ModelError("the residual stream before \(weight.name) was not seen") }
      target = try basis.kept(target).subtracting(before)
      if let scale = description.sublayers[site.sublayer].residualScale, scale != 0 {
        target = try target.divided(by: scale)
      }
    }
    if hasBias(site) {
      x = try x.withOnes()
      if site.aim == .output { target = try target.withOnes() }
    }
    let moments = try self.moments ?? DividedMoments(inputs: x.shape[1], targets: target.shape[1])
    self.moments = moments
    try moments.add(x, target)
    throw SeenEnough()
  }

  // MARK: Between

  private func bias(of weight: Weight) -> Weight? {
    guard weight.name.hasSuffix(".weight") else { return nil }
    let name = weight.name.dropLast("weight".count) + "bias"
    return description.weights.first { $0.name == name }
  }

  private func hasBias(_ site: RefitSite) -> Bool { site.weights.contains { bias(of: $0) != nil } }

  /// All batches have gone through: the site's weights are solved.
  ///
  /// - Parameter weights: the pruned model's.
  func didRun(_ weights: LayerWeights) throws -> LayerWeights? {
    if isKept { return found.isEmpty ? nil : try weights.replacing(found) }
    guard let site, let moments, let whole else { return nil }
    var changed: [Weight: Tensor] = [:]
    let regression = RidgeRegression(moments: moments)
    let isConstant = hasBias(site)
    for weight in site.weights {
      let bias = bias(of: weight)
      func joined(_ weights: LayerWeights) throws -> Tensor {
        let map = try weights[weight].to(.float32)
        guard isConstant else { return map }
        let column = try bias.map { try weights[$0].to(.float32) } ?? .zeros([map.shape[0]], dtype: .float32)
        return try Tensor.cat([map, column.unsqueeze(1)], dim: 1)
      }
      let solution = try regression.solve(
        towards: joined(weights), targets: site.aim == .output ? originalMap(weight, joined(whole)) : nil)
      guard let found = solution?.weight else {
        counts.sliced += 1
        continue
      }
      counts.refitted += 1
      let inputs = try weights[weight].shape[1]
      let type = try weights[weight].dtype
      func stored(_ tensor: Tensor, _ weight: Weight) throws -> Tensor {
        try tensor.contiguous().to(storedType(weight))
      }
      let map = try stored(found.narrow(dim: 1, start: 0, length: inputs), weight)
      self.found[weight] = map
      changed[weight] = try map.to(type)
      if let bias {
        let column = try stored(found.select(dim: 1, index: inputs), bias)
        self.found[bias] = column
        changed[bias] = try column.to(type)
      }
    }
    return changed.isEmpty ? nil : try weights.replacing(changed)
  }

  /// The original's map, of the outputs that are kept.
  private func originalMap(_ weight: Weight, _ map: Tensor) throws -> Tensor {
    if weight.axes.first == .hidden { return try basis.kept(map.transpose(0, 1)).transpose(0, 1).contiguous() }
    guard let rows = selection.keptIndices(of: weight, layer: layer, sizes: model.sizes).first ?? nil else {
      return map
    }
    return try map.indexSelect(dim: 0, Tensor(rows.map(Int64.init), shape: [rows.count]))
  }

  func runsAgain() -> Bool {
    guard !isKept, let sites, moments != nil else { return false }
    moments = nil
    number += 1
    return number < sites.count
  }
}

extension Tensor {
  /// `[B, S, C]` or `[T, C]` → `[T, C]` float32: the valid tokens.
  ///
  /// - Parameter lengths: of each of B rows; nil where all are valid.
  func rows(_ lengths: [Int]?) throws -> Tensor {
    let channels = shape[shape.count - 1]
    guard let lengths, shape.count == 3, lengths.contains(where: { $0 < shape[1] }) else {
      return try reshape([-1, channels]).to(.float32)
    }
    let parts = try lengths.enumerated().map { row, length in
      try select(dim: 0, index: row).narrow(dim: 0, start: 0, length: length)
    }
    return try Tensor.cat(parts, dim: 0).to(.float32)
  }

  /// `[T, C]` → `[T, C + 1]`: a constant input, for a bias.
  func withOnes() throws -> Tensor {
    try Tensor.cat([self, .ones([shape[0], 1], dtype: dtype)], dim: 1)
  }
}

extension LayerWeights {
  /// The same with other tensors for some weights.
  func replacing(_ changed: [Weight: Tensor]) throws -> LayerWeights {
    LayerWeights(
      all.merging(try changed.map { ($0, try $1.to(self[$0].dtype)) }, uniquingKeysWith: { $1 }), experts: allExperts)
  }
}
