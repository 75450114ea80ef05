import Execution
import Models
import Torch

/// The maps of a layer's routed experts, of one kind, each solved from the tokens that the pruned model sends to its expert. Experts
/// come in groups whose moments fit the memory.
///
/// Shapes: R rows of one expert, H what experts read in the original, F their channels there, K and G what is kept of these.
final class ExpertRefit {
  /// All experts' maps, where some are better than as they were sliced: `[E, out, in]`.
  private(set) var found: [Weight: Tensor] = [:]
  /// Experts whose moments are summed now.
  private var group: Range<Int>
  private let site: RefitSite
  private let layer: Int
  private let model: ModelDescription
  private let selection: Selection
  private let basis: StreamBasis
  private let division: RowDivision
  private let block: MixtureOfExperts?
  private let count: Int
  private var moments: [Int: DividedMoments] = [:]
  /// Of each token of the batch whether it is held back.
  private var isHeldBack: (batch: Int, tokens: Set<Int>) = (-1, [])

  /// - Parameters:
  ///   - room: bytes for moments.
  ///   - isFirstSite: all experts come at once then, as the original is seen whole only once.
  init(
    _ site: RefitSite, _ layer: Int, _ model: ModelDescription, _ selection: Selection, _ basis: StreamBasis, room: Int,
    isFirstSite: Bool, _ division: RowDivision
  ) {
    (self.site, self.layer, self.model, self.selection) = (site, layer, model, selection)
    (self.basis, self.division) = (basis, division)
    block = model.layers[layer].sublayers[site.sublayer].block as? MixtureOfExperts
    let architecture = selection.architecture(of: model)
    count = selection.kept(.experts, layer: layer)?.count ?? model.sizes[.experts]
    let weight = site.weights[0]
    let whole = weight.axes[2].size(model.sizes)
    let own = weight.axes[2].size(architecture.sizes(inLayer: layer))
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
    let x = try input.to(.float32)
    var target = try entering.picked(routed.tokens)
    if site.experts == .down {
      guard let block, let whole else { throw ModelError("the original's experts of layer \(layer + 1) were not seen") }
      target = try block.expertInner(target, expert: original(routed.expert), weights: whole).to(.float32)
        .multiplied(by: routed.shares.to(.float32))
    } else {
      target = try target.to(.float32)
    }
    let own = try moments[routed.expert] ?? DividedMoments(inputs: x.shape[1], targets: target.shape[1])
    moments[routed.expert] = own
    if isHeldBack.batch != batch {
      isHeldBack = (batch, Set(try division.batches[batch].heldBack?.int64s().map(Int.init) ?? []))
    }
    let rows = routed.tokens.indices
    let held = rows.filter { isHeldBack.tokens.contains(routed.tokens[$0]) }
    if held.isEmpty { return try own.solved.add(x, target) }
    try own.heldBack.add(x.picked(held), target.picked(held))
    let rest = rows.filter { !isHeldBack.tokens.contains(routed.tokens[$0]) }
    if !rest.isEmpty { try own.solved.add(x.picked(rest), target.picked(rest)) }
  }

  /// Solves the experts of this group.
  ///
  /// - Parameters:
  ///   - weights: the pruned model's.
  ///   - whole: the original's.
  func solve(_ weights: LayerWeights, _ whole: LayerWeights) throws -> RefitCounts {
    var counts = RefitCounts()
    // Maps of one expert that read the same have a regression in common.
    let regressions = moments.mapValues { RidgeRegression(moments: $0) }
    for weight in site.weights {
      var solved: [Int: Tensor] = [:]
      for expert in group {
        let sliced = try weights.expert(expert, of: weight).to(.float32)
        guard let own = regressions[expert], own.moments.solved.tokens >= sliced.shape[1],
          own.moments.heldBack.tokens > 0
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
        try solved[expert] ?? found[weight]?.select(dim: 0, index: expert)
          ?? weights.expert(expert, of: weight).to(.float32)
      }
      found[weight] = try Tensor.stack(all, dim: 0)
    }
    return counts
  }

  /// The original's map of an expert, of the outputs that are kept: `[out, in]`.
  private func map(_ weight: Weight, _ expert: Int, _ whole: LayerWeights) throws -> Tensor {
    let map = try whole.expert(original(expert), of: weight).to(.float32)
    if weight.writesAxis == 1 { return try basis.kept(map.transpose(0, 1)).transpose(0, 1).contiguous() }
    let kept = selection.keptIndices(of: weight, layer: layer, expert: original(expert), sizes: model.sizes)
    return try map.picked(kept[1])
  }
}
