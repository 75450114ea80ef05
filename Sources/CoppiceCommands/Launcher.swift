import ArgumentParser
import Files
import Formatting
import Foundation
import Jobs
import Messages
import Ranks
import Torch

/// The processes that a command runs in: those that a launcher has started, those that it starts itself, or this one alone.
struct Launcher {
  /// What this process is among them.
  enum Role {
    case alone
    case rank(WorldSettings)
    /// It starts so many of itself, and shows what they say.
    case starter(Int)
  }

  /// Pipeline stages: the ranks are these times replicas.
  let stages: Int
  let role: Role

  /// - Parameters:
  ///   - processes: `--nproc`, where it was given.
  ///   - stages: `--pp_size`.
  /// - Throws: `ValidationError` where the numbers do not fit; `RankError`, environment.
  init(processes: Int?, stages: Int, environment: Environment = .process) throws {
    self.stages = stages
    if let settings = try WorldSettings.found(in: environment) {
      try Self.check(settings, processes: processes, stages: stages, environment)
      role = .rank(settings)
      return
    }
    let count = processes ?? stages
    guard count % stages == 0 else {
      throw ValidationError(
        "--nproc \(count) is no multiple of --pp_size \(stages): processes are stages times replicas. "
          + "Choose --nproc \(max(1, count / stages) * stages), or leave --nproc out for one replica")
    }
    guard count <= 4096 else { throw ValidationError("--nproc \(count) is more than one machine can run") }
    role = count > 1 ? .starter(count) : .alone
  }

  private static func check(
    _ settings: WorldSettings, processes: Int?, stages: Int, _ environment: Environment
  ) throws {
    let who = settings.source.rawValue
    if settings.source == .own {
      guard environment[WorldSettings.Own.parent].flatMap({ Int32($0) }) == getppid() else {
        throw RankError(
          .environment, "\(WorldSettings.Own.rank) is set, which coppice sets for processes that it starts: unset it")
      }
    } else if let processes, processes != settings.size {
      throw ValidationError(
        "--nproc \(processes) contradicts \(who), which has started \(settings.size) processes: leave --nproc out")
    }
    guard settings.size % stages == 0 else {
      throw ValidationError(
        "\(who) has started \(settings.size) processes, which is no multiple of --pp_size \(stages): processes are stages "
          + "times replicas")
    }
  }

  /// Whether arguments may ask for several processes that this one would start: then it does not compute itself.
  static func mayStart(_ words: [String], _ environment: Environment = .process) -> Bool {
    environment[WorldSettings.Own.rank] == nil
      && words.contains { $0.hasPrefix("--nproc") || $0.hasPrefix("--pp_size") || $0.hasPrefix("--pp-size") }
  }

  /// Processes of the run.
  var count: Int {
    switch role {
    case .alone: 1
    case .starter(let count): count
    case .rank(let settings): settings.size
    }
  }

  /// Whether this process is the first of them, or the one that would start them.
  var isFirst: Bool { if case .rank(let settings) = role { settings.rank == 0 } else { true } }

  /// Does a command's work in all its processes.
  ///
  /// - Parameter body: the work of this one.
  /// - Throws: what `body` throws, after the others were told; `RankError`.
  func run(_ body: (World) throws -> Void) throws {
    switch role {
    case .alone: try body(.alone)
    case .starter(let count): try RankProcesses(count).run()
    case .rank(let settings):
      if settings.source == .own { endWithParent(getppid()) }
      let world = try World(settings, version: coppiceVersion)
      do {
        try Self.shareThreads(of: world)
        let arguments = Arguments.printable(CommandLine.arguments.dropFirst())
        try world.agree(on: [("the command line", arguments)])
        try body(world)
        try world.leave()
      } catch {
        world.fail("\(flagged(error))")
        throw error
      }
    }
  }

  /// Ranks of one machine that may all use all of it use a part each.
  private static func shareThreads(of world: World) throws {
    guard world.localSize > 1, Environment.process["OMP_NUM_THREADS"] == nil else { return }
    let allowed = ProcessInfo.processInfo.activeProcessorCount
    // Fewer were given to this process already.
    guard allowed == ProcessInfo.processInfo.processorCount else { return }
    try LibTorch.setThreads(max(1, allowed / world.localSize))
  }
}

/// A process whose console belongs to another one: what happens in it is not told.
struct Bystander: RunListener {
  func receive(_ event: RunEvent) {}
}

extension Arguments {
  /// Words as they could be typed.
  static func printable(_ words: some Sequence<String>) -> String { words.map(Shell.quoted).joined(separator: " ") }
}
