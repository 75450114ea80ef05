import ChatTemplates
import Crypto
import Datasets
import Evaluation
import Files
import Hub
import JSON
import Messages
import Models
import Tokenization

/// Text and conversations → token numbers for calibration rows: no special tokens but those that are asked for, and those
/// that a chat template writes.
struct CalibrationEncoder: TextEncoding {
  let tokenizer: Tokenizer
  let rowStart: Int?
  private let template: ModelTemplate
  /// The model's.
  let directory: String

  /// - Parameter beginsWithBOS: every row begins with the tokenizer's BOS token.
  /// - Throws: `RunError` for a tokenizer without one.
  init(tokenizer: Tokenizer, beginsWithBOS: Bool, directory: String) throws {
    self.tokenizer = tokenizer
    rowStart = beginsWithBOS ? tokenizer.bosTokenID : nil
    guard !beginsWithBOS || rowStart != nil else {
      throw RunError("\(parameter: "calib_bos"): the tokenizer in \(directory) has no BOS token; leave the flag out")
    }
    self.directory = directory
    template = ModelTemplate(directory: directory)
  }

  /// A conversation up to where the model's answer begins.
  func chat(_ messages: JSON, tools: JSON? = nil, variables: JSON.Object = JSON.Object()) throws -> String {
    try template.get().render(messages: messages, tools: tools, addGenerationPrompt: true, variables: variables)
  }

  func encode(_ text: String) throws -> [Int] { try tokenizer.encode(text, addSpecialTokens: false) }

  func render(_ conversation: Conversation) throws -> String {
    try template.get().calibrationText(messages: conversation.messages, tools: conversation.tools)
  }

  var eosTokenID: Int? { tokenizer.eosTokenID }

  /// What the chat template adds to a fingerprint of rows in which it has a part.
  func templateHash() throws -> String { hexadecimal(SHA256.hash(data: try template.get().identity)) }
}

/// A model's chat template, read when the first conversation comes: text can do without.
private final class ModelTemplate {
  private let directory: String
  private lazy var result = Result { try ChatTemplate(directory: directory) }

  init(directory: String) { self.directory = directory }

  /// - Throws: why there is none.
  func get() throws -> ChatTemplate { try result.get() }
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
  /// Nil where no calibration text is named or wanted.
  private let data: CalibrationData?
  private let dataFiles: [FileIdentity?]
  private let hub: HubDatasets
  var places: (any DatasetPlaces)? { hub }
  /// Calibration rows, where the evaluation rows that follow them were packed already.
  private var packed: PackedRows?
  /// The same once somebody has asked for them: others may, too, and hear no warning twice.
  private var calibrated: PackedRows?
  /// Whether rows to evaluate on were asked for.
  private(set) var hasGivenRows = false

  /// - Parameter isCalibrated: whether anything is to be measured on calibration rows.
  /// - Throws: what is wrong with the names of data, or with what is there under them.
  init(
    _ request: PruneRequest, model: SourceModel, tokenizer: Tokenizer, events: RunEvents, places: HubDatasets,
    isCalibrated: Bool
  ) throws {
    self.request = request
    self.tokenizer = tokenizer
    self.events = events
    remarks = RowRemarks(model.description, beginsWithBOS: request.evaluation.beginsWithBOS, events: events)
    encoder = try CalibrationEncoder(
      tokenizer: tokenizer, beginsWithBOS: request.evaluation.beginsWithBOS, directory: model.checkpoint.directory)
    hub = places
    let isWanted = isCalibrated || !request.calibration.isEmpty
    do { data = isWanted ? try request.calibrationNames.data(places) : nil } catch let error as any MessageError
      where request.calibration.isEmpty
    {
      throw RunError(
        "\(parameter: "calib_dataset_name") is \(DatasetRegistry.defaultName) where nothing is named: \(error)")
    }
    dataFiles = data?.identities ?? []
  }

  var questions: String? { request.evaluation.questions }
  var numberQuestions: String? { request.evaluation.numberQuestions }
  var fewShots: Int? { request.evaluation.fewShots }
  func stops() throws -> Set<Int> { try StopTokens(directory: encoder.directory, tokenizer: tokenizer).ids }
  func chat(_ messages: JSON) throws -> String { try encoder.chat(messages) }

  /// What the calibration text is made of: names and values for the fingerprint.
  func madeOf() throws -> [(name: String, value: String)] {
    guard let data else { return [("calibration_data", "none")] }
    let template = try data.hasConversations() ? [("chat_template", try encoder.templateHash())] : []
    return [("calibration_data", try data.fingerprint())] + template
  }

  /// The rows to calibrate on.
  ///
  /// - Throws: `RunError` when the files were changed since the run began.
  func calibrationRows() throws -> PackedRows {
    if let calibrated { return calibrated }
    guard let data else { throw RunError("no calibration rows were to be measured on") }
    let rows = try explainingGates(of: request.calibrationNames) {
      try packed
        ?? data.pack(
          encoder: encoder, seqLength: request.search.seqLength, count: request.calibrationRows, seed: request.seed)
    }
    packed = nil
    for warning in rows.warnings { try events.warn(.data(warning)) }
    let names = request.calibrationNames.joined(separator: ", ")
    guard data.identities == dataFiles else {
      throw RunError("\(names): changed while it was read; run the same command again when it is whole")
    }
    guard !rows.rows.isEmpty else { throw RunError("\(names): there is no text to calibrate on") }
    try remarks.say(about: rows.rows)
    calibrated = rows
    return rows
  }

  /// The rows to evaluate on: of data of their own, or those that follow the calibration rows.
  func rows() throws -> (rows: [[Int32]], madeOf: [(name: String, value: String)]) {
    let (own, count) = (request.evaluation.datasets, request.evaluation.rows)
    let rows: PackedRows
    let source: String
    if own.isEmpty {
      let data = try self.data ?? request.calibrationNames.data(hub)
      let both = try data.pack(
        encoder: encoder, seqLength: request.search.seqLength, count: request.calibrationRows, following: count,
        seed: request.seed)
      (packed, rows) = (both.rows, both.following)
      source = self.data == nil ? try data.fingerprint() : "calibration"
    } else {
      let data = try own.data(hub)
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

extension [String] {
  /// The data of these names.
  ///
  /// - Throws: `DatasetError`, `HubError`.
  func data(_ places: some DatasetPlaces) throws -> CalibrationData {
    try explainingGates(of: self) { try CalibrationData(sources: self, places: places) }
  }
}

/// Adds to the error of a data set that wants an agreement the name of one that wants none.
func explainingGates<T>(of names: [String], _ body: () throws -> T) throws -> T {
  do { return try body() } catch let error as HubError
    where error.kind == .access && names.contains(where: DatasetRegistry.isGated)
  {
    throw RunError(
      "\(error). Text without conditions: \(parameter: "calib_dataset_name") \(DatasetRegistry.openText)")
  }
}
