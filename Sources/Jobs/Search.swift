import Minitron
import Models

extension SearchSpace {
  /// The search, with progress when it takes more than a second, and a note on what the architecture refuses.
  func search(
    _ model: ModelDescription, _ settings: SearchSettings, _ constraints: Constraints, layerRanking: [Int]?,
    forecast: Forecast? = nil, events: RunEvents
  ) throws -> SearchResult {
    let progress = events.progress("search", total: size, unit: "points")
    let start = ContinuousClock.now
    var isLong = false
    let result = try search(model, settings, constraints, layerRanking: layerRanking, forecast: forecast) { points in
      if !isLong { isLong = ContinuousClock.now - start > .seconds(1) }
      if isLong { progress.update(points) }
    }
    if isLong {
      progress.update(result.size)
      progress.finish()
    }
    if result.refused > 0, let rule = result.refusalRule {
      try events.note(.pointsRefused(result.refused, of: result.size, rule: rule))
    }
    return result
  }
}

extension SearchSettings {
  /// Names what is to be skipped and is not in the model.
  func warnOfUnknown(in description: ModelDescription, _ events: RunEvents) throws {
    for hyperparameter in skipped where !description.hyperparameters.contains(hyperparameter) {
      try events.warn(.unknownHyperparameter(hyperparameter.rawValue, family: description.family))
    }
  }
}

extension ModelDescription {
  /// The whole model's counts, at the settings' rows and tokens.
  func counts(_ settings: SearchSettings) -> ModelCounts {
    ModelCounts(
      MetricsCounter(self, rows: settings.inferenceBatchSize, tokens: settings.seqLength)
        .metrics(of: Architecture(self)))
  }

  /// The counts of an architecture, and of the whole model, with caches for one sequence of `tokens`.
  func counts(_ architecture: Architecture, tokens: Int) -> (original: ModelCounts, pruned: ModelCounts) {
    let counter = MetricsCounter(self, rows: 1, tokens: tokens)
    return (
      ModelCounts(counter.metrics(of: Architecture(self))), ModelCounts(counter.metrics(of: architecture))
    )
  }
}
