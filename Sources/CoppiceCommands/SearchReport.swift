import Minitron
import Models
import Report

/// How a result was chosen: the contents of `report.md`.
struct SearchReport {
  let card: ModelCard
  let body: String

  var text: String {
    """
    # How \(Markdown.escaped(card.name)) was chosen

    \(body)
    """
  }

  /// Of an architecture given by hand: there were no candidates, so this says what was cut.
  init(byHand card: ModelCard) {
    self.card = card
    let calibration = card.calibrationSection
    body =
      "The architecture was given by hand.\n\n" + card.cuts + "\n" + card.layersKept
      + (calibration.isEmpty ? "" : "\n" + calibration)
  }

  /// Of a search.
  ///
  /// - Parameters:
  ///   - scores: headings of columns, and their texts for each candidate.
  ///   - marks: what stands behind a candidate; the winner has an asterisk.
  ///   - notes: sentences about the scores.
  init(
    _ card: ModelCard, _ result: SearchResult, targets: [String], layerRanking: [Int],
    scores: [(column: String, texts: [String])], marks: [String], best: Int, notes: [String]
  ) {
    self.card = card
    let choices = result.space.choices
    let hasExperts = result.candidates.contains { $0.metrics.activeParams != $0.metrics.params }
    let headings =
      ["#"] + choices.map(\.hyperparameter.rawValue) + ["params"] + (hasExperts ? ["active params"] : []) + ["MiB"]
      + scores.map { Markdown.escaped($0.column) } + [""]
    let rows = result.candidates.enumerated().map { index, candidate in
      let metrics = candidate.metrics
      return ["\(index + 1)"] + choices.map { candidate.config[$0.hyperparameter].map(String.init) ?? "" }
        + [Format.grouped(metrics.params)] + (hasExperts ? [Format.grouped(metrics.activeParams)] : [])
        + [Format.decimal(metrics.memoryMB, places: 1)] + scores.map { Markdown.escaped($0.texts[index]) }
        + [index == best ? "\\*" : marks[index]]
    }
    let space = choices.map { [$0.hyperparameter.rawValue, $0.values.map(String.init).joined(separator: ", ")] }
    let order = layerRanking.map { String($0 + 1) }.joined(separator: ", ")
    let ranking = order.isEmpty ? "" : "\nLayers by importance, best first: \(order).\n"
    var refused = ""
    if result.refused > 0, let rule = result.refusalRule {
      refused = ", \(Format.grouped(result.refused)) were left out (\(Markdown.escaped(rule)))"
    }
    body = """
      By search, for \(targets.joined(separator: " and ")). Of \(Format.grouped(result.size)) points \
      \(Format.grouped(result.fitting)) fit\(refused); the \(result.candidates.count) best by size were scored.

      ## Candidates

      \(Markdown.table(headings, rows: rows, left: 0))
      \\* is the result.\(notes.map { " " + Markdown.escaped($0) + "." }.joined())

      ## What was cut

      \(card.cuts)
      \(card.layersKept)\(ranking)
      ## Search space

      \(Markdown.table(["", "choices"], rows: space, left: 2))
      \(card.calibrationSection)
      """
  }
}
