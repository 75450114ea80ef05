public import ArgumentParser
import JSON
import Models
import Report

/// What the importance of an expert is.
let expertCriterion = "REAP's criterion (arXiv 2510.13999), as in the reference"

/// `coppice families`: which models are supported, and what can be pruned in each.
public struct FamiliesCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "families",
    abstract: "List the supported model types (model_type in config.json) and what can be pruned in each.",
    discussion: "Experts (num_moe_experts) are ranked by \(expertCriterion).")

  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public func run() throws {
    let entries = try Families.entries().sorted { $0.modelType < $1.modelType }
    let console = output.console
    if output.json { return try console.result(json(entries).serialized(indent: 2)) }
    try console.result(table(entries, console))
    try console.result(sentences: "Experts (num_moe_experts) are ranked by \(expertCriterion).")
  }

  /// A list reads better than a grid: most models lack half of the nine columns it would have.
  private func table(_ entries: [Families.Entry], _ console: Console) -> Table {
    var table = Table(
      title: "Supported models",
      columns: [Table.Column("model_type"), Table.Column("what can be pruned", isFlexible: true)])
    for entry in entries {
      // A terminal's table breaks its lines itself.
      let width = console.output.isTTY ? Int.max : 70
      for (index, line) in lines(entry.hyperparameters.map(\.rawValue), width: width).enumerated() {
        table.add([index == 0 ? entry.modelType : "", line])
      }
    }
    return table
  }

  /// Names side by side, in lines of at most `width`.
  private func lines(_ names: [String], width: Int) -> [String] {
    var lines: [String] = []
    for name in names {
      if let last = lines.last, last.count + name.count + 2 <= width {
        lines[lines.count - 1] += ", " + name
      } else {
        if !lines.isEmpty { lines[lines.count - 1] += "," }
        lines.append(name)
      }
    }
    return lines
  }

  private func json(_ entries: [Families.Entry]) -> JSON {
    .object([
      (
        "families",
        .array(
          entries.map { entry in
            .object([
              ("model_type", .text(entry.modelType)),
              ("hyperparameters", .array(entry.hyperparameters.map { .text($0.rawValue) })),
            ])
          })
      )
    ])
  }
}
