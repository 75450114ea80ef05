public import Execution
public import JSON
public import Models

/// What layers are ranked by.
public enum LayerScore: String, Sendable, CaseIterable, Codable {
  /// How much a layer changes what it reads: 1 − cos of its input and output (the reference's).
  case cosine
  /// What the whole model loses without it: the divergence of the next token's distribution when the layer alone is left out.
  case kl
}

// Divergences between runs. They have a file for each fingerprint: others of the same calibration lie beside them.
extension PruneStore {
  private static func layersName(_ fingerprint: Fingerprint) -> String { "layers-\(fingerprint.key).json" }

  /// Whether a name is that of a file of divergences.
  static func holdsLayers(_ name: String) -> Bool { name.wholeMatch(of: /layers-[0-9a-f]{16}\.json/) != nil }

  /// The kept divergence of each layer's absence; nil when there are none (or `fresh`).
  ///
  /// - Throws: `ModelError` when they are damaged.
  public func layerDivergences(_ fingerprint: Fingerprint, for model: ModelDescription) throws -> [Double]? {
    guard !fresh, let (stored, path) = try read(file(Self.layersName(fingerprint))) else { return nil }
    let found = stored["divergences"]?.array ?? []
    let values = found.compactMap(\.double)
    guard fingerprint.differences(from: stored["fingerprint"]).isEmpty, values.count == model.layers.count,
      found.count == values.count, values.allSatisfy(\.isFinite)
    else { throw Self.again("\(path): these are not the scores of this model's \(model.layers.count) layers") }
    return values
  }

  /// - Parameter about: as of importance scores.
  public func save(layerDivergences: [Double], _ fingerprint: Fingerprint, about: JSON) throws {
    try write(
      JSON.Object([
        (Self.aboutKey, about), ("fingerprint", fingerprint.json), ("made_on", madeOn),
        ("divergences", .array(layerDivergences.map(JSON.double))),
      ]), to: file(Self.layersName(fingerprint)))
  }

  /// Keeps a walk that finds divergences as it goes; nil where nothing is kept.
  ///
  /// - Parameters: as of `scoringWalk`.
  public func layerWalk(
    _ fingerprint: Fingerprint, about: JSON = .null, _ executor: Executor, interval: Duration = KeptWalk.interval,
    note: @escaping (String) -> Void, sums: @escaping () -> [[Double]], restore: @escaping ([[Double]]) throws -> Void
  ) -> KeptWalk? {
    sumsWalk(
      Self.layerWalkName, "scoring of layers", fingerprint, about: about, executor, interval: interval, note: note,
      sums: sums, restore: restore)
  }

  static let layerWalkName = "layers"
}
