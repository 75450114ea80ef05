import Execution
import Models
import Torch

/// The maps of a layer's routed experts, of one kind, each solved from the tokens that the pruned model sends to its expert. Experts
/// come in groups whose moments fit the memory.
///
/// Shapes: R rows of one expert, H what experts read in the original, F their channels there, K and G what is kept of these.
final class ExpertRefit {
  /// All experts' maps as they are stored, where some are better than as they were sliced.
  private(set) var found: [Weight: Tensor] = [:]
  /// Experts whose moments are summed now.
  private var group: Range<Int>
  private let site: RefitSite
  private let layer: Int
  private let model: ModelDescription
  private let selection: Selection
  private let basis: StreamBasis
  private let division: RowDivision
  private let block: MixtureOfExperts
  private let maps: ExpertMaps
  private let count: Int
  private var moments: [Int: DividedMoments] = [:]

  /// - Parameters:
  ///   - room: bytes for moments.
  ///   - isFirstSite: all experts come at once then, as the original is seen whole only once.
  init(
    _ site: RefitSite, of block: MixtureOfExperts, _ layer: Int, _ model: ModelDescription, _ selection: Selection,
    _ basis: StreamBasis, room: Int,
    isFirstSite: Bool, _ division: RowDivision
  ) {
    (self.site, self.layer, self.model, self.selection) = (site, layer, model, selection)
    (self.basis, self.division) = (basis, division)
    (self.block, maps) = (block, block.expertMaps)
    let architecture = selection.architecture(of: model)
    count = selection.kept(.experts, layer: layer)?.count ?? model.sizes(inLayer: layer)[.experts]
    let weight = site.weights[0]
    let whole = weight.axes[maps.inputAxis].size(model.sizes(inLayer: layer))
    let own = weight.axes[maps.inputAxis].size(architecture.sizes(inLayer: layer))
    // Both parts of both moments, in float64.
    let bytes = 2 * 8 * own * (own + whole)
    group = 0..<(isFirstSite ? count : min(count, max(room / max(bytes, 1), 1)))
  }

  /// Whether all experts have been solved.
  var isDone: Bool { group.upperBound >= count }

  func next() {
    moments = [:]
    group = group.upperBound..<min(count, group.upperBound + group.count)
  }

  private func original(_ expert: Int) -> Int { selection.kept(.experts, layer: layer)?[expert] ?? expert }

  /// Rows that the pruned model sends to an expert.
  ///
  /// - Parameters:
  ///   - entering: what the original's experts read, of each valid token: `[T, H]`.
  ///   - whole: the original's weights.
  func see(_ routed: RoutedRows, input: Tensor, entering: Tensor, batch: Int, whole: LayerWeights?) throws {
    guard group.contains(routed.expert) else { return }
    var x = try input.to(.float32)
    var target = try entering.picked(routed.tokens)
    let shares = try routed.shares.to(.float32)
    if site.experts == .down {
      guard let whole else { throw ModelError("the original's experts of layer \(layer + 1) were not seen") }
      target = try block.expertInner(target, shares: shares, expert: original(routed.expert), weights: whole)
    } else {
      target = try target.to(.float32)
    }
    if site.weights.contains(where: { maps.biases[$0] != nil }) {
      // A bias after the last map is weighed by the router as well.
      let constant = try site.experts == .down ? shares : .ones(shares.shape, dtype: .float32, device: shares.device)
      x = try Tensor.cat([x, constant], dim: 1)
      target = try Tensor.cat([target, constant], dim: 1)
    }
    let own = try moments[routed.expert] ?? DividedMoments(inputs: x.shape[1], targets: target.shape[1])
    moments[routed.expert] = own
    try own.add(x, target, of: routed.tokens, division.batches[batch])
  }

  /// Solves the experts of this group.
  ///
  /// - Parameters:
  ///   - weights: the pruned model's.
  ///   - whole: the original's.
  func solve(_ weights: LayerWeights, _ whole: LayerWeights) throws -> RefitCounts {
    var counts = RefitCounts()
    // Maps of one expert that read the same have a regression in common.
    let regressions = try moments.mapValues { try RidgeRegression(moments: $0) }
    for weight in site.weights {
      var solved: [Int: Tensor] = [:]
      for expert in group {
        let sliced = try maps.map(weight, of: expert, in: weights)
        guard let own = regressions[expert], let seen = moments[expert], seen.solved.tokens >= sliced.shape[1],
          seen.heldBack.tokens > 0
        else {
          counts.starved += 1
          continue
        }
        let solution = try own.solve(towards: sliced, targets: map(weight, expert, whole))
        guard let solution else {
          counts.sliced += 1
          continue
        }
        counts.refitted += 1
        solved[expert] = solution.weight
      }
      guard !solved.isEmpty else { continue }
      // The others are as they were.
      let all = try (0..<count).map { expert in
        try solved[expert] ?? maps.map(weight, of: expert, in: found[weight] == nil ? weights : LayerWeights(found))
      }
      found.merge(try maps.stored(all, as: weight)) { $1 }
    }
    return counts
  }

  /// The original's map of an expert, of the outputs that are kept: `[out, in]`.
  private func map(_ weight: Weight, _ expert: Int, _ whole: LayerWeights) throws -> Tensor {
    let map = try maps.map(weight, of: original(expert), in: whole)
    if weight.writesAxis == maps.outputAxis { return try basis.kept(map.transpose(0, 1)).transpose(0, 1).contiguous() }
    let kept = selection.keptIndices(of: weight, layer: layer, expert: original(expert), in: model)
    return try map.picked(kept[maps.outputAxis])
  }
}
