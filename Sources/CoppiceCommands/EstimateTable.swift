import Formatting
import JSON
import Jobs
import Report

extension WorkEstimate {
  /// What would be done, one fact a line.
  private func facts(output: String) -> [(name: String, text: String, json: JSON)] {
    let layers: [(name: String, text: String, json: JSON)] =
      layerScoringOperations == 0
      ? []
      : [
        (
          "layer_scoring_operations", "\(Format.decimal(layerScoringOperations / 1e12, places: 2)) TFLOP",
          .double(layerScoringOperations)
        )
      ]
    return [
      (
        "model", "\(family), \(Format.count(params)) parameters, \(Format.bytes(weightBytes))", .int(params)
      ),
      ("compute_dtype", computeType, .text(computeType)),
      (
        "calibration_tokens", "\(Format.grouped(calibrationTokens)) in \(calibrationRows) rows", .int(calibrationTokens)
      ),
      ("passes", "\(walk)", .int(walk.passes)),
      (
        "calibration_operations", "\(Format.decimal(calibrationOperations / 1e12, places: 2)) TFLOP",
        .double(calibrationOperations)
      ),
    ] + layers + [
      ("candidates", "\(candidates)", .int(candidates)),
      (
        "scoring_operations", "\(Format.decimal(scoringOperations / 1e12, places: 2)) TFLOP", .double(scoringOperations)
      ),
      (
        "memory_bytes", "\(Format.bytes(stateBytes)) of hidden states, \(Format.bytes(layerBytes)) of weights",
        .int(stateBytes + layerBytes)
      ),
      ("disk_bytes", "up to \(Format.bytes(diskBytes)) in \(output)", .int(diskBytes)),
      (
        "seconds",
        "about \(Format.duration(seconds)) at \(Format.decimal(operationsPerSecond / 1e9, places: 0)) GFLOP/s, measured just now",
        .double(seconds)
      ),
    ]
  }

  var json: JSON {
    .object(facts(output: "").map { ($0.name, $0.json) } + (crew.map { [("processes", $0.json)] } ?? []))
  }

  func table(output: String) -> Table {
    Table(title: "What would be done", facts: facts(output: output).map { ($0.name, $0.text) })
  }
}

extension CrewEstimate {
  private var facts: [(name: String, text: String, json: JSON)] {
    let layers = stages.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)–\($0.upperBound)" }
    return [
      ("layers", layers.joined(separator: ", "), .array(stages.map { .int($0.count) })),
      ("replicas", "\(replicas)", .int(replicas)),
      ("batches", "\(batches) through each replica", .int(batches)),
      ("memory_bytes", "\(Format.bytes(memoryBytes)) a process", .int(memoryBytes)),
      ("idle", Format.percent(idle, places: 1), .double(idle)),
      (
        "calibration_seconds",
        "about \(Format.duration(seconds)), \(Format.duration(secondsAlone)) in one process of this speed",
        .double(seconds)
      ),
    ]
  }

  var json: JSON { .object(facts.map { ($0.name, $0.json) }) }

  var table: Table {
    Table(
      title: "\(stages.count * replicas) processes, by a measurement on this machine",
      facts: facts.map { ($0.name, $0.text) })
  }
}

extension Table {
  /// One fact a line.
  fileprivate init(title: String, facts: [(name: String, text: String)]) {
    self.init(title: title, columns: [Table.Column(""), Table.Column("", isFlexible: true)])
    for fact in facts { add([fact.name, fact.text]) }
  }
}
