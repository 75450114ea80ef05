import Checkpoint
import Crypto
import Datasets
import Execution
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
  let fingerprint: Fingerprint
  /// What the result takes along of the source's directory.
  let companions: Companions
  private let options: PruneCommand
  private let data: CalibrationData
  let tokenizer: Tokenizer
  private let console: Console

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
    companions = try Companions(directory: model.checkpoint.directory)
    for warning in companions.warnings { console.warn(warning) }
    let hashing = console.progress("fingerprint", total: nil, unit: "bytes")
    let weights = try model.checkpoint.sha256(progress: { done, _ in hashing.update(done) })
    hashing.finish()
    fingerprint = Fingerprint([
      ("format", "1"),
      ("weights", weights),
      ("tokenizer", try Self.hash(file: model.checkpoint.directory + "/tokenizer.json")),
      ("calibration_data", try data.fingerprint()),
      ("calib_num_samples", "\(options.calibrationRows)"),
      ("calib_batch_size", "\(options.batchSize)"),
      ("seq_length", "\(options.search.seqLength)"),
      ("seed", "\(options.seed)"),
      ("compute_dtype", "\(dtype)"),
    ])
  }

  static func hash(file: String) throws -> String {
    guard let contents = FileManager.default.contents(atPath: file) else {
      throw ModelError("\(file): cannot be read")
    }
    return SHA256.hash(data: contents).map { String(format: "%02x", $0) }.joined()
  }

  func calibrationRows() throws -> PackedRows {
    let rows = try data.pack(
      encoder: CalibrationEncoder(tokenizer: tokenizer), seqLength: options.search.seqLength,
      count: options.calibrationRows, seed: options.seed)
    for warning in rows.warnings { console.warn(warning) }
    guard !rows.rows.isEmpty else {
      throw ModelError("\(options.calibration.joined(separator: ", ")): there is no text to calibrate on")
    }
    return rows
  }

  var seed: UInt64 { options.seed }

  /// Rows for `neg_loss` and `neg_kl`: from `--eval_dataset_name`, else the calibration source's after those used.
  func evaluationRows() throws -> PackedRows {
    let own = options.evaluation.evalDatasets
    let source = own.isEmpty ? data : try CalibrationData(sources: own)
    let rows = try source.pack(
      encoder: CalibrationEncoder(tokenizer: tokenizer), seqLength: options.search.seqLength,
      count: options.evaluation.evalSamples, skippingRows: own.isEmpty ? options.calibrationRows : 0,
      seed: options.seed)
    for warning in rows.warnings { console.warn(warning) }
    return rows
  }

  /// The fingerprint of what `evaluationRows` come from.
  func evaluationFingerprint() throws -> [(String, String)] {
    let own = options.evaluation.evalDatasets
    return [
      ("eval_data", own.isEmpty ? "calibration" : try CalibrationData(sources: own).fingerprint()),
      ("eval_num_samples", "\(options.evaluation.evalSamples)"),
    ]
  }
}
