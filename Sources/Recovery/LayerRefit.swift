import Execution
import Models
package import Torch

/// One layer's refit: its sites in order, one for each time that the batches go through it.
///
/// Shapes: T valid tokens of a batch.
final class LayerRefit {
  let layer: Int
  let original: OriginalSide
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
  private let last: StreamBasis?
  private let division: RowDivision
  private let storedType: (Weight) -> DType
  private let room: Int
  private var number = 0
  private var moments: DividedMoments?
  private var isSolved = false
  private var experts: ExpertRefit?
  /// The pruned model's stream before the site's branch, `[B, S, hidden]`.
  private var before: Tensor?
  let branches: DoneBranches
  private let ahead: StreamsAhead?
  private let isWholeBefore: Bool
  /// The first time that batches go through finds the sites, and is of no use for the first of them where all before the last map is
  /// the original's.
  private var isPassedOver: Bool { isWholeBefore && number == 0 }

  /// - Parameters:
  ///   - basis: what the pruned model's stream has of the original's.
  ///   - last: the same after this layer, where that is something else.
  ///   - kept: what was found before.
  ///   - room: bytes for what the original gives.
  ///   - tokens: of all batches.
  ///   - division: of their rows.
  ///   - ahead: the original's stream after dropped layers.
  ///   - isWholeBefore: whether everything before the layer's last map is the original's: that map alone is refitted.
  init(
    _ layer: Int, _ model: ModelDescription, _ selection: Selection, _ basis: StreamBasis, last: StreamBasis?,
    kept: [Weight: Tensor]?, room: Int, tokens: Int, _ division: RowDivision, ahead: StreamsAhead?, isWholeBefore: Bool,
    storedType: @escaping (Weight) -> DType
  ) {
    (self.ahead, self.isWholeBefore) = (ahead, isWholeBefore)
    (self.layer, self.model, self.selection, self.storedType) = (layer, model, selection, storedType)
    (self.basis, self.last, self.division) = (basis, last, division)
    original = OriginalSide(model.layers[layer], room: room, tokens: tokens)
    self.room = room
    branches = DoneBranches(batches: division.batches.count, room: room)
    isKept = kept != nil
    found = kept ?? [:]
    pruned.refit = self
  }

  private var description: LayerDescription { model.layers[layer] }
  private var site: RefitSite? { original.site(number) }

  // MARK: While batches go through

  /// Sees the pruned model, of each batch after the original.
  final class PrunedSide: LinearObserver {
    weak var refit: LayerRefit?

    func observe(
      _ weight: Weight, bias: Weight?, routed: RoutedRows?, layer: Int, input: Tensor, lengths: [Int]?
    ) throws {
      if let routed { try refit?.see(weight, routed, input) } else { try refit?.see(weight, input, lengths) }
    }

    func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
      try refit?.seeStream(sublayer, state, lengths)
    }
  }

  private func seeStream(_ sublayer: Int, _ state: Tensor, _ lengths: [Int]?) throws {
    guard let site, site.aim == .stream, sublayer == site.sublayer else { return }
    // The memory of the stream is used again, unless it is what was kept.
    before = try branches.kept(state) ? state : state.clone()
  }

  private func see(_ weight: Weight, _ routed: RoutedRows, _ input: Tensor) throws {
    guard let site, site.experts != nil, weight == site.weights.first, !isPassedOver,
      let block = description.experts(inBranch: site.sublayer)
    else { return }
    let experts =
      self.experts
      ?? ExpertRefit(
        site, of: block, layer, model, selection, basis, room: room, isFirstSite: number == 0, division)
    self.experts = experts
    try experts.see(
      routed, input: input, entering: original.aim(of: number), batch: original.batch, whole: whole)
  }

  private func see(_ weight: Weight, _ input: Tensor, _ lengths: [Int]?) throws {
    guard let site, site.experts == nil, weight == site.weights.first, !isPassedOver else { return }
    var (x, target) = (try input.valid(lengths), try original.aim(of: number))
    if site.aim == .stream {
      guard let before else { throw ModelError("the residual stream before \(weight.name) was not seen") }
      let isLast = site.sublayer == description.sublayers.count - 1
      if isLast, let after = try ahead?.stream(after: layer, batch: original.batch) { target = after }
      target = try (isLast ? last ?? basis : basis).kept(target.to(.float32)).subtracting(before.valid(lengths))
      if let scale = description.sublayers[site.sublayer].residualScale, scale != 0 {
        target = try target.divided(by: scale)
      }
      // The streams that it is the difference of are rounded to this type already.
      target = try target.to(x.dtype)
      try branches.see(stream: before, input: input, beside: original.held)
    }
    before = nil
    if !site.biases.isEmpty {
      x = try x.withOnes()
      if site.aim == .output { target = try target.withOnes() }
    }
    let moments = try self.moments ?? DividedMoments(inputs: x.shape[1], targets: target.shape[1])
    self.moments = moments
    try moments.add(x, target, division.batches[original.batch])
    throw SeenEnough()
  }

  // MARK: Between

  private func take() -> DividedMoments? {
    defer { moments = nil }
    isSolved = moments != nil
    return moments
  }

  /// All batches have gone through: the site's weights are solved.
  ///
  /// - Parameter weights: the pruned model's.
  func didRun(_ weights: LayerWeights) throws -> LayerWeights? {
    if isKept { return found.isEmpty ? nil : try weights.replacing(found) }
    if let experts, let whole {
      counts = counts + (try experts.solve(weights, whole))
      guard experts.isDone else { return nil }
      let changed = experts.found
      for (weight, tensor) in changed { found[weight] = try tensor.to(storedType(weight)) }
      return changed.isEmpty ? nil : try weights.replacing(found.filter { changed[$0.key] != nil })
    }
    // Large moments go as soon as they are narrowed.
    guard let site, let whole, let regression = try take().map({ try RidgeRegression(moments: $0) }) else { return nil }
    var changed: [Weight: Tensor] = [:]
    let isConstant = !site.biases.isEmpty
    for weight in site.weights {
      let bias = site.biases[weight]
      func joined(_ weights: LayerWeights) throws -> Tensor {
        let map = try weights[weight].to(.float32)
        guard isConstant else { return map }
        let column =
          try bias.map { try weights[$0].to(.float32) } ?? .zeros([map.shape[0]], dtype: .float32, device: map.device)
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
    let result = changed.isEmpty ? weights : try weights.replacing(changed)
    if site.aim == .stream, let map = site.weights.first {
      try branches.end(
        site.sublayer, map: result[map], bias: site.biases[map].map { try result[$0] },
        scale: description.sublayers[site.sublayer].residualScale)
    }
    return changed.isEmpty ? nil : result
  }

  /// The original's map, of the outputs that are kept.
  private func originalMap(_ weight: Weight, _ map: Tensor) throws -> Tensor {
    if weight.writesAxis == 0 { return try basis.kept(map.transpose(0, 1)).transpose(0, 1).contiguous() }
    return try map.picked(selection.keptIndices(of: weight, layer: layer, in: model).first ?? nil)
  }

  func runsAgain() -> Bool {
    if let experts, !experts.isDone, !isKept {
      experts.next()
      original.begin(number)
      return true
    }
    let isPassedOver = isPassedOver
    guard !isKept, isSolved || isPassedOver || experts != nil else { return false }
    (moments, experts, isSolved) = (nil, nil, false)
    number = isPassedOver ? max(original.siteCount - 1, 1) : number + 1
    original.begin(number)
    return site != nil
  }
}

extension Tensor {
  /// `[B, S, C]` or `[T, C]` → `[T, C]` float32: the valid tokens.
  ///
  /// - Parameter lengths: of each of B rows; nil where all are valid.
  func rows(_ lengths: [Int]?) throws -> Tensor { try valid(lengths).to(.float32) }

  /// `[T, C]` → `[T, C + 1]`: a constant input, for a bias.
  package func withOnes() throws -> Tensor {
    try Tensor.cat([self, .ones([shape[0], 1], dtype: dtype, device: device)], dim: 1)
  }
}

extension Tensor {
  /// Some rows; nil for all.
  func picked(_ numbers: [Int]?) throws -> Tensor {
    try numbers.map { try indexSelect(dim: 0, Tensor($0.map(Int64.init), shape: [$0.count]).to(device: device)) }
      ?? self
  }
}

extension LayerWeights {
  func has(_ weight: Weight) -> Bool { all[weight] != nil || allExperts[weight] != nil }

  /// The same with other tensors for some weights: one with all experts where a checkpoint has one for each.
  func replacing(_ changed: [Weight: Tensor]) throws -> LayerWeights {
    var experts = allExperts
    for (weight, list) in allExperts {
      guard let joined = changed[weight] else { continue }
      experts[weight] = try list.indices.map {
        try joined.select(dim: 0, index: $0).contiguous().to(list[$0].dtype).to(device: list[$0].device)
      }
    }
    return LayerWeights(
      all.merging(
        try changed.filter { all[$0.key] != nil }.map { ($0, try $1.to(self[$0].dtype).to(device: self[$0].device)) },
        uniquingKeysWith: { $1 }),
      experts: experts)
  }
}
