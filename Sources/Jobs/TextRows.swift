import Datasets
import Evaluation
import Files
import Models
import Tokenization

/// Text → token numbers for calibration rows: no special tokens but those that are asked for.
struct CalibrationEncoder: TextEncoding {
  let tokenizer: Tokenizer
  let rowStart: Int?

  /// - Parameter beginsWithBOS: every row begins with the tokenizer's BOS token.
  /// - Throws: `RunError` for a tokenizer without one.
  init(tokenizer: Tokenizer, beginsWithBOS: Bool, directory: String) throws {
    self.tokenizer = tokenizer
    rowStart = beginsWithBOS ? tokenizer.bosTokenID : nil
    guard !beginsWithBOS || rowStart != nil else {
      throw RunError("\(parameter: "calib_bos"): the tokenizer in \(directory) has no BOS token; leave the flag out")
    }
  }

  func encode(_ text: String) throws -> [Int] { try tokenizer.encode(text, addSpecialTokens: false) }
  var eosTokenID: Int? { tokenizer.eosTokenID }
}

/// Says what there is to say about a run's rows, once: those of calibration and evaluation are alike.
final class RowRemarks {
  private let description: ModelDescription
  private let beginsWithBOS: Bool
  private let events: RunEvents
  private var isSaid = false

  init(_ description: ModelDescription, beginsWithBOS: Bool, events: RunEvents) {
    self.description = description
    self.beginsWithBOS = beginsWithBOS
    self.events = events
  }

  func say(about rows: [[Int32]]) throws {
    if isSaid { return }
    isSaid = true
    let longest = rows.map(\.count).max() ?? 0
    if let limit = description.exceededPositions(longest) {
      try events.warn(.rowsTooLong(tokens: longest, limit: limit))
    }
    if description.wantsBOS, !beginsWithBOS { try events.note(.noBOS(family: description.family)) }
  }
}

extension ModelDescription {
  /// The most positions that the model was made for, where sequences of `tokens` have more; nil where they have not.
  package func exceededPositions(_ tokens: Int) -> Int? {
    guard let limit = config["max_position_embeddings"]?.int, limit > 0, tokens > limit else { return nil }
    return limit
  }
}

/// The text of a run, packed into rows: those to calibrate on and those to evaluate on.
final class TextRows: TaskSources {
  let tokenizer: Tokenizer
  private let request: PruneRequest
  private let encoder: CalibrationEncoder
  private let remarks: RowRemarks
  private let events: RunEvents
  /// Nil where no calibration text is named.
  private let data: CalibrationData?
  private let dataFiles: [FileIdentity?]
  /// Calibration rows, where the evaluation rows that follow them were packed already.
  private var packed: PackedRows?
  /// Whether rows to evaluate on were asked for.
  private(set) var hasGivenRows = false

  init(_ request: PruneRequest, model: SourceModel, tokenizer: Tokenizer, events: RunEvents) throws {
    self.request = request
    self.tokenizer = tokenizer
    self.events = events
    remarks = RowRemarks(model.description, beginsWithBOS: request.evaluation.beginsWithBOS, events: events)
    encoder = try CalibrationEncoder(
      tokenizer: tokenizer, beginsWithBOS: request.evaluation.beginsWithBOS, directory: model.checkpoint.directory)
    data = request.calibration.isEmpty ? nil : try CalibrationData(sources: request.calibration)
    dataFiles = data?.identities ?? []
  }

  static let noData = RunError(
    """
    the default calibration dataset (nemotron-post-training-dataset-v2) would come from the hub, which is not reached \
    yet; give local text with \(parameter: "calib_dataset_name") FILE.jsonl, FILE.parquet or a directory of them
    """)

  var questions: String? { request.evaluation.questions }
  var fewShots: Int { request.evaluation.fewShots }

  /// The hash of the calibration text.
  func fingerprint() throws -> String { try data?.fingerprint() ?? "none" }

  /// The rows to calibrate on.
  ///
  /// - Throws: `RunError` when the files were changed since the run began.
  func calibrationRows() throws -> PackedRows {
    guard let data else { throw Self.noData }
    let rows =
      try packed
      ?? data.pack(
        encoder: encoder, seqLength: request.search.seqLength, count: request.calibrationRows, seed: request.seed)
    packed = nil
    for warning in rows.warnings { try events.warn(.data(warning)) }
    let names = request.calibration.joined(separator: ", ")
    guard data.identities == dataFiles else {
      throw RunError("\(names): changed while it was read; run the same command again when it is whole")
    }
    guard !rows.rows.isEmpty else { throw RunError("\(names): there is no text to calibrate on") }
    try remarks.say(about: rows.rows)
    return rows
  }

  /// The rows to evaluate on: of data of their own, or those that follow the calibration rows.
  func rows() throws -> (rows: [[Int32]], madeOf: [(name: String, value: String)]) {
    let (own, count) = (request.evaluation.datasets, request.evaluation.rows)
    let rows: PackedRows
    let source: String
    if own.isEmpty {
      guard let data else { throw Self.noData }
      let both = try data.pack(
        encoder: encoder, seqLength: request.search.seqLength, count: request.calibrationRows, following: count,
        seed: request.seed)
      (packed, rows) = (both.rows, both.following)
      source = "calibration"
    } else {
      let data = try CalibrationData(sources: own)
      rows = try data.pack(
        encoder: encoder, seqLength: request.search.seqLength, count: count, seed: request.seed)
      source = try data.fingerprint()
    }
    for warning in rows.warnings { try events.warn(.data(warning)) }
    try remarks.say(about: rows.rows)
    hasGivenRows = true
    return (rows.rows, [("eval_data", source), ("eval_num_samples", "\(count)")])
  }
}
