import Checkpoint
import Datasets
import JSON
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
    let encoder = try encoder()
    let names = request.calibrationNames
    let rows = try explainingGates(of: names) {
      try names.data(HubDatasets(events)).pack(
        encoder: encoder, seqLength: request.search.seqLength, count: request.calibrationRows, seed: request.seed)
    }
    for warning in rows.warnings { try events.warn(.data(warning)) }
    return rows.rows
  }

  /// Writes all documents of the calibration data as an indexed dataset of Megatron's, each with EOS after it.
  ///
  /// - Parameter prefix: the path without `.bin` and `.idx`; neither may be there.
  /// - Throws: what is wrong with the tokenizer, the data or the output; nothing is left then.
  public func write(to prefix: String) throws -> (documents: Int, tokens: Int) {
    let encoder = try encoder()
    // Tokens take as many bytes as Megatron gives them for this vocabulary; four where it is not known.
    let config = try? CheckpointReader.readConfig(directory: encoder.directory).config
    let size = config?["vocab_size"]?.int ?? config?["text_config"]?["vocab_size"]?.int
    let names = request.calibrationNames
    let progress = events.progress("tokenizing", total: nil, unit: "documents")
    let written = try explainingGates(of: names) {
      try names.data(HubDatasets(events)).write(
        encoder, vocabulary: size ?? Int(Int32.max), to: prefix, seed: request.seed
      ) { progress.update($0) }
    }
    progress.finish()
    for warning in written.warnings { try events.warn(.data(warning)) }
    return (written.documents, written.tokens)
  }

  private func encoder() throws -> CalibrationEncoder {
    let directory = try ModelPlace.directory(
      request.model, revision: request.revision, need: .tokenizer, events: events)
    return try CalibrationEncoder(
      tokenizer: Tokenizer(directory: directory), beginsWithBOS: request.evaluation.beginsWithBOS,
      directory: directory)
  }
}
