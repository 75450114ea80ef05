import Formatting
import Minitron
import Models

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
  ///   - search: with its candidates' scores. The winner has an asterisk.
  ///   - layerRanking: 0-based numbers, best first.
  init(_ card: ModelCard, _ search: SearchOutcome, targets: [String], layerRanking: [Int]) {
    self.card = card
    let hasExperts = search.hasExperts
    let (scores, marks, best) = (search.scoreColumns, search.marks, search.scoring?.best)
    let headings =
      ["#"] + search.space.map(\.hyperparameter.rawValue) + ["params"] + (hasExperts ? ["active params"] : []) + ["MiB"]
      + scores.map { Markdown.escaped($0.column) } + [""]
    let rows = search.candidates.enumerated().map { index, candidate in
      let counts = candidate.counts
      return ["\(index + 1)"] + search.space.map { candidate.config[$0.hyperparameter].map(String.init) ?? "" }
        + [Format.grouped(counts.params)] + (hasExperts ? [Format.grouped(counts.activeParams)] : [])
        + [Format.decimal(counts.memoryMB, places: 1)] + scores.map { Markdown.escaped($0.texts[index]) }
        + [index == best ? "\\*" : marks[index]]
    }
    let space = search.space.map { [$0.hyperparameter.rawValue, $0.values.map(String.init).joined(separator: ", ")] }
    let order = layerRanking.map { String($0 + 1) }.joined(separator: ", ")
    let ranking = order.isEmpty ? "" : "\nLayers by importance, best first: \(order).\n"
    var refused = ""
    if search.refused > 0, let rule = search.refusalRule {
      refused = ", \(Format.grouped(search.refused)) were left out (\(Markdown.escaped(rule)))"
    }
    body = """
      By search, for \(targets.joined(separator: " and ")). Of \(Format.grouped(search.size)) points \
      \(Format.grouped(search.fitting)) fit\(refused); the \(search.candidates.count) best by \(search.candidates.contains { $0.forecast != nil } ? "forecast" : "size") were scored.

      ## Candidates

      \(Markdown.table(headings, rows: rows, left: 0))
      \\* is the result.\(search.scoreNotes.map { " " + Markdown.escaped($0) + "." }.joined())

      ## What was cut

      \(card.cuts)
      \(card.layersKept)\(ranking)
      ## Search space

      \(Markdown.table(["", "choices"], rows: space, left: 2))
      \(card.calibrationSection)
      """
  }
}
