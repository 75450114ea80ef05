import Formatting
import Foundation
import JSON
import Jobs
import Report

extension [EvalOutcome] {
  /// A line for each model.
  var table: Table {
    typealias Column = (title: String, text: (EvalOutcome) -> String?)
    func share(_ measure: EvalOutcome.Measure) -> String {
      "\(Format.percent(measure.mean)) ± \(Format.percent(measure.standardError))"
    }
    let all: [Column] = [
      ("params", { Format.count($0.params) }), ("MMLU", { $0.accuracy.map(share) }),
      ("right numbers", { $0.exact.map(share) }), ("loss", { $0.loss.map { Format.decimal($0.mean, places: 4) } }),
      ("KL", { $0.divergence.map { Format.decimal($0.mean, places: 4) } }),
    ]
    let columns = all.filter { column in contains { column.text($0) != nil } }
    var table = Table(columns: [Table.Column("Model")] + columns.map { Table.Column($0.title, .right) })
    for outcome in self { table.add([outcome.model] + columns.map { $0.text(outcome) ?? "" }) }
    return table
  }
}

extension EvalOutcome {
  private typealias Line = (name: String, mean: Double, error: Double)

  private func perplexity(_ loss: Measure) -> (mean: Double, error: Double) {
    let perplexity = exp(loss.mean)
    // The error of a function of the mean, to first order.
    return (perplexity, perplexity * loss.standardError)
  }

  var table: Table {
    var table = Table(
      title: "\(model), in \(computeType)",
      columns: [
        Table.Column("Measure"), Table.Column("value", .right), Table.Column("±", .right), Table.Column("over"),
      ])
    func add(_ name: String, _ mean: Double, _ error: Double, _ items: Int) {
      table.add([name, Format.percent(mean), Format.percent(error), "\(Format.grouped(items)) questions"])
    }
    if let accuracy {
      add("MMLU", accuracy.mean, accuracy.standardError, accuracy.items)
      for part in accuracy.parts { add("  " + part.name, part.mean, part.standardError, part.items) }
    }
    if let exact { add("right numbers", exact.mean, exact.standardError, exact.items) }
    if loss != nil, accuracy != nil || exact != nil { table.addSectionBreak() }
    guard let loss else { return table }
    let perplexity = perplexity(loss)
    var lines: [Line] = [
      ("loss per token", loss.mean, loss.standardError), ("perplexity", perplexity.mean, perplexity.error),
    ]
    if let divergence { lines.append(("KL from reference", divergence.mean, divergence.standardError)) }
    for line in lines {
      table.add([
        line.name, Format.decimal(line.mean, places: 4), Format.decimal(line.error, places: 4),
        "\(Format.grouped(loss.weight)) tokens in \(loss.items) rows",
      ])
    }
    return table
  }

  var json: JSON {
    var json: [(String, JSON)] = [("model", .text(model)), ("compute_dtype", .text(computeType))]
    func mean(_ measure: Measure) -> [(String, JSON)] {
      [("mean", .double(measure.mean)), ("stderr", .double(measure.standardError))]
    }
    if let accuracy {
      let subjects = accuracy.parts.map { part -> (String, JSON) in
        (part.name, .object([("accuracy", .double(part.mean)), ("questions", .int(part.items))]))
      }
      json.append(
        (
          "mmlu",
          .object([
            ("accuracy", .double(accuracy.mean)), ("stderr", .double(accuracy.standardError)),
            ("questions", .int(accuracy.items)), ("subjects", .object(subjects)),
          ])
        ))
    }
    if let exact {
      json.append(
        (
          "exact",
          .object([
            ("accuracy", .double(exact.mean)), ("stderr", .double(exact.standardError)),
            ("questions", .int(exact.items)),
          ])
        ))
    }
    guard let loss else { return .object(json) }
    let counts: [(String, JSON)] = [("rows", .int(loss.items)), ("tokens", .int(loss.weight))]
    json.append(("loss", .object(mean(loss) + [("perplexity", .double(perplexity(loss).mean))] + counts)))
    if let divergence, let reference {
      json.append(("kl", .object(mean(divergence) + [("reference", .text(reference))] + counts)))
    }
    return .object(json)
  }
}
