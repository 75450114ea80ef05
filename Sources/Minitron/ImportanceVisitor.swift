public import Execution
public import JSON
public import Models

/// Lets an observer of importance see every layer of a walk, which several processes may do together.
public final class ImportanceVisitor: SharedVisitor {
  public let importance: ImportanceObserver
  public let description: JSON

  /// - Parameters: as of `ImportanceObserver`.
  public init(
    _ model: ModelDescription, microBatch: Int = .max, expertChannels: ExpertChannels = .shared,
    basis: ResidualBasis = .channels
  ) {
    importance = ImportanceObserver(model, microBatch: microBatch, expertChannels: expertChannels, basis: basis)
    description = .object([
      ("visitor", .text(Self.name)), ("micro_batch", .int(microBatch)),
      ("expert_channels", .text(expertChannels.rawValue)), ("basis", .text(basis.rawValue)),
    ])
  }

  private static let name = "importance"

  /// What another process described; nil for another kind of visitor.
  public convenience init?(_ model: ModelDescription, describedAs json: JSON) {
    guard json["visitor"]?.string == Self.name, let microBatch = json["micro_batch"]?.int,
      let channels = json["expert_channels"]?.string.flatMap(ExpertChannels.init(rawValue:)),
      let basis = json["basis"]?.string.flatMap(ResidualBasis.init(rawValue:))
    else { return nil }
    self.init(model, microBatch: microBatch, expertChannels: channels, basis: basis)
  }

  public func observer(subject: Int, layer: Int) -> (any TapObserver)? { importance }

  public func findings() throws -> JSON { try importance.statistics().json }

  public func add(_ findings: JSON) throws {
    var statistics = try importance.statistics()
    try statistics.merge(ImportanceStatistics(parsing: findings))
    try importance.restore(statistics)
  }
}
