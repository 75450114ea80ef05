import Datasets
import Tokenization

/// The rows of tokens that a run would calibrate on, without the run.
public struct RowsJob {
  private let request: PruneRequest
  private let events: RunEvents

  /// - Parameter request: of which the model, the calibration data and how rows are made of them are looked at.
  public init(_ request: PruneRequest, listeners: [any RunListener] = []) {
    self.request = request
    events = RunEvents(listeners)
  }

  /// - Returns: rows of at most `seq_length` token numbers.
  /// - Throws: what is wrong with the tokenizer or the data.
  public func run() throws -> [[Int32]] {
    let directory = try ModelPlace.directory(
      request.model, revision: request.revision, need: .tokenizer, events: events)
    let encoder = try CalibrationEncoder(
      tokenizer: Tokenizer(directory: directory), beginsWithBOS: request.evaluation.beginsWithBOS,
      directory: directory)
    let names = request.calibrationNames
    let rows = try explainingGates(of: names) {
      try names.data(HubDatasets(events)).pack(
        encoder: encoder, seqLength: request.search.seqLength, count: request.calibrationRows, seed: request.seed)
    }
    for warning in rows.warnings { try events.warn(.data(warning)) }
    return rows.rows
  }
}
