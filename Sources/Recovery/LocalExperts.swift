import Execution
import Models
import Torch

/// Second moments of what the routed experts of one branch of the original read, and what their maps become in pruned models.
///
/// Maps that read the tokens are solved from all tokens that the experts read: what the kept channels say of the others is sought
/// once for all experts. Those after them are solved each from the tokens of its own expert.
///
/// Shapes: R rows of one expert, C what experts read, F their channels.
final class LocalExperts {
  private let maps: ExpertMaps
  private let layer: Int
  private let model: ModelDescription
  private let division: RowDivision
  /// Of what experts read, where a pruned model cuts it.
  private let first: DividedGram?
  private var entering = RoutedInputs()
  /// Of what last maps read, by expert.
  private var own: [Int: DividedGram] = [:]
  private let seesOwn: Bool

  /// - Parameters:
  ///   - selections: of the pruned models.
  ///   - division: of the rows that are walked.
  ///   - room: bytes for moments. Last maps whose moments do not fit are kept as they were sliced.
  init(
    _ block: MixtureOfExperts, _ layer: Int, _ model: ModelDescription, _ selections: [Selection],
    _ division: RowDivision, room: Int
  ) throws {
    maps = block.expertMaps
    (self.layer, self.model, self.division) = (layer, model, division)
    let (maps, experts) = (maps, model.sizes(inLayer: layer)[.experts])
    func isCut(_ weight: Weight) -> Bool {
      selections.contains { selection in
        selection.layers.contains(layer)
          && (0..<experts).contains { Self.inputs(of: weight, maps, selection, layer, $0, model) != nil }
      }
    }
    func width(_ weight: Weight) -> Int { weight.axes[maps.inputAxis].size(model.sizes(inLayer: layer)) }
    first = try maps.first.first.flatMap { isCut($0) ? try DividedGram(width($0)) : nil }
    seesOwn = isCut(maps.down) && 2 * 8 * experts * width(maps.down) * width(maps.down) <= room
  }

  /// Those that are kept of an original expert's map; nil for all.
  private static func inputs(
    of weight: Weight, _ maps: ExpertMaps, _ selection: Selection, _ layer: Int, _ expert: Int,
    _ model: ModelDescription
  ) -> [Int]? {
    selection.keptIndices(of: weight, layer: layer, expert: expert, in: model)[maps.inputAxis]
  }

  // MARK: While the original goes through

  /// - Parameters:
  ///   - input: what a map of an expert reads: `[R, C]`, or `[R, F]` weighed by the router.
  ///   - isFirst: whether it is what the experts read.
  func see(_ routed: RoutedRows, _ input: Tensor, isFirst: Bool, _ batch: Int) throws {
    if isFirst {
      if first != nil { try entering.add(input, routed.tokens) }
      return
    }
    guard seesOwn else { return }
    var x = input
    if maps.biases[maps.down] != nil {
      // The router weighs the bias as well.
      x = try Tensor.cat([x, routed.shares.to(x.dtype)], dim: 1)
    }
    let gram = try own[routed.expert] ?? DividedGram(x.shape[1])
    own[routed.expert] = gram
    try gram.add(x, of: routed.tokens, division.batches[batch])
  }

  /// The branch has seen all of a batch.
  func end(_ batch: Int) throws {
    if !entering.isEmpty { try first?.add(entering.take(), division.batches[batch]) }
  }

  // MARK: Of a pruned model

  /// All experts' maps, where some are better on the rows held back than as they were sliced.
  ///
  /// - Parameters:
  ///   - weights: the layer's, as the selection has them.
  ///   - whole: the original's.
  ///   - scale: of what experts read.
  func solve(
    _ weights: LayerWeights, whole: LayerWeights, _ selection: Selection, scale: Double
  ) throws -> (weights: [Weight: Tensor], counts: RefitCounts) {
    let experts = selection.kept(.experts, layer: layer) ?? Array(0..<model.sizes(inLayer: layer)[.experts])
    var found: [Weight: Tensor] = [:]
    var counts = RefitCounts()
    func solve(_ weight: Weight, _ regression: (_ expert: Int, _ kept: [Int]) throws -> RidgeRegression?) throws {
      var solved: [Int: Tensor] = [:]
      for (number, expert) in experts.enumerated() {
        guard let kept = Self.inputs(of: weight, maps, selection, layer, expert, model) else { continue }
        guard let regression = try regression(expert, kept) else {
          counts.starved += 1
          continue
        }
        let outputs = selection.keptIndices(of: weight, layer: layer, expert: expert, in: model)
        let solution = try regression.solve(
          towards: maps.map(weight, of: number, in: weights),
          targets: maps.map(weight, of: expert, in: whole).picked(outputs[maps.outputAxis]))
        guard let solution else {
          counts.sliced += 1
          continue
        }
        counts.refitted += 1
        solved[number] = solution.weight
      }
      guard !solved.isEmpty else { return }
      let all = try experts.indices.map { try solved[$0] ?? maps.map(weight, of: $0, in: weights) }
      found.merge(try maps.stored(all, as: weight)) { $1 }
    }

    var common: RidgeRegression?
    for weight in maps.first {
      try solve(weight) { _, kept in
        guard let first else { return nil }
        let own =
          try common
          ?? RidgeRegression(
            moments: first.moments(keeping: kept, scale: scale, isConstant: maps.biases[weight] != nil),
            outputs: maps.first.count * experts.count * weight.axes[maps.outputAxis].size(model.sizes(inLayer: layer)))
        common = own
        return own
      }
    }
    try solve(maps.down) { expert, kept in
      // A bias is one more input, which is kept.
      let kept = maps.biases[maps.down] == nil ? kept : kept + [inputs(of: maps.down)]
      guard let gram = own[expert], gram.tokens.solved >= kept.count, gram.tokens.heldBack > 0 else { return nil }
      return try RidgeRegression(moments: gram.moments(keeping: kept, isConstant: false))
    }
    return (found, counts)
  }

  /// Those of the original's map.
  private func inputs(of weight: Weight) -> Int { weight.axes[maps.inputAxis].size(model.sizes(inLayer: layer)) }
}
