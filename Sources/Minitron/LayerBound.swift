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
    let sizes = lowest.sizes(from: model.sizes)
    let counter = MetricsCounter(model, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
    let outer = counter.metrics(sizes: sizes, layers: [])
    let alone = model.layers.indices.map { counter.metrics(sizes: sizes, layers: [$0]) }
    func check(_ limit: Double?, _ unit: String, _ value: (Metrics) -> Double) throws {
      guard let limit else { return }
      let layers = alone.map { value($0) - value(outer) }.sorted().prefix(lowest[.numLayers] ?? model.layers.count)
      let least = layers.reduce(value(outer), +)
      // Sums in another order may differ by rounding.
      guard least > limit * (1 + 1e-9) else { return }
      throw ModelError(
        "no architecture of the search space (\(size ?? 0) points) meets the target of \(text(limit)) \(unit), whichever "
          + "layers are kept: the smallest has at least \(text(least)). Allow more with --max_width_pruning and "
          + "--max_depth_pruning, choose a smaller --ss_channel_divisor, or raise the target")
    }
    func text(_ value: Double) -> String { value < 1e15 ? String(Int(value)) : String(value) }
    try check(constraints.params, "parameters") { Double($0.params) }
    try check(constraints.activeParams, "active parameters") { Double($0.activeParams) }
    try check(constraints.memoryMB, "MiB", \.memoryMB)
  }
}
