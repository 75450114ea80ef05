import Checkpoint
import Files
import Foundation
import JSON
import Minitron
import Models

/// A checkpoint that is at the output already: the result of this very command, or something else.
struct FinishedOutput {
  let path: String
  /// The parameter that named it.
  private let name: String
  /// Its `coppice.json`.
  let record: JSON.Object

  /// - Throws: `RunError` when it was not made by Coppice or holds no whole checkpoint.
  init(_ path: String, name: String = "output_hf_path") throws {
    (self.path, self.name) = (path, name)
    guard OutputDirectory.isFinished(path) else {
      throw RunError(
        """
        \(path) exists already, holds no finished checkpoint and is left as it is: remove it yourself or choose another \
        \(parameter: name)
        """)
    }
    let file = path + "/coppice.json"
    guard let record = try? WholeFile.object(file) else {
      throw RunError(
        """
        \(path) holds a finished checkpoint already, and nothing says what it was made of (no coppice.json that could be \
        read); it is left as it is. Choose another \(parameter: name) or remove it
        """)
    }
    self.record = record
  }

  /// Returns when it is the result of this request and these inputs.
  ///
  /// - Throws: `RunError` with what differs, line by line.
  func check(
    _ request: RecordedRequest, _ inputs: inout PruneInputs, _ model: SourceModel, _ events: RunEvents
  ) throws {
    // Weights are only read for it when nothing else tells the two apart.
    try inputs.recallWeightsHash(of: model)
    var lines = differences(request, inputs)
    if lines.isEmpty {
      try inputs.hashWeights(of: model, events)
      lines = differences(request, inputs)
    }
    try refuse(lines)
  }

  /// Returns when it was made of these.
  ///
  /// - Throws: `RunError` with what differs, line by line.
  func check(_ made: Fingerprint) throws { try refuse(RecordedRequest.lines(made, record["made_of"])) }

  private func refuse(_ lines: [String]) throws {
    guard lines.isEmpty else {
      throw RunError(
        """
        \(path) holds a finished checkpoint already, of something else; it
        \(lines.map { "  \($0)\n" }.joined())It is left as it is: choose another \(parameter: name) or remove it
        """)
    }
  }

  private func differences(_ request: RecordedRequest, _ inputs: PruneInputs) -> [String] {
    var (fields, stored) = (inputs.resultFingerprint, record["made_of"])
    if fields.fields.contains(where: { $0.value == PruneInputs.unknown }), let weights = stored?["weights"]?.string {
      fields = fields.replacing("weights", with: weights)
    }
    if stored?.object == nil { stored = nil }
    return RecordedRequest.lines(fields, stored) + request.differences(from: record)
  }
}
