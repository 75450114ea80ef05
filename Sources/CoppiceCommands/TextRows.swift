import Datasets
import Models
import Report
import Tokenization

/// What there is to say about rows of text before a model meets them.
struct TextRemarks {
  let warnings: [String]
  let notes: [String]
}

extension ModelDescription {
  /// The warning for sequences that are longer than the model was made for; nil for those that are not.
  ///
  /// - Parameters:
  ///   - what: the sequences.
  ///   - tokens: in the longest of them.
  func lengthWarning(_ what: String, tokens: Int) -> String? {
    guard let limit = config["max_position_embeddings"]?.int, limit > 0, tokens > limit else { return nil }
    return "\(what): beyond max_position_embeddings (\(limit)) the model was not made for its positions"
  }

  /// What to say about rows of calibration or evaluation text.
  func remarks(rows: [[Int32]], beginsWithBOS: Bool) -> TextRemarks {
    let longest = rows.map(\.count).max() ?? 0
    let limit = config["max_position_embeddings"]?.int ?? longest
    return TextRemarks(
      warnings: [
        lengthWarning("rows of \(longest) tokens", tokens: longest).map { "\($0); choose --seq_length \(limit)" }
      ].compactMap { $0 },
      notes: wantsBOS && !beginsWithBOS
        ? [
          "\(family) models were trained with a BOS token before every text; rows are packed without one, as the "
            + "reference does: --calib_bos adds it"
        ] : [])
  }
}

extension Console {
  func say(_ remarks: TextRemarks) {
    for warning in remarks.warnings { warn(warning) }
    for text in remarks.notes { note(text) }
  }
}

/// Text → token numbers for calibration rows: no special tokens but those that are asked for.
struct CalibrationEncoder: TextEncoding {
  let tokenizer: Tokenizer
  let rowStart: Int?

  /// - Parameter beginsWithBOS: every row begins with the tokenizer's BOS token.
  /// - Throws: `ModelError` for a tokenizer without one.
  init(tokenizer: Tokenizer, beginsWithBOS: Bool, directory: String) throws {
    self.tokenizer = tokenizer
    rowStart = beginsWithBOS ? tokenizer.bosTokenID : nil
    guard !beginsWithBOS || rowStart != nil else {
      throw ModelError("--calib_bos: the tokenizer in \(directory) has no BOS token; leave the flag out")
    }
  }

  func encode(_ text: String) throws -> [Int] { try tokenizer.encode(text, addSpecialTokens: false) }
  var eosTokenID: Int? { tokenizer.eosTokenID }
}

/// Says what there is to say about a run's rows, once: those of calibration and evaluation are alike.
final class RowRemarks {
  private let description: ModelDescription
  private let beginsWithBOS: Bool
  private let console: Console
  private var isSaid = false

  init(description: ModelDescription, beginsWithBOS: Bool, console: Console) {
    self.description = description
    self.beginsWithBOS = beginsWithBOS
    self.console = console
  }

  func say(about rows: [[Int32]]) {
    if !isSaid { console.say(description.remarks(rows: rows, beginsWithBOS: beginsWithBOS)) }
    isSaid = true
  }
}
