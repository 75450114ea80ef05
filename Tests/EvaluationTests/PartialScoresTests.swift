import Evaluation
import Execution
import Foundation
import Minitron
import Models
import TestSupport
import Testing

/// Scoring that is ended in the middle goes on there, with the same scores.
@Suite struct PartialScoresTests {
  private struct Killed: Error {}

  /// Runs `score` with a walk that is saved after every batch, again and again until it is not ended.
  ///
  /// - Returns: the scores, and how often it was ended.
  private func attempts(
    _ executor: Executor, _ score: (PartialScores) throws -> [ItemScores]
  ) throws -> (scores: [ItemScores], ended: Int) {
    try withTemporaryDirectory { directory in
      let store = PruneStore(directory: directory + "/kept", fresh: false)
      var ended = 0
      while true {
        let partial = PartialScores()
        var notes: [String] = []
        let saved = store.scoringWalk(
          Fingerprint([("test", "scores")]), executor, interval: .zero, note: { notes.append($0) },
          sums: { partial.sums }, restore: { try partial.restore($0) })
        partial.recorder = saved
        do {
          let scores = try score(partial)
          saved?.finish()
          #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/kept").isEmpty)
          return (scores, ended)
        } catch is Killed { ended += 1 }
        #expect(notes.allSatisfy { $0.contains("goes on") } && (ended == 1) == notes.isEmpty)
        if ended > 50 { throw Killed() }
      }
    }
  }

  @Test func questionsAreAskedOnce() throws {
    let fixture = try FixtureTests()
    let task = try fixture.questions(5)
    let count = fixture.model.description.layers.count
    let subjects = [
      Subject(Selection(all: fixture.model.description)), Subject(Selection(layers: Array(0..<count - 1))),
    ]
    let expected = try task.score(fixture.executor, subjects: subjects)
    // In so little memory that there are several chunks.
    let executor = Executor(fixture.model, dtype: .float32, budget: 200_000)
    var (asked, tries) = (0, 0)
    let (scores, ended) = try attempts(executor) { partial in
      // Each time some more, so that in the end a whole chunk is asked.
      tries += 1
      var left = 5 * tries
      let answered: (Int, Int, [Float]) throws -> Void = { _, _, _ in
        asked += 1
        left -= 1
        if left < 0 { throw Killed() }
      }
      return try task.score(executor, subjects: subjects, partial: partial, predicted: answered)
    }
    #expect(scores == expected && ended > 0)
    #expect(tries == ended + 1 && asked < tries * 2 * task.prompts.count)
  }

  @Test func lossesAreComputedOnce() throws {
    let fixture = try FixtureTests()
    let rows = try LanguageModeling(rows: fixture.rows(6))
    let subjects = [Subject(Selection(all: fixture.model.description))]
    let executor = Executor(fixture.model, dtype: .float32, budget: 192 * 192 * 4 * 2)
    let parts = [Selection(layers: [0, 1, 2, 3, 4, 5, 7]), Selection(layers: Array(1..<8))]
    for kind in ["loss", "divergence", "divergence of parts"] {
      func score(_ partial: PartialScores, _ progress: (Int, Int) -> Void) throws -> [ItemScores] {
        switch kind {
        case "loss": try rows.negativeLoss(executor, subjects: subjects, partial: partial, progress: progress)
        case "divergence":
          try rows.negativeDivergence(
            executor, subjects: subjects, from: fixture.executor, partial: partial, progress: progress)
        default: try rows.negativeDivergence(executor, ofParts: parts, partial: partial, progress: progress)
        }
      }
      let expected = try score(PartialScores()) { _, _ in }
      var starts: [Int] = []
      let (scores, _) = try attempts(executor) { partial in
        var first: Int?
        let found = try score(partial) { done, _ in first = first ?? done }
        starts.append(first ?? -1)
        if starts.count < 2 { throw Killed() }
        return found
      }
      // The second time nothing but the last chunk's end was left.
      #expect(scores == expected && starts[1] > starts[0], "\(kind)")
    }
  }
}
