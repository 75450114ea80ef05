import Checkpoint
import Crypto
import Datasets
import Execution
import Files
import Foundation
import Minitron
import Models
import Report
import Tokenization
import Torch

/// Text → token numbers for calibration rows: no special tokens.
struct CalibrationEncoder: TextEncoding {
  let tokenizer: Tokenizer
  func encode(_ text: String) throws -> [Int] { try tokenizer.encode(text, addSpecialTokens: false) }
  var eosTokenID: Int? { tokenizer.eosTokenID }
}

/// What importance is made of: the model, the data and the settings, with the fingerprint of all three.
struct PruneInputs {
  let dtype: DType
  let budget: Int
  /// All of it.
  private(set) var fingerprint: Fingerprint
  /// What candidates are scored on; nil by hand.
  let scoring: ScoringData?
  /// What the result takes along of the source's directory.
  let companions: Companions
  private let options: PruneCommand
  private let data: CalibrationData
  private let dataFiles: [FileIdentity?]
  let tokenizer: Tokenizer
  private let console: Console

  /// Looks at everything but the weights, whose hash is taken by `hashWeights`.
  ///
  /// - Throws: what is wrong with the data, the questions or the tokenizer's files.
  init(_ options: PruneCommand, model: SourceModel, tokenizer: Tokenizer, console: Console) throws {
    self.options = options
    self.tokenizer = tokenizer
    self.console = console
    dtype = try options.compute.dtype(for: model)
    budget = try options.compute.budget()
    guard !options.calibration.isEmpty else {
      throw ModelError(
        "the default calibration dataset (nemotron-post-training-dataset-v2) would come from the hub, which is not "
          + "reached yet; give local text with --calib_dataset_name FILE.jsonl, FILE.parquet or a directory of them")
    }
    data = try CalibrationData(sources: options.calibration)
    dataFiles = data.identities
    companions = try Companions(directory: model.checkpoint.directory)
    scoring =
      options.search.hasTarget
      ? try ScoringData(options, calibration: data, tokenizer: tokenizer, console: console) : nil
    fingerprint = Fingerprint([
      ("calibration_algorithm", "\(AlgorithmVersion.calibration)"),
      ("weights", Self.unknown),
      ("tokenizer", try Self.hash(tokenizer, file: model.checkpoint.directory + "/tokenizer.json")),
      ("calibration_data", try data.fingerprint()),
      ("calib_num_samples", "\(options.calibrationRows)"),
      ("calib_batch_size", "\(options.batchSize)"),
      ("seq_length", "\(options.search.seqLength)"),
      ("seed", "\(options.seed)"),
      ("compute_dtype", "\(dtype)"),
    ])
  }

  /// In the place of the weights' hash until it is known.
  static let unknown = "unknown"

  /// - Parameter onlyKnown: only if they need not be read for it.
  mutating func hashWeights(of model: SourceModel, onlyKnown: Bool = false) throws {
    if onlyKnown {
      if let known = try model.checkpoint.knownSHA256() { fingerprint = fingerprint.replacing("weights", with: known) }
      return
    }
    let hashing = console.progress("fingerprint", total: nil, unit: "bytes")
    fingerprint = fingerprint.replacing(
      "weights", with: try model.checkpoint.sha256(progress: { done, _ in hashing.update(done) }))
    hashing.finish()
  }

  /// The hash of all that decides how text becomes tokens.
  private static func hash(_ tokenizer: Tokenizer, file: String) throws -> String {
    guard let contents = FileManager.default.contents(atPath: file) else {
      throw ModelError("\(file): cannot be read")
    }
    var hash = SHA256()
    hash.update(data: contents)
    hash.update(data: Array(tokenizer.settings.serialized().utf8))
    return hash.finalize().map { String(format: "%02x", $0) }.joined()
  }

  func calibrationRows() throws -> PackedRows {
    let rows = try data.pack(
      encoder: CalibrationEncoder(tokenizer: tokenizer), seqLength: options.search.seqLength,
      count: options.calibrationRows, seed: options.seed)
    for warning in rows.warnings { console.warn(warning) }
    guard data.identities == dataFiles else {
      throw ModelError(
        "\(options.calibration.joined(separator: ", ")): changed while it was read; run the same command again when it is "
          + "whole")
    }
    guard !rows.rows.isEmpty else {
      throw ModelError("\(options.calibration.joined(separator: ", ")): there is no text to calibrate on")
    }
    return rows
  }

  var seed: UInt64 { options.seed }
}
