public import ArgumentParser
import Formatting
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

  @Argument(
    help: ArgumentHelp(
      "Only those whose type, published checkpoints or hyperparameters contain this; several words: all of them.",
      valueName: "text"))
  var words: [String] = []

  @Flag(name: .flag("markdown"), help: "Print the page of the documentation, Docs/families.md.")
  var markdown = false

  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public mutating func validate() throws {
    if markdown && output.json {
      throw ValidationError("--markdown and --json are two forms of one list: give one of them")
    }
  }

  public func run() throws {
    let entries = try Families.entries().sorted { $0.modelType < $1.modelType }.filter(isAskedFor)
    guard !entries.isEmpty else {
      throw ModelError(
        "no supported model has \(words.map { "\"\($0)\"" }.joined(separator: " and ")) in its type, its published checkpoints "
          + "or what can be pruned; without a word all are listed")
    }
    let console = output.console
    if output.json { return try console.result(json(entries).serialized(indent: 2)) }
    if markdown { return try console.result(page(entries)) }
    try console.result(table(entries, console))
    try console.result(sentences: "Experts (num_moe_experts) are ranked by \(expertCriterion).")
  }

  private func isAskedFor(_ entry: Families.Entry) -> Bool {
    let text = ([entry.modelType] + entry.examples + entry.hyperparameters.map(\.rawValue)).joined(separator: " ")
      .lowercased()
    return words.allSatisfy { text.contains($0.lowercased()) }
  }

  /// A list reads better than a grid: most models lack half of the nine columns it would have.
  private func table(_ entries: [Families.Entry], _ console: Console) -> Table {
    var table = Table(
      title: "Supported models",
      columns: [
        Table.Column("model_type"), Table.Column("published, prunable", isFlexible: true),
      ])
    // A terminal's table breaks its lines itself.
    let width = console.output.isTTY ? Int.max : 70
    for entry in entries {
      let prunable = lines(
        ["prunes " + (entry.hyperparameters.first?.rawValue ?? "nothing")]
          + entry.hyperparameters.dropFirst().map(\.rawValue), width: width)
      let all = lines(entry.examples, width: width) + prunable + notes(entry)
      for (index, line) in all.enumerated() { table.add([index == 0 ? entry.modelType : "", line]) }
    }
    return table
  }

  private func notes(_ entry: Families.Entry) -> [String] {
    entry.hasEncoder ? ["carries its encoder of images along"] : []
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

  /// The documentation's page.
  private func page(_ entries: [Families.Entry]) -> String {
    func list(_ names: [String]) -> String { names.map { "`\($0)`" }.joined(separator: ", ") }
    let rows = entries.map { entry in
      [
        "`\(entry.modelType)`", entry.examples.map(Markdown.escaped).joined(separator: ", "),
        list(entry.hyperparameters.map(\.rawValue)), entry.rotationObstacle == nil ? "yes" : "",
        entry.hasEncoder ? "encoder of images" : "",
      ]
    }
    return """
      # Supported models

      Written by `coppice families --markdown`. The type is `model_type` in a checkpoint's `config.json`; the checkpoints are
      examples, any of the type is read. Where "rotated" says yes, `--basis rotated` and `--recover` cut `hidden_size` in the
      directions that hold most of the residual stream ([recover.md](recover.md)). Experts are ranked by \(expertCriterion).

      \(Markdown.table(["model_type", "published", "what can be pruned", "rotated", "carried along"], rows: rows, left: 5))
      """
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
              ("examples", .array(entry.examples.map { .text($0) })),
              ("rotation_obstacle", entry.rotationObstacle.map { .text($0) } ?? .null),
              ("carries_encoder", .bool(entry.hasEncoder)),
            ])
          })
      )
    ])
  }
}
