import Evaluation
import Execution
import Minitron
import Models
import Recovery

extension PruneRun {
  /// Rows of text that the effect of each cut is measured on.
  static let forecastRows = 16

  /// Measures what each choice of each hyperparameter alone does to the model, all in one walk: the divergence from the original on
  /// text that nothing else was measured on. With a refit what is measured has each map refitted for itself.
  func forecast(_ scores: ImportanceScores) throws -> Forecast {
    let description = model.description
    let space = SearchSpace(description, job.settings)
    // The largest point: the whole model, unless layers are dropped by hand.
    let largest = space.choices.map { ($0.hyperparameter, $0.values.max() ?? 0) }
    let ranking = description.keepingOrder(
      scores.layerRanking.isEmpty ? Array(description.layers.indices) : scores.layerRanking, job.settings.layerChoice)
    var asked: [(position: Int, choice: Int, config: ExportConfig)] = []
    for (position, choices) in space.choices.enumerated() {
      for choice in Forecast.measured(of: choices.values.count) where choices.values[choice] != largest[position].1 {
        var pairs = largest
        pairs[position].1 = choices.values[choice]
        let config = ExportConfig(pairs)
        guard description.refusal(of: config.architecture(of: description, ranking: ranking)) == nil else { continue }
        asked.append((position, choice, config))
      }
    }
    let (rows, madeOf) = try inputs.text.rows()
    let task = DivergenceTask(
      try LanguageModeling(rows: Array(rows.prefix(Self.forecastRows))),
      madeOf: [("score_function", "forecast_kl"), ("forecast_rows", "\(Self.forecastRows)")] + madeOf)
    try events.note(.forecasting(cuts: asked.count, rows: task.count))
    let configs = [ExportConfig(largest)] + asked.map(\.config)
    let divergences: [Double]
    if request.refit == .none {
      divergences = try CandidateScorer(task, inputs: inputs, store: store, events: events, isChoice: false)
        .measure(configs, executor, scores).map(\.mean)
    } else {
      let (local, rest) = try locally(configs, scores)
      divergences = try CandidateScorer(
        task, inputs: inputs, store: store, events: events, weights: .refittedLocally, isChoice: false,
        overlay: { _ in local }
      ).measure(configs, rest, scores).map(\.mean)
    }
    var known = space.choices.enumerated().map { position, choices in
      Dictionary(
        uniqueKeysWithValues: choices.values.indices.filter { choices.values[$0] == largest[position].1 }.map {
          ($0, 0.0)
        })
    }
    let base = divergences.first ?? 0
    for (cut, divergence) in zip(asked, divergences.dropFirst()) {
      known[cut.position][cut.choice] = max(base - divergence, 0)
    }
    return Forecast(zip(space.choices, known).map { Forecast.interpolated($0.values, $1) })
  }
}

/// Spearman's rank correlation of pairs, equal numbers with their mean rank; nil of fewer than two pairs, or where one side is all the
/// same.
func rankCorrelation(_ pairs: [(Double, Double)]) -> Double? {
  func ranks(_ values: [Double]) -> [Double] {
    values.map { value in
      let below = values.count { $0 < value }
      return Double(below) + Double(values.count { $0 == value } - 1) / 2
    }
  }
  let (a, b) = (ranks(pairs.map(\.0)), ranks(pairs.map(\.1)))
  let mean = Double(pairs.count - 1) / 2
  let product = zip(a, b).reduce(0) { $0 + ($1.0 - mean) * ($1.1 - mean) }
  let squares = [a, b].map { $0.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } }
  guard squares.allSatisfy({ $0 > 0 }) else { return nil }
  return product / (squares[0] * squares[1]).squareRoot()
}
