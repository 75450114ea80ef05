import Formatting
public import JSON
public import Minitron
public import Models

/// What an architecture weighs, by its table of weights.
public struct ModelCounts: Codable, Sendable, Equatable {
  public let params: Int
  /// Weights that one token uses.
  public let activeParams: Int
  /// MiB of weights (2 bytes each), caches and states.
  public let memoryMB: Double
  /// MiB as Model-Optimizer counts them; nil where that is the same.
  public let referenceMemoryMB: Double?

  init(_ metrics: Metrics) {
    (params, activeParams, memoryMB) = (metrics.params, metrics.activeParams, metrics.memoryMB)
    referenceMemoryMB = metrics.referenceMemoryMB == metrics.memoryMB ? nil : metrics.referenceMemoryMB
  }

  var json: [(String, JSON)] {
    [
      (Metric.params.name, .int(params)), (Metric.activeParams.name, .int(activeParams)),
      (Metric.memory.name, .double(memoryMB)),
    ] + (referenceMemoryMB.map { [(Metric.referenceMemory.name, .double($0))] } ?? [])
  }
}

/// A score: the higher the better.
public struct ScoreOutcome: Codable, Sendable, Equatable {
  public let mean: Double
  public let standardError: Double
  /// Questions or rows that it was measured on.
  public let items: Int
}

/// A search: its space, its candidates and, once they are scored, which is the best.
public struct SearchOutcome: Codable, Sendable, Equatable {
  /// The choices of a hyperparameter.
  public struct Choices: Codable, Sendable, Equatable {
    public let hyperparameter: Hyperparameter
    public let values: [Int]
  }

  public struct Candidate: Codable, Sendable, Equatable {
    public let config: ExportConfig
    public let counts: ModelCounts
    /// What was forecast before it was scored, where candidates are chosen by that.
    public internal(set) var forecast: Double?
    /// Of the original's weights, cut. Nil before it is scored, and in a race between refitted candidates.
    public internal(set) var score: ScoreOutcome?
    /// Of each map refitted for itself; nil where nothing is.
    public internal(set) var refittedScore: ScoreOutcome?
    /// Of the weights as they would be written, refitted one after another; nil where that was not done.
    public internal(set) var finishedScore: ScoreOutcome?
    /// Of a run-off: divergence from the original on text that is held back, before and after a short distillation. Nil for
    /// those that were not in it.
    public internal(set) var runOff: RunOff?

    /// What a short distillation came to.
    public struct RunOff: Codable, Sendable, Equatable {
      /// KL(original ‖ candidate) in nats per token.
      public let before: Double
      public let after: Double
      /// Tokens that were learned from.
      public let tokens: Int
    }

    /// What comes nearest to what would be written.
    public var deliveredScore: ScoreOutcome? { finishedScore ?? refittedScore ?? score }
    /// Of a race: left before all was asked.
    public internal(set) var isOut = false
    /// Differs from the best by less than the noise of the difference.
    public internal(set) var isClose = false

    init(config: ExportConfig, counts: ModelCounts) { (self.config, self.counts) = (config, counts) }
  }

  public let space: [Choices]
  /// Points of the space; those that meet the targets; those that a rule of the architecture refuses.
  public let size: Int, fitting: Int, refused: Int
  public let refusalRule: String?
  /// The model before pruning.
  public let original: ModelCounts
  public internal(set) var candidates: [Candidate]
  /// Largest cuts allowed, as fractions of one.
  public let maxWidthPruning: Double, maxDepthPruning: Double
  public internal(set) var scoring: Scoring?

  /// How candidates were scored.
  public struct Scoring: Codable, Sendable, Equatable {
    /// As it was asked for: `mmlu_10pct_bs1`.
    public let function: String
    /// What was scored on: "questions".
    public let unit: String
    /// Whether scores are shares of one.
    public let isShare: Bool
    /// The winner's place among the candidates.
    public let best: Int
    /// Of a race: how sure it is that no other candidate would have won clearly, from 0 to 1.
    public let certainty: Double?

    /// A score, or its error, as people read it.
    public func text(_ value: Double) -> String {
      isShare ? Format.percent(value) : Format.decimal(value, places: 4)
    }
  }

  init(_ result: SearchResult, _ settings: SearchSettings, original: ModelCounts, forecast: Forecast? = nil) {
    space = result.space.choices.map { Choices(hyperparameter: $0.hyperparameter, values: $0.values) }
    (size, fitting, refused) = (result.size, result.fitting, result.refused)
    refusalRule = result.refusalRule
    candidates = result.candidates.map {
      var candidate = Candidate(config: $0.config, counts: ModelCounts($0.metrics))
      candidate.forecast = forecast?.cost(of: $0.config, in: result.space)
      return candidate
    }
    (maxWidthPruning, maxDepthPruning) = (settings.maxWidthPruning, settings.maxDepthPruning)
    self.original = original
  }

  /// Chooses another candidate than the best by score.
  mutating func choose(_ number: Int) {
    guard let scoring else { return }
    self.scoring = Scoring(
      function: scoring.function, unit: scoring.unit, isShare: scoring.isShare, best: number,
      certainty: scoring.certainty)
  }

  /// The winner; nil before candidates are scored.
  public var best: Candidate? { scoring.map { candidates[$0.best] } }

  /// Without experts all parameters are active.
  public var hasExperts: Bool { candidates.contains { $0.counts.activeParams != $0.counts.params } }

  /// The JSON that `plan --json` and `prune --json` share.
  public var json: JSON.Object {
    JSON.Object([
      ("model", .object(original.json)),
      ("search_space", .object(space.map { ($0.hyperparameter.rawValue, .array($0.values.map(JSON.int))) })),
      ("size", .int(size)),
      ("fitting", .int(fitting)),
      (
        "candidates",
        .array(
          candidates.map { candidate in
            var entries = [("export_config", candidate.config.json)] + candidate.counts.json
            if let forecast = candidate.forecast { entries.append(("forecast_kl", .double(forecast))) }
            if let score = candidate.deliveredScore {
              entries += [("score", .double(score.mean)), ("score_stderr", .double(score.standardError))]
              if scoring?.certainty != nil { entries.append(("score_items", .int(score.items))) }
            }
            if candidate.refittedScore != nil {
              for (name, score) in candidate.scores {
                if let score { entries.append((name, .double(score.mean))) }
              }
            }
            if let runOff = candidate.runOff {
              entries += [
                ("kl", .double(runOff.before)), ("kl_distilled", .double(runOff.after)),
                ("kd_tokens", .int(runOff.tokens)),
              ]
            }
            return .object(entries)
          })
      ),
    ])
  }
}

extension SearchOutcome.Candidate {
  /// Scores of each of its kinds of weights, by their names in JSON.
  fileprivate var scores: [(String, ScoreOutcome?)] {
    [("score_cut", score), ("score_local", refittedScore), ("score_finished", finishedScore)]
  }
}

extension Hyperparameter: Codable {}

// MARK: Scores for tables

extension SearchOutcome {
  /// Columns of scores: headings, and their texts for each candidate.
  public var scoreColumns: [(column: String, texts: [String])] {
    guard let scoring else { return [] }
    func text(_ score: ScoreOutcome?) -> String {
      score.map { "\(scoring.text($0.mean)) ± \(scoring.text($0.standardError))" } ?? ""
    }
    var columns: [(column: String, texts: [String])] = []
    if candidates.contains(where: { $0.forecast != nil }) {
      columns.append(("forecast", candidates.map { $0.forecast.map { Format.decimal($0, places: 3) } ?? "" }))
    }
    if candidates.contains(where: { $0.score != nil }) {
      columns.append((scoring.function, candidates.map { text($0.score) }))
    }
    if candidates.contains(where: { $0.refittedScore != nil }) {
      columns.append(
        (columns.isEmpty ? "\(scoring.function), local" : "local", candidates.map { text($0.refittedScore) }))
    }
    if candidates.contains(where: { $0.finishedScore != nil }) {
      columns.append(("finished", candidates.map { text($0.finishedScore) }))
    }
    if candidates.contains(where: { $0.runOff != nil }) {
      columns.append(("KL", candidates.map { $0.runOff.map { Format.decimal($0.before, places: 3) } ?? "" }))
      columns.append(
        (
          "distilled",
          candidates.map { candidate in
            candidate.runOff.map { "\(Format.decimal($0.after, places: 3)) (\(Format.count($0.tokens)))" } ?? ""
          }
        ))
    }
    guard scoring.certainty != nil else { return columns }
    let asked = candidates.map {
      Format.grouped(($0.refittedScore ?? $0.score)?.items ?? 0) + ($0.isOut ? ", out" : "")
    }
    return columns + [("asked", asked)]
  }

  /// How well the order of forecasts agrees with that of scores, from -1 to 1 (Spearman); nil without forecasts.
  private var agreement: Double? {
    let pairs = candidates.compactMap { candidate in
      candidate.forecast.flatMap { forecast in
        (candidate.refittedScore ?? candidate.score).map { (-forecast, $0.mean) }
      }
    }
    return rankCorrelation(pairs)
  }

  /// A mark for each candidate that may be as good as the best.
  public var marks: [String] { candidates.map { $0.isClose ? "≈" : "" } }

  /// Sentences about the scores.
  public var scoreNotes: [String] {
    var notes: [String] = []
    if let agreement {
      notes.append(
        "forecast: the divergence that each cut alone causes, added up; its order and that of the scores agree with a rank "
          + "correlation of \(Format.decimal(agreement, places: 2))")
    }
    if candidates.contains(where: { $0.refittedScore != nil }) {
      notes.append(
        "local: with each map refitted for itself"
          + (candidates.contains { $0.finishedScore != nil }
            ? "; finished: refitted one after another, as written" : ""))
    }
    if candidates.contains(where: { $0.runOff != nil }) {
      notes.append(
        "KL, distilled: from the original on text that is held back, before and after learning from so many tokens; "
          + "the least of those that learned longest is chosen")
    }
    if candidates.contains(where: \.isClose) {
      notes.append("≈ differs from the best by less than two standard errors of the difference: it may be as good")
    }
    if let certainty = scoring?.certainty {
      notes.append(
        "\(Format.percent(certainty, places: 1)) sure that none would score more than a standard error above the "
          + "winner, were all asked everything")
    }
    return notes
  }
}
