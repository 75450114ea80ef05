import Formatting
import Foundation

/// How far a long step has come, on standard error. On a terminal one line, redrawn at most ten times a second and
/// fitted to the width it has then, with rate and time left; elsewhere one line when the step ends; when quiet nothing.
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
      console.stream.show(line(after: time - started, columns: (console.errorWidth() ?? 80) - 1))
    }
  }

  /// The step has ended well: leaves one line that says what was done and how long it took.
  ///
  /// - Parameter deed: what was done, such as "scored 3 candidates"; nil to say how many units.
  public func finish(saying deed: String? = nil) {
    lock.withLock {
      if isFinished { return }
      isFinished = true
      if console.quiet { return }
      let seconds = now() - started
      console.stream.show(nil)
      if let deed {
        console.say("\(deed) in \(Format.elapsed(seconds))")
        return
      }
      var text = "\(label): \(Format.grouped(done)) \(unit) in \(Format.measured(seconds))"
      if let rate = rate(after: seconds) { text += " (\(Format.rate(rate, unit: unit)))" }
      console.say(text)
    }
  }

  private func rate(after seconds: Double) -> Double? {
    let fresh = Double(done) - Double(first)
    return seconds > 0 && fresh > 0 ? fresh / seconds : nil
  }

  /// The line in at most so many columns. Where room is short the bar gives way first, then the rate, the numbers and
  /// the end of the label; never the time left.
  private func line(after seconds: Double, columns: Int) -> String {
    // A first second is no measurement yet.
    let rate = seconds >= 1 ? rate(after: seconds) : nil
    let speed = rate.map { Format.rate($0, unit: unit) }
    guard let total, total > 0 else {
      let count = "\(Format.grouped(done)) \(unit)"
      return Self.first(of: [[label, count, speed], [label, count], [count]], within: columns)
    }
    let fraction = min(1, max(0, Double(done) / Double(total)))
    let percent = "\(Int(fraction * 100))%"
    let counts = "\(Format.grouped(done))/\(Format.grouped(total)) \(unit)"
    let left = rate.flatMap { rate in
      total > done ? Format.duration((Double(total) - Double(done)) / rate) + " left" : nil
    }
    func bar(_ cells: Int) -> String {
      let filled = Int(fraction * Double(cells))
      return String(repeating: "━", count: filled) + String(repeating: "╌", count: cells - filled) + " " + percent
    }
    let lines = stride(from: 20, through: 4, by: -1).map { [label, bar($0), counts, speed, left] }
    let tail = [percent, left].compactMap { $0 }.joined(separator: "  ")
    return Self.first(
      of: lines + [
        [label, percent, counts, speed, left], [label, percent, counts, left], [label, percent, left],
        [Width.truncate(label, to: columns - Width.of(tail) - 2), percent, left], [percent, left], [left ?? percent],
      ], within: columns)
  }

  private static func first(of lines: [[String?]], within columns: Int) -> String {
    let lines = lines.map { $0.compactMap { $0 }.filter { !$0.isEmpty }.joined(separator: "  ") }
    return lines.first { Width.of($0) <= columns } ?? Width.truncate(lines.last ?? "", to: columns)
  }
}
