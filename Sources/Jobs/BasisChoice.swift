import Execution
import Messages
import Minitron
import Models
import Torch

extension PruneRequest {
  /// What `hidden_size` is cut in. Where it keeps its size there is nothing to rotate: weights stay as they are.
  ///
  /// - Parameter pruned: what may get another value.
  /// - Throws: `RunError` for a model that cannot be rotated.
  func basis(for description: ModelDescription, pruned: [Hyperparameter], _ events: RunEvents) throws -> ResidualBasis {
    try checkBasis(for: description)
    guard basis == .rotated, !pruned.contains(.hiddenSize) else { return basis }
    try events.note(.basisUnused)
    return .channels
  }

  /// - Throws: `RunError` for a model whose residual stream cannot be rotated.
  func checkBasis(for description: ModelDescription) throws {
    guard basis == .rotated, let obstacle = description.rotationObstacle else { return }
    throw RunError(
      """
      \(parameter: "basis") rotated is not possible for a \(description.family) model: \(obstacle). Leave it out: hidden_size \
      is cut in channels then\(refit == .none ? "" : Message(", and \(parameter: "refit") \(refit.rawValue) is possible all the same"))
      """)
  }
}

extension PruneRun {
  /// The basis that calibration has found, with a short walk that measures what norms need in it.
  ///
  /// - Parameter rows: of calibration, in micro-batches.
  func rotation(_ observer: ImportanceObserver, rows: [TokenBatch]) throws -> Rotation {
    let description = model.description
    let principal = try observer.principalDirections()
    let norms = try NormConstants(description, principal)
    let batches = NormConstants.sample(of: rows)
    let whole = [Selection(all: description)]
    let progress = events.progress(
      "measuring the rotated basis", total: batches.reduce(0) { $0 + $1.tokenCount }, unit: "tokens")
    let work = Executor.work(batches, subjects: whole)
    try executor.walk(batches, subjects: whole.map { Subject($0) }, visitor: norms) { progress.update($0, of: work) }
    progress.finish()
    return Rotation(
      directions: principal.directions, shares: principal.shares, constants: try norms.constants(),
      headFactors: try RotatedWeights.headFactors(model, principal))
  }
}

extension ModelDescription {
  /// Operations that second moments of the residual stream take for so many tokens: half a product at every norm.
  func momentOperations(tokens: Int) -> Double {
    let (hidden, norms) = (Double(sizes[.hidden]), layers.reduce(1) { $0 + $1.sublayers.count })
    return hidden * hidden * Double(norms) * Double(tokens)
  }
}

/// What becomes of the modules of a checkpoint that predict further tokens.
public enum PredictionChoice: String, Codable, Sendable, CaseIterable {
  /// Left out, as in the reference.
  case drop
  /// Kept, so that the pruned model can draft for itself; `hidden_size` and `num_layers` alone can be cut then.
  case keep
}
