import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// A calibration that is ended anywhere goes on there, with the same bytes as one that was never disturbed.
@Suite struct KeptWalkTests {
  private struct Killed: Error {}

  private let fingerprint = Fingerprint([("model", "golden")])

  private func model(_ name: String) throws -> SourceModel {
    try SourceModel(directory: Golden.root + "/Tests/Goldens/" + name)
  }

  private func files(_ directory: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
  }

  /// One attempt, which saves after each batch and is given up after so many of them.
  ///
  /// - Returns: the scores, or nil; and what was noted.
  private func attempt(
    _ model: SourceModel, in directory: String?, dying after: Int = .max, budget: Int = 1 << 30,
    bands: BandRule = .automatic, interval: Duration = .zero, fingerprint: Fingerprint? = nil
  ) throws -> (scores: ImportanceScores?, notes: [String]) {
    let store = PruneStore(directory: directory, fresh: false)
    let observer = ImportanceObserver(model.description, microBatch: 1)
    let batches = TokenBatch.groups(StatisticsTests.rows(model, 6, 16), size: 1)
    let executor = Executor(model, dtype: .float32, budget: budget, bands: bands)
    var notes: [String] = []
    let walk = store.calibrationWalk(
      fingerprint ?? self.fingerprint, executor, observer, interval: interval, note: { notes.append($0) })
    let visitor = Dying(observer, after: after)
    do {
      try executor.walk(
        batches, subjects: [Subject(Selection(all: model.description))], visitor: visitor, recorder: walk)
    } catch is Killed { return (nil, notes) }
    let scores = try observer.scores()
    walk?.finish()
    return (scores, notes)
  }

  /// Gives up after so many layers of batches.
  private final class Dying: WalkVisitor, TapObserver {
    private let other: ImportanceObserver
    private var left: Int

    init(_ other: ImportanceObserver, after count: Int) {
      self.other = other
      left = count
    }

    func observer(subject: Int, layer: Int) -> (any TapObserver)? { self }
    func observe(_ tap: Tap, layer: Int, _ sums: ChannelSums) throws { try other.observe(tap, layer: layer, sums) }
    func observeExperts(layer: Int, _ sums: ExpertSums) throws { try other.observeExperts(layer: layer, sums) }
    func observeLayer(_ layer: Int, input: Tensor, output: Tensor, lengths: [Int]) throws {
      // In the middle of a batch: some of it was seen already.
      left -= 1
      if left < 0 { throw Killed() }
      try other.observeLayer(layer, input: input, output: output, lengths: lengths)
    }
  }

  @Test(arguments: StatisticsTests.names) func attemptsThatAreEndedAddUp(_ name: String) throws {
    let model = try model(name)
    let expected = try #require(try attempt(model, in: nil).scores)
    // In one chunk, in several, with states on disk, and in bands: another division than before the end.
    for budgets in [[1 << 30], [2000], [1 << 30, 9000, 500]] {
      for bands in [BandRule.layers(1), .layers(2), .layers(100)] {
        try withTemporaryDirectory { directory in
          let kept = directory + "/kept"
          var found: ImportanceScores?
          var tries = 0
          while found == nil, tries < 200 {
            let budget = budgets[tries % budgets.count]
            found = try attempt(model, in: kept, dying: 3 + tries % 5, budget: budget, bands: bands).scores
            tries += 1
          }
          #expect(found == expected, "\(bands), \(budgets)")
          #expect(tries > 2)
          #expect(try files(kept).isEmpty)
        }
      }
    }
  }

  @Test func shortWalksWriteNothing() throws {
    let model = try model("dense/llama2")
    try withTemporaryDirectory { directory in
      let kept = directory + "/kept"
      let whole = try attempt(model, in: kept, interval: KeptWalk.interval)
      let ended = try attempt(model, in: kept, dying: 4, interval: KeptWalk.interval)
      #expect(whole.scores != nil && ended.scores == nil)
      #expect(!FileManager.default.fileExists(atPath: directory + "/kept"))
    }
  }

  @Test func damagedAndForeignCheckpointsAreNotUsed() throws {
    let model = try model("dense/llama2")
    let expected = try attempt(model, in: nil).scores
    try withTemporaryDirectory { directory in
      let kept = directory + "/kept"
      // Always the same checkpoint: nothing is left before it.
      func leave() throws -> [String] {
        _ = try attempt(model, in: kept)
        #expect(try attempt(model, in: kept, dying: 8).scores == nil)
        return try files(kept)
      }
      let names = try leave()
      #expect(names.contains("walk-importance.json") && names.filter { $0.hasSuffix(".state") }.count == 6)
      #expect(names.count == 7)
      // What is left is used up: each round begins anew, and ends at the same place.
      #expect(try attempt(model, in: kept).scores == expected)
      for name in names {
        _ = try leave()
        let url = URL(fileURLWithPath: kept + "/" + name)
        var data = try Data(contentsOf: url)
        data[data.count / 2] ^= 1
        try data.write(to: url)
        let again = try attempt(model, in: kept)
        #expect(again.scores == expected && again.notes.count == 1 && again.notes[0].contains("begins again"))
        #expect(try files(kept).isEmpty)
      }
      _ = try leave()
      let other = try attempt(model, in: kept, fingerprint: Fingerprint([("model", "another")]))
      #expect(other.scores == expected && other.notes.count == 1 && other.notes[0].contains("something else"))
      // A state that is gone, and files of a process that was killed while it wrote.
      _ = try leave()
      try FileManager.default.removeItem(atPath: kept + "/" + names[1])
      #expect(try attempt(model, in: kept).scores == expected)
      for name in ["walk-importance-0-1-0.state", ".walk-importance-0-1-1.state.partial-1-0", "walk-importance.lock"] {
        try Data([1]).write(to: URL(fileURLWithPath: kept + "/" + name))
      }
      #expect(try attempt(model, in: kept, dying: 2).scores == nil)
      #expect(try attempt(model, in: kept).scores == expected)
      #expect(try files(kept).isEmpty)
    }
  }

  @Test func goingOnIsSaid() throws {
    let model = try model("dense/llama2")
    try withTemporaryDirectory { directory in
      #expect(try attempt(model, in: directory, dying: 9).scores == nil)
      let again = try attempt(model, in: directory)
      #expect(again.notes.count == 1 && again.notes[0].contains("goes on"))
    }
  }
}
