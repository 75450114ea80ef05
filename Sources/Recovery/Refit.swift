public import JSON
public import Models
public import Torch

/// How the linear maps of a pruned model are made to give what the original's give.
public enum RefitMode: String, Sendable, CaseIterable, Codable {
  /// Not: weights are sliced.
  case none
  /// Each for itself, from the original's inputs: nothing of the pruned model is walked.
  case local
  /// One after another, each for what the refitted ones before it have made of its inputs.
  case sequential

  /// What it costs, in walks of the original over the same rows: measured (Docs/recover.md).
  public var walks: Double {
    switch self {
    case .none: 0
    case .local: 2
    case .sequential: 4
    }
  }
}

/// How many linear maps were refitted.
public struct RefitCounts: Codable, Sendable, Equatable {
  /// Those that are better on the tokens held back.
  public internal(set) var refitted = 0
  /// Those for which nothing better was found: sliced, as without a refit.
  public internal(set) var sliced = 0
  /// Those of routed experts that saw too few tokens to be solved: sliced.
  public internal(set) var starved = 0

  public init() {}

  public init?(_ json: JSON) {
    guard let refitted = json["refitted"]?.int, let sliced = json["sliced"]?.int else { return nil }
    (self.refitted, self.sliced, starved) = (refitted, sliced, json["starved"]?.int ?? 0)
  }

  public var json: JSON {
    .object(
      [("refitted", .int(refitted)), ("sliced", .int(sliced))] + (starved > 0 ? [("starved", .int(starved))] : []))
  }

  /// Maps in all.
  public var all: Int { refitted + sliced + starved }

  public static func + (a: RefitCounts, b: RefitCounts) -> RefitCounts {
    var sum = a
    sum.refitted += b.refitted
    sum.sliced += b.sliced
    sum.starved += b.starved
    return sum
  }
}

/// Where refitted weights are kept, layer by layer.
public protocol RefittedWeights: AnyObject {
  /// What was found for a layer; nil where it is not done yet.
  ///
  /// - Parameter layer: original, 0-based; nil for the weights outside the layers.
  func found(_ layer: Int?) throws -> (weights: [Weight: Tensor], counts: RefitCounts)?

  /// - Parameter weights: those that are not as they were sliced, in the types they are stored in.
  func keep(_ weights: [Weight: Tensor], layer: Int?, counts: RefitCounts) throws
}
