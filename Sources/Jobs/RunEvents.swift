import Synchronization

/// Watches a run: a console, a file, a page.
public protocol RunListener: Sendable {
  /// Told of every event, on the thread that the run is on.
  ///
  /// - Throws: to end the run: the error is what the run ends with, at the latest when its present walk is over.
  func receive(_ event: RunEvent) throws
}

/// The listeners of a run.
public final class RunEvents: Sendable {
  private let listeners: [any RunListener]
  /// The number of the next step, and an error of a listener where it could not be thrown.
  private let state = Mutex<(next: Int, failure: (any Error)?)>((0, nil))

  public init(_ listeners: [any RunListener] = []) { self.listeners = listeners }

  /// - Throws: what a listener throws, now or at an event that could not throw.
  func send(_ event: RunEvent) throws {
    if let failure = state.withLock({ $0.failure }) { throw failure }
    for listener in listeners { try listener.receive(event) }
  }

  func note(_ note: RunNote) throws { try send(.note(note)) }
  func warn(_ warning: RunWarning) throws { try send(.warning(warning)) }

  /// Sends from where nothing can be thrown: an error is thrown by the next `send`.
  func post(_ event: RunEvent) {
    do { for listener in listeners { try listener.receive(event) } } catch {
      state.withLock { if $0.failure == nil { $0.failure = error } }
    }
  }

  /// Begins a step. It is dropped when the progress goes without having been finished.
  func progress(_ label: String, total: Int?, unit: String) -> RunProgress {
    let id = state.withLock { state in
      state.next += 1
      return state.next
    }
    return RunProgress(RunStep(id: id, label: label, total: total, unit: unit), self)
  }
}

/// How far a step has come.
final class RunProgress {
  private let step: RunStep
  private let events: RunEvents
  private var isFinished = false

  fileprivate init(_ step: RunStep, _ events: RunEvents) {
    self.step = step
    self.events = events
    events.post(.began(step))
  }

  deinit {
    if !isFinished { events.post(.dropped(step)) }
  }

  func update(_ done: Int) { events.post(.advanced(step, done: done)) }

  /// `part` of `whole` is done, whatever those count.
  func update(_ part: Int, of whole: Int) {
    update(Int(Double(step.total ?? 0) * Double(part) / Double(max(whole, 1))))
  }

  /// - Parameter deed: what was done, such as "scored 3 candidates"; nil to say how many units.
  func finish(saying deed: String? = nil) {
    if isFinished { return }
    isFinished = true
    events.post(.finished(step, deed: deed))
  }
}
