import Foundation

/// How far a long step has come, on standard error. On a terminal one line, redrawn at most ten times a second,
/// with rate and time left; elsewhere one line when the step ends; when quiet nothing.
///
/// (Not `Progress`: that name is Foundation's.) May be updated from any thread. Unchecked: `lock` guards what changes.
public final class ProgressMeter: @unchecked Sendable {
  private let label: String
  private let total: Int?
  private let unit: String
  private let console: Console
  private let now: @Sendable () -> Double
  private let started: Double
  private let first: Int

  private let lock = NSLock()
  private var done: Int
  private var drawn = -Double.infinity
  private var isFinished = false

  /// - Parameters:
  ///   - label: what is being done: "Calibrating".
  ///   - total: units of work in the whole step, where known.
  ///   - unit: what is counted, in the plural: "tokens", "rows".
  ///   - startingAt: units already done by an earlier, interrupted run: they count as done, not towards the rate.
  public convenience init(label: String, total: Int?, unit: String, startingAt: Int = 0, console: Console) {
    self.init(
      label: label, total: total, unit: unit, startingAt: startingAt, console: console,
      now: { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 })
  }

  /// Progress by another clock, in seconds.
  package init(
    label: String, total: Int?, unit: String, startingAt: Int = 0, console: Console,
    now: @escaping @Sendable () -> Double
  ) {
    self.label = Width.printable(label)
    self.total = total
    self.unit = unit
    self.console = console
    self.now = now
    first = startingAt
    done = startingAt
    started = now()
  }

  /// A step left by an error takes its line with it.
  deinit {
    if !isFinished, drawn > -.infinity { console.stream.show(nil) }
  }

  /// `done` units of the whole step are done. Cheap enough to be called for every unit.
  public func update(_ done: Int) {
    lock.withLock {
      self.done = done
      if isFinished || console.quiet || !console.error.isTTY { return }
      let time = now()
      if time - drawn < 0.1 { return }
      drawn = time
      console.stream.show(Width.truncate(line(after: time - started), to: (console.error.width ?? 80) - 1))
    }
  }

  /// The step has ended well: leaves one line that says what was done and how long it took.
  public func finish() {
    lock.withLock {
      if isFinished { return }
      isFinished = true
      if console.quiet { return }
      let seconds = now() - started
      console.stream.show(nil)
      var text = "\(label): \(Format.grouped(done)) \(unit) in \(Format.measured(seconds))"
      if let rate = rate(after: seconds) { text += " (\(Format.rate(rate, unit: unit)))" }
      console.stream.say(text + "\n")
    }
  }

  private func rate(after seconds: Double) -> Double? {
    let fresh = Double(done) - Double(first)
    return seconds > 0 && fresh > 0 ? fresh / seconds : nil
  }

  private func line(after seconds: Double) -> String {
    var parts: [String] = []
    if let total, total > 0 {
      let fraction = min(1, max(0, Double(done) / Double(total)))
      // Where room is short the bar gives way, not the time left.
      let cells = (console.error.width ?? 80) < 80 ? 6 : 20
      let filled = Int(fraction * Double(cells))
      let bar = String(repeating: "━", count: filled) + String(repeating: "╌", count: cells - filled)
      parts = ["\(label)  \(bar) \(Int(fraction * 100))%", "\(Format.grouped(done))/\(Format.grouped(total)) \(unit)"]
    } else {
      parts = ["\(label)  \(Format.grouped(done)) \(unit)"]
    }
    // A first second is no measurement yet.
    if seconds >= 1, let rate = rate(after: seconds) {
      parts.append(Format.rate(rate, unit: unit))
      if let total, total > done { parts.append(Format.duration((Double(total) - Double(done)) / rate) + " left") }
    }
    return parts.joined(separator: "  ")
  }
}
