import Checkpoint
import Crypto
import Evaluation
import Files
import Foundation
import JSON
import Minitron
import Models
import Ranks
import Tokenization
import Torch

/// What importance is made of: the model, the data and the settings, with the fingerprint of all three.
struct PruneInputs {
  let request: PruneRequest
  let dtype: DType
  let budget: Int
  /// All of it.
  private(set) var fingerprint: Fingerprint
  /// What candidates are scored on; nil by hand.
  let task: (any ItemTask)?
  /// What the result takes along of the source's directory.
  let companions: Companions
  /// How it is found out which layers are kept.
  let layers: LayerOrder
  /// Whether scores of importance are needed.
  let measuresImportance: Bool
  /// Whether anything is to be measured on calibration rows.
  var isCalibrated: Bool { measuresImportance || layers.score == .kl || request.refit != .none }
  /// What hidden_size is cut in.
  let basis: ResidualBasis
  let text: TextRows
  private let modelDirectory: String
  private let tokenizer: Tokenizer

  /// Looks at everything but the weights, whose hash is taken by `hashWeights`.
  ///
  /// - Parameters:
  ///   - places: where data of the hub are to be had.
  ///   - layers: how it is found out which of them are kept.
  ///   - measuresImportance: whether scores of importance are needed.
  ///   - basis: what hidden_size is cut in.
  /// - Throws: what is wrong with the data, the questions or the tokenizer's files.
  init(
    _ request: PruneRequest, model: SourceModel, tokenizer: Tokenizer, events: RunEvents, places: HubDatasets,
    layers: LayerOrder, measuresImportance: Bool, basis: ResidualBasis
  ) throws {
    self.request = request
    self.layers = layers
    self.measuresImportance = measuresImportance
    self.basis = basis
    self.tokenizer = tokenizer
    dtype = try request.compute.dtype(for: model)
    budget = request.compute.budget
    text = try TextRows(
      request, model: model, tokenizer: tokenizer, events: events, places: places,
      isCalibrated: measuresImportance || layers.score == .kl || request.refit != .none)
    modelDirectory = resolvedPath(model.checkpoint.directory)
    companions = try Companions(directory: model.checkpoint.directory)
    task = request.search.hasTarget ? try request.scoreFunction.function.task(text) : nil
    let hasExperts = model.description.hyperparameters.contains(.moeFFNHiddenSize)
    let tokenizerHash = try Self.hash(tokenizer, file: model.checkpoint.directory + "/tokenizer.json")
    let beforeData = [
      ("calibration_algorithm", "\(AlgorithmVersion.calibration)"), ("weights", Self.unknown),
      ("tokenizer", tokenizerHash),
    ]
    let afterData = [
      ("calib_num_samples", "\(request.calibrationRows)"),
      ("calib_batch_size", "\(request.batchSize)"),
      ("seq_length", "\(request.search.seqLength)"),
      ("calib_bos", "\(request.evaluation.beginsWithBOS)"),
      ("seed", "\(request.seed)"),
      ("compute_dtype", "\(dtype)"),
    ]
    fingerprint = Fingerprint(beforeData + (try text.madeOf()) + afterData)
      .adding(hasExperts ? [("expert_channels", request.expertChannels.rawValue)] : [])
      .adding(basis == .channels ? [] : [("basis", basis.rawValue), ("rotation", "\(AlgorithmVersion.rotation)")])
  }

  /// What scores of importance are made of, and those of layers where they are others than the reference's.
  var layerFingerprint: Fingerprint {
    guard layers.score == .kl else { return fingerprint }
    return fingerprint.adding([
      ("layer_score", LayerScore.kl.rawValue), ("layer_score_rows", "\(request.rowsToScoreLayers)"),
      ("layer_score_algorithm", "\(AlgorithmVersion.layerScore)"),
    ])
  }

  /// What results are made of: all that scores of importance are, and what is said of layers by hand.
  var resultFingerprint: Fingerprint {
    candidateFingerprint(.finished)
      .adding(request.prediction == .drop ? [] : [("mtp", request.prediction.rawValue)])
  }

  /// What the scores of candidates with such weights are made of.
  func candidateFingerprint(_ weights: ScoredWeights) -> Fingerprint {
    layerFingerprint.adding(layers.madeOf + (weights == .cut ? [] : refitSettings(weights)))
  }

  /// How weights are refitted; nothing where they are not.
  private func refitSettings(_ weights: ScoredWeights) -> [(String, String)] {
    guard request.refit != .none else { return [] }
    let mode = weights == .refittedLocally ? .local : request.refit
    return [
      ("refit", mode.rawValue), ("refit_rows", "\(request.rowsToRefit)"),
      ("refit_algorithm", "\(AlgorithmVersion.refit)"),
    ]
  }

  /// The same in names that people know it by.
  var about: JSON {
    .object([
      ("model", .text(modelDirectory)), ("calib_dataset_name", .array(request.calibrationNames.map(JSON.text))),
      ("coppice_version", .text(coppiceVersion)), ("made_of", fingerprint.json),
    ])
  }

  /// Warns of questions that are longer than the model was made for. (Of rows `TextRows` has warned.)
  func warnOfLength(_ model: SourceModel, _ events: RunEvents) throws {
    guard let task, !text.hasGivenRows, let limit = model.description.exceededPositions(task.longest) else { return }
    try events.warn(.promptsTooLong(tokens: task.longest, limit: limit))
  }

  /// In the place of the weights' hash until it is known.
  static let unknown = "unknown"

  /// Takes the hash of the weights where it need not be read for it: it was taken before and they are as they were, or the
  /// hub's cache has them under their hashes.
  ///
  /// - Returns: whether it is known now.
  @discardableResult
  mutating func recallWeightsHash(of model: SourceModel) throws -> Bool {
    guard let known = try model.checkpoint.knownSHA256() else { return false }
    fingerprint = fingerprint.replacing("weights", with: known)
    return true
  }

  /// - Parameters:
  ///   - world: whose processes each hash files that they read anyway.
  ///   - layout: of the model's layers among them.
  mutating func hashWeights(
    of model: SourceModel, _ events: RunEvents, with world: World = .alone, _ layout: CrewLayout? = nil
  ) throws {
    if try recallWeightsHash(of: model) { return }
    let hashing = events.progress("fingerprint", total: nil, unit: "bytes")
    if let layout, !world.isAlone { try SharedHashes(model, layout).collect(world) { hashing.update($0) } }
    fingerprint = fingerprint.replacing(
      "weights", with: try model.checkpoint.sha256(progress: { done, _ in hashing.update(done) }))
    hashing.finish()
  }

  /// Throws when the tokenizer, which the result takes along, is no longer the one that the rows were made with.
  func checkTokenizer(of model: SourceModel) throws {
    let file = model.checkpoint.directory + "/tokenizer.json"
    let hash = try Self.hash(tokenizer, file: file)
    guard fingerprint.fields.contains(where: { $0.name == "tokenizer" && $0.value == hash }) else {
      throw RunError(
        """
        \(file) was changed while it was used: something else writes there. Nothing made of it is published; see that \
        the file is whole, then run the same command again
        """)
    }
  }

  /// The hash of all that decides how text becomes tokens.
  static func hash(_ tokenizer: Tokenizer, file: String) throws -> String {
    var hash = SHA256()
    hash.update(data: try WholeFile.read(file, limit: Tokenizer.largestFile))
    hash.update(data: Array(tokenizer.settings.serialized().utf8))
    return hexadecimal(hash.finalize())
  }
}
