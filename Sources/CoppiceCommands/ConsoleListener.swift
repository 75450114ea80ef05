import Jobs
import Report
import Synchronization

/// Says on a console what happens in a run.
final class ConsoleListener: RunListener {
  private let console: Console
  /// Standard output is for the result as JSON alone.
  private let json: Bool
  private let meters = Mutex<[Int: ProgressMeter]>([:])

  init(_ console: Console, json: Bool) {
    self.console = console
    self.json = json
  }

  func receive(_ event: RunEvent) throws {
    switch event {
    case .note(let note): console.note(note.message.flagged)
    case .warning(let warning): console.warn(warning.message.flagged)
    case .began(let step):
      let meter = console.progress(step.label, total: step.total, unit: step.unit)
      meters.withLock { $0[step.id] = meter }
    case .advanced(let step, let done): meters.withLock { $0[step.id] }?.update(done)
    case .finished(let step, let deed): meters.withLock { $0.removeValue(forKey: step.id) }?.finish(saying: deed)
    case .dropped(let step): _ = meters.withLock { $0.removeValue(forKey: step.id) }
    case .searched(let search):
      if !json { console.note(search.spaceTable) }
    case .chosen(let search):
      let table = search.candidatesTable("Candidates, by \(search.scoring?.function ?? "")")
      if json { console.note(table) } else { try console.result(table) }
      for note in search.scoreNotes { console.note(note) }
    case .described, .scored: break
    }
  }
}

/// Does one thing when the model's config has been read.
final class DescribedListener: RunListener {
  private let action: @Sendable () throws -> Void

  init(_ action: @escaping @Sendable () throws -> Void) { self.action = action }

  func receive(_ event: RunEvent) throws {
    if case .described = event { try action() }
  }
}
