import Messages
public import Models

extension SearchSpace {
  /// Finds out whether a target is out of reach whichever layers are kept, before anybody knows their order.
  ///
  /// Every count is least with all widths at their lowest choice and the fewest layers, if those are the ones that count
  /// least.
  ///
  /// - Throws: `ModelError` with the bound.
  public func checkReachable(
    _ model: ModelDescription, _ settings: SearchSettings, _ constraints: Constraints
  ) throws {
    let lowest = ExportConfig(choices.compactMap { choice in choice.values.first.map { (choice.hyperparameter, $0) } })
    let counter = MetricsCounter(model, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
    func count(_ layers: [Int]) -> Metrics { counter.metrics(of: lowest.architecture(of: model, keeping: layers)) }
    let outer = count([])
    let alone = model.layers.indices.map { count([$0]) }
    func text(_ value: Double) -> String { value < 1e15 ? String(Int(value)) : String(value) }
    for metric in Metric.allCases {
      guard let limit = constraints[metric] else { continue }
      let layers = alone.map { $0[metric] - outer[metric] }.sorted().prefix(lowest[.numLayers] ?? model.layers.count)
      let least = layers.reduce(outer[metric], +)
      // Sums in another order may differ by rounding.
      guard least > limit * (1 + 1e-9) else { continue }
      throw ModelError(
        message: """
          no architecture of the search space (\(size ?? 0) points) meets the target of \(text(limit)) \(metric.unit), \
          whichever layers are kept: the smallest has at least \(text(least)). Allow more with \
          \(parameter: "max_width_pruning") and \(parameter: "max_depth_pruning"), choose a smaller \
          \(parameter: "ss_channel_divisor"), or raise the target
          """)
    }
  }
}
