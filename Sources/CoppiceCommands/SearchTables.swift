import Formatting
import Jobs
import Models
import Report

/// Choices for a table: of many the first, the last, and how many there are.
func listed(_ values: [Int]) -> String {
  guard values.count > 40 else { return values.map(String.init).joined(separator: ", ") }
  let ends = values.prefix(3).map(String.init) + ["…"] + values.suffix(2).map(String.init)
  return ends.joined(separator: ", ") + " (\(Format.grouped(values.count)) choices)"
}

extension SearchOutcome {
  /// The search space as a table.
  var spaceTable: Table {
    var table = Table(
      title: "Search space (at most \(Format.percent(maxWidthPruning, places: 0)) of each width, "
        + "\(Format.percent(maxDepthPruning, places: 0)) of the depth)",
      columns: [Table.Column("Hyperparameter"), Table.Column("Choices", isFlexible: true)])
    for choices in space { table.add([choices.hyperparameter.rawValue, listed(choices.values)]) }
    table.addSectionBreak()
    table.add(["points", "\(Format.grouped(size)), \(Format.grouped(fitting)) of them fit"])
    return table
  }

  /// Candidates as a table, with their scores where they have some: the winner highlighted, and those marked that may be
  /// as good.
  func candidatesTable(_ title: String) -> Table {
    let names = space.map(\.hyperparameter)
    let (scores, marks) = (scoreColumns, marks)
    var table = Table(
      title: title,
      columns: [Table.Column("#", .right)]
        + names.map { Table.Column($0.rawValue, .right, isSharable: true, short: $0.facts.heading) }
        + (hasExperts ? ["params", "active", "MiB"] : ["params", "MiB"]).map { Table.Column($0, .right) }
        + scores.map { Table.Column($0.column, .right) })
    for (index, candidate) in candidates.enumerated() {
      let counts = candidate.counts
      let params = hasExperts ? [counts.params, counts.activeParams] : [counts.params]
      table.add(
        ["\(index + 1)"] + names.map { candidate.config[$0].map(String.init) ?? "" } + params.map(Format.count)
          + [Format.decimal(counts.memoryMB, places: 1)] + scores.map { $0.texts[index] },
        mark: marks[index], highlighted: index == scoring?.best)
    }
    return table
  }
}
