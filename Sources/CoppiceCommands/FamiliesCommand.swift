public import ArgumentParser
import JSON
import Models
import Report

/// `coppice families`: which models are supported, and what can be pruned in each.
public struct FamiliesCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "families",
    abstract: "List the supported model types (model_type in config.json) and what can be pruned in each.")

  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public func run() throws {
    let entries = try Families.entries().sorted { $0.modelType < $1.modelType }
    let console = output.console
    try output.json ? console.result(json(entries).serialized(indent: 2)) : console.result(table(entries))
  }

  /// Columns are what any family has, in the order of the algorithm's own list.
  private func table(_ entries: [Families.Entry]) -> Table {
    let columns = Hyperparameter.allCases.filter { column in entries.contains { $0.hyperparameters.contains(column) } }
    // Half of the models lack half of the columns: a list reads better than a grid of nine wide ones.
    var table = Table(
      title: "Supported models",
      columns: [Table.Column("model_type"), Table.Column("what can be pruned", isFlexible: true)])
    for entry in entries {
      let names = columns.filter(entry.hyperparameters.contains).map(\.rawValue)
      table.add([entry.modelType, names.joined(separator: ", ")])
    }
    return table
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
