import Files
import Foundation
import JSON
import Training

/// A run's numbers for those who watch it: `metrics.jsonl`, event files for TensorBoard below `tensorboard`, and the curves as a
/// page, `report.html`. What is noted of steps that are done again after a resume is replaced.
final class DistillMetrics {
  private let path: String
  private let directory: String
  private let title: String
  private let settings: [(name: String, value: String)]
  private let steps: Int
  private var lines: [JSON] = []
  private var pageTime = Date.distantPast
  private var events: EventFile?

  /// - Parameters:
  ///   - directory: the run's output.
  ///   - title: of the page.
  ///   - settings: names and values, for the page.
  ///   - steps: of the run in all.
  init(directory: String, title: String, settings: [(name: String, value: String)], steps: Int) {
    (self.directory, self.title, self.settings, self.steps) = (directory, title, settings, steps)
    path = Self.path(in: directory)
  }

  /// Where a run's lines are, below its output.
  static func path(in directory: String) -> String { directory + "/metrics.jsonl" }

  /// A file's lines; those that a crash cut off are none.
  static func lines(in path: String) throws -> [JSON] {
    String(decoding: try WholeFile.read(path, limit: 1 << 30), as: UTF8.self).split(separator: "\n")
      .compactMap { try? JSON(parsing: $0.utf8) }
  }

  /// Held-out losses, from the first on.
  static func validations(in path: String) throws -> [LossSums] {
    try lines(in: path).compactMap { line in
      guard let divergence = line["validation_kl"]?.double, let text = line["validation_loss"]?.double else {
        return nil
      }
      var losses = LossSums()
      (losses.divergence, losses.crossEntropy) = (divergence, text)
      return losses
    }
  }

  /// Keeps what is there of steps up to this one.
  func begin(after step: Int) throws {
    try makeDirectories(directory)
    if kind(of: path) == .file, step > 0 {
      lines = try Self.lines(in: path).filter { $0["step"]?.int.map { $0 <= step } ?? false }
    }
    try AtomicFile.write(lines.map { $0.serialized() + "\n" }.joined().utf8, to: path)
    events = try EventFile(directory: directory + "/tensorboard")
  }

  func add(_ recent: Recent, of outcome: StepOutcome) throws {
    let means = recent.means
    try add(
      [
        ("kl", means.divergence), ("loss", means.crossEntropy), ("lr", outcome.rate),
        ("gradient_norm", outcome.gradientNorm), ("tokens_per_second", recent.rate),
      ] + (means.intermediate > 0 ? [("intermediate", means.intermediate)] : []), step: outcome.step)
  }

  func add(validation: LossSums, step: Int) throws {
    try add(
      [("validation_kl", validation.divergence), ("validation_loss", validation.crossEntropy)], step: step)
  }

  private func add(_ values: [(name: String, value: Double)], step: Int) throws {
    let line = JSON.object([("step", .int(step))] + values.map { ($0.name, .double($0.value)) })
    lines.append(line)
    guard let file = FileHandle(forWritingAtPath: path) else { throw systemError("write", path) }
    defer { try? file.close() }
    try file.seekToEnd()
    try file.write(contentsOf: Data((line.serialized() + "\n").utf8))
    try events?.add(values, step: step)
    // The page holds all lines: to write it for each would take longer and longer.
    if Date().timeIntervalSince(pageTime) > 10 { try writePage() }
  }

  /// Brings the page up to date.
  func writePage() throws {
    pageTime = Date()
    let page = DistillReport(title: title, settings: settings, lines: lines, steps: steps).html
    try Array(page.utf8).withUnsafeBytes { try AtomicFile.write($0, to: directory + "/report.html", isDurable: false) }
  }
}
