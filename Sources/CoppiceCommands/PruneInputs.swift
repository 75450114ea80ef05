import Checkpoint
import Crypto
import Datasets
import Execution
import Files
import Foundation
import JSON
import Minitron
import Models
import Report
import Tokenization
import Torch

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
  /// The order of layers where the command line gives it: 0-based numbers, best first.
  let layerRanking: [Int]?
  /// Whether anything is to be measured on calibration rows.
  let isCalibrated: Bool
  private let modelDirectory: String
  private let options: PruneOptions
  private let data: CalibrationData?
  private let dataFiles: [FileIdentity?]
  let tokenizer: Tokenizer
  private let encoder: CalibrationEncoder
  private let remarks: RowRemarks
  private let console: Console

  /// Looks at everything but the weights, whose hash is taken by `hashWeights`.
  ///
  /// - Parameters:
  ///   - layerRanking: layer numbers (0-based), best first, where they are given and layers may be dropped.
  ///   - isCalibrated: whether anything is to be measured on calibration rows.
  /// - Throws: what is wrong with the data, the questions or the tokenizer's files.
  init(
    _ options: PruneOptions, model: SourceModel, tokenizer: Tokenizer, console: Console, layerRanking: [Int]?,
    isCalibrated: Bool
  ) throws {
    self.options = options
    self.layerRanking = layerRanking
    self.isCalibrated = isCalibrated
    self.tokenizer = tokenizer
    self.console = console
    remarks = RowRemarks(
      description: model.description, beginsWithBOS: options.evaluation.beginsWithBOS, console: console)
    encoder = try CalibrationEncoder(
      tokenizer: tokenizer, beginsWithBOS: options.evaluation.beginsWithBOS, directory: model.checkpoint.directory)
    dtype = try options.compute.dtype(for: model)
    budget = try options.compute.budget()
    if isCalibrated, options.calibration.isEmpty { throw Self.noCalibrationData }
    data = options.calibration.isEmpty ? nil : try CalibrationData(sources: options.calibration)
    dataFiles = data?.identities ?? []
    modelDirectory = resolvedPath(model.checkpoint.directory)
    companions = try Companions(directory: model.checkpoint.directory)
    scoring =
      options.search.hasTarget
      ? try ScoringData(
        options, calibration: data, tokenizer: tokenizer, encoder: encoder, remarks: remarks, console: console) : nil
    let hasExperts = model.description.hyperparameters.contains(.moeFFNHiddenSize)
    fingerprint = Fingerprint([
      ("calibration_algorithm", "\(AlgorithmVersion.calibration)"),
      ("weights", Self.unknown),
      ("tokenizer", try Self.hash(tokenizer, file: model.checkpoint.directory + "/tokenizer.json")),
      ("calibration_data", try data?.fingerprint() ?? "none"),
      ("calib_num_samples", "\(options.calibrationRows)"),
      ("calib_batch_size", "\(options.batchSize)"),
      ("seq_length", "\(options.search.seqLength)"),
      ("calib_bos", "\(options.evaluation.beginsWithBOS)"),
      ("seed", "\(options.seed)"),
      ("compute_dtype", "\(dtype)"),
    ])
    .adding(hasExperts ? [("expert_channels", options.expertChannels.rawValue)] : [])
  }

  /// What results are made of: all that scores of importance are, and the order of layers where it is given.
  var resultFingerprint: Fingerprint {
    guard let layerRanking else { return fingerprint }
    return fingerprint.adding([("layer_ranking", "\(layerRanking.map { $0 + 1 })")])
  }

  /// The same in names that people know it by.
  var about: JSON {
    .object([
      ("model", .text(modelDirectory)), ("calib_dataset_name", .array(options.calibration.map(JSON.text))),
      ("coppice_version", .text(coppiceVersion)), ("made_of", fingerprint.json),
    ])
  }

  static let noCalibrationData = ModelError(
    "the default calibration dataset (nemotron-post-training-dataset-v2) would come from the hub, which is not reached "
      + "yet; give local text with --calib_dataset_name FILE.jsonl, FILE.parquet or a directory of them")

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

  /// Throws when the tokenizer, which the result takes along, is no longer the one that the rows were made with.
  func checkTokenizer(of model: SourceModel) throws {
    let file = model.checkpoint.directory + "/tokenizer.json"
    let hash = try Self.hash(tokenizer, file: file)
    guard fingerprint.fields.contains(where: { $0.name == "tokenizer" && $0.value == hash }) else {
      throw ModelError(
        "\(file) was changed while it was used: something else writes there. Nothing made of it is published; see that "
          + "the file is whole, then run the same command again")
    }
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
    guard let data else { throw Self.noCalibrationData }
    let rows = try data.pack(
      encoder: encoder, seqLength: options.search.seqLength,
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
    remarks.say(about: rows.rows)
    return rows
  }

  var seed: UInt64 { options.seed }
}
