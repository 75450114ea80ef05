import ArgumentParser
import Checkpoint
import Files
import Foundation
import JSON
import Minitron
import Models

/// A checkpoint that is at the output already: the result of this very command, or something else.
struct FinishedOutput {
  let path: String
  /// Its `coppice.json`.
  let record: JSON.Object

  /// - Throws: `ModelError` when it was not made by Coppice or holds no whole checkpoint.
  init(_ path: String) throws {
    self.path = path
    guard OutputDirectory.isFinished(path) else {
      throw ModelError(
        "\(path) exists already, holds no finished checkpoint and is left as it is: remove it yourself or choose another "
          + "--output_hf_path")
    }
    let file = path + "/coppice.json"
    guard let data = FileManager.default.contents(atPath: file), let record = try? JSON(parsing: data).object else {
      throw ModelError(
        "\(path) holds a finished checkpoint already, and nothing says what it was made of (no coppice.json that could be "
          + "read); it is left as it is. Choose another --output_hf_path or remove it")
    }
    self.record = record
  }

  /// Returns when it is the result of this request and these inputs.
  ///
  /// - Throws: `ModelError` with what differs, line by line.
  func check(_ request: PruneRequest, _ inputs: inout PruneInputs, _ model: SourceModel) throws {
    // Weights are only read for it when nothing else tells the two apart.
    try inputs.hashWeights(of: model, onlyKnown: true)
    var lines = differences(request, inputs)
    if lines.isEmpty {
      try inputs.hashWeights(of: model)
      lines = differences(request, inputs)
    }
    guard lines.isEmpty else {
      throw ModelError(
        "\(path) holds a finished checkpoint already, of something else; it\n"
          + lines.map { "  \($0)\n" }.joined()
          + "It is left as it is: choose another --output_hf_path or remove it")
    }
  }

  private func differences(_ request: PruneRequest, _ inputs: PruneInputs) -> [String] {
    var (fields, stored) = (inputs.resultFingerprint, record["made_of"])
    if fields.fields.contains(where: { $0.value == PruneInputs.unknown }), let weights = stored?["weights"]?.string {
      fields = fields.replacing("weights", with: weights)
    }
    if stored?.object == nil { stored = nil }
    return PruneRequest.lines(fields, stored) + request.differences(from: record)
  }
}

/// Where the result goes, held against where the model lies.
enum OutputPlace {
  /// - Throws: `ValidationError` (wrong usage) when one is the other, or lies inside it.
  static func check(output: String, model: String, kept: String?) throws {
    func refuse(_ text: String) throws -> Never { throw ValidationError(text + "; name a directory of its own") }
    switch relation(of: output, to: model) {
    case .same: try refuse("--output_hf_path \(output) is the model itself")
    case .inside: try refuse("--output_hf_path \(output) lies inside the model's directory \(model)")
    case .around: try refuse("--output_hf_path \(output) holds the model's directory \(model)")
    case .apart: break
    }
    guard let kept else { return }
    guard !kept.isEmpty else {
      throw ValidationError("--prune_intermediate_ckpt is empty; name a directory or leave it out")
    }
    switch relation(of: kept, to: output) {
    case .same, .inside:
      try refuse("--prune_intermediate_ckpt \(kept) lies in the output \(output), which has to appear as a whole")
    case .around, .apart: break
    }
  }

  enum Relation { case same, inside, around, apart }

  /// By the files the system sees, whatever their paths look like: links, slashes, dots.
  static func relation(of a: String, to b: String) -> Relation {
    let (first, second) = (Ancestry(a), Ancestry(b))
    if first.path == second.path || (first.id != nil && first.id == second.id) { return .same }
    if second.id.map(first.above.contains) ?? false || first.path.hasPrefix(second.path + "/") { return .inside }
    if first.id.map(second.above.contains) ?? false || second.path.hasPrefix(first.path + "/") { return .around }
    return .apart
  }

  /// A path with its links resolved as far as it is there, and which directories are above it.
  private struct Ancestry {
    let path: String
    let id: DirectoryIdentity?
    let above: Set<DirectoryIdentity>

    init(_ given: String) {
      path = resolvedPath(given)
      id = DirectoryIdentity(path: path)
      var above: Set<DirectoryIdentity> = []
      var rest = path
      while let slash = rest.lastIndex(of: "/"), rest != "/" {
        rest = slash == rest.startIndex ? "/" : String(rest[..<slash])
        if let id = DirectoryIdentity(path: rest) { above.insert(id) }
      }
      self.above = above
    }
  }
}
