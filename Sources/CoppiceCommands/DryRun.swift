import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import Report
import Torch

/// What a run would do, without doing it: work, memory, disk, and a time from a short measurement.
struct DryRun {
  let job: PruneJob
  let model: SourceModel
  let inputs: PruneInputs
  /// The search, where it has been done already.
  let planned: SearchResult?

  func report() throws {
    let options = job.options
    let description = model.description
    let whole = MetricsCounter(description, rows: job.settings.inferenceBatchSize, tokens: job.settings.seqLength)
      .metrics(of: Architecture(description))
    let layerParams =
      whole.activeParams - description.outerWeights.reduce(0) { $0 + $1.elementCount(description.sizes) }
    let rows = inputs.isCalibrated ? try inputs.calibrationRows().rows : []
    let tokens = rows.reduce(0) { $0 + $1.count }
    let candidates = try candidates()
    // Two operations per weight and token; scores and sums of attention over the causal half of each row.
    let heads = description.sizes[.heads] * description.sizes[.headDim]
    let attention = rows.reduce(0.0) { $0 + 2 * Double($1.count) * Double($1.count) * Double(heads) }
    let calibration = 2 * Double(layerParams) * Double(tokens) + attention * Double(description.layers.count)
    // By hand nothing is scored.
    let scored = inputs.scoring?.tokenCount ?? 0
    let scoring = 2 * Double(layerParams) * Double(scored) * Double(candidates.count)
    let rate = try operationsPerSecond()

    let plan = try options.compute.executor(model)
      .plan(TokenBatch.groups(rows, size: options.batchSize), subjects: [Selection(all: description)])
    let weightBytes = model.checkpoint.tensors.reduce(0) { $0 + $1.range.count }
    let layerBytes = layerParams / max(description.layers.count, 1) * inputs.dtype.byteCount
    let states = plan.stateBytes - plan.spilledBytes
    let output = candidates.map { $0.metrics.params }.max() ?? whole.params
    let perElement = model.storedType.byteCount

    let facts: [(name: String, text: String, json: JSON)] = [
      (
        "model", "\(description.family), \(Format.count(whole.params)) parameters, \(Format.bytes(weightBytes))",
        .int(whole.params)
      ),
      ("compute_dtype", "\(inputs.dtype)", .text("\(inputs.dtype)")),
      ("calibration_tokens", "\(Format.grouped(tokens)) in \(rows.count) rows", .int(tokens)),
      ("passes", plan.summary, .int(plan.passes)),
      ("calibration_operations", "\(Format.decimal(calibration / 1e12, places: 2)) TFLOP", .double(calibration)),
      ("candidates", "\(candidates.count)", .int(candidates.count)),
      ("scoring_operations", "\(Format.decimal(scoring / 1e12, places: 2)) TFLOP", .double(scoring)),
      (
        "memory_bytes", "\(Format.bytes(states)) of hidden states, \(Format.bytes(2 * layerBytes)) of weights",
        .int(states + 2 * layerBytes)
      ),
      ("disk_bytes", "up to \(Format.bytes(output * perElement)) in \(job.outputPath)", .int(output * perElement)),
      (
        "seconds",
        "about \(Format.duration((calibration + scoring) / rate)) at \(Format.decimal(rate / 1e9, places: 0)) GFLOP/s, measured just now",
        .double((calibration + scoring) / rate)
      ),
    ]
    if options.output.json {
      try job.console.result(JSON.object(facts.map { ($0.name, $0.json) }).serialized(indent: 2))
      return
    }
    var table = Table(title: "What would be done", columns: [Table.Column(""), Table.Column("", isFlexible: true)])
    for fact in facts { table.add([fact.name, fact.text]) }
    try job.console.result(table)
  }

  private func candidates() throws -> [Candidate] {
    if let byHand = try job.options.search.byHand(for: model.description) {
      let metrics = MetricsCounter(model.description, rows: 1, tokens: job.settings.seqLength)
        .metrics(of: byHand.architecture(of: model.description))
      job.console.note("\(byHand): \(Format.count(metrics.params)) parameters; nothing is scored")
      return []
    }
    let result =
      try planned
      ?? SearchSpace(model.description, job.settings)
      .search(model.description, job.settings, job.constraints, layerRanking: nil, console: job.console)
    return result.candidates
  }

  /// Matrix products of this model's shape for about a fifth of a second.
  private func operationsPerSecond() throws -> Double {
    let hidden = min(model.description.sizes[.hidden], 4096)
    let width = min(max(model.description.sizes[.ffn], 64), 8192)
    let x = try Tensor.ones([512, hidden], dtype: inputs.dtype)
    let weight = try Tensor.ones([width, hidden], dtype: inputs.dtype)
    _ = try x.linear(weight: weight)
    let start = ContinuousClock.now
    var products = 0
    var elapsed = 0.0
    repeat {
      _ = try x.linear(weight: weight)
      products += 1
      let passed = (ContinuousClock.now - start).components
      elapsed = Double(passed.seconds) + Double(passed.attoseconds) / 1e18
    } while elapsed < 0.2
    return 2 * 512 * Double(hidden) * Double(width) * Double(products) / elapsed
  }
}
