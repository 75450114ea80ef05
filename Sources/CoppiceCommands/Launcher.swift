import Jobs
import Ranks

/// The processes that do a run together.
enum Launcher {
  /// Those that a launcher such as `torchrun` has started, which have met when this returns; this process alone without one.
  static func world() throws -> World {
    guard let settings = try WorldSettings.found() else { return .alone }
    return try World(settings, version: coppiceVersion)
  }
}

/// A process whose console belongs to another one: what happens in it is not told.
struct Bystander: RunListener {
  func receive(_ event: RunEvent) {}
}
