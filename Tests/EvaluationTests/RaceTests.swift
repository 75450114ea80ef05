import Evaluation
import Execution
import Foundation
import Minitron
import Models
import TestSupport
import Testing
import Torch

@Suite struct RaceTests {
  /// Runs a race over known answers: the winner, and how many answers were looked at.
  private func run(_ answers: [[Double]], seed: UInt64) -> (winner: Int, asked: Int, certainty: Double) {
    let count = answers[0].count
    var race = Race(items: count, candidates: answers.count, seed: seed)
    let zeros = [Double](repeating: 0, count: count)
    var scores = answers.map { _ in ItemScores(sums: zeros, weights: zeros) }
    var asked = 0
    for (number, items) in race.rounds.enumerated() where !race.isOver(afterRounds: number) {
      for candidate in race.survivors {
        for item in items {
          (scores[candidate].sums[item], scores[candidate].weights[item]) = (answers[candidate][item], 1)
        }
        asked += items.count
      }
      race.judge(scores)
    }
    let winner = race.leader(scores)
    return (winner, asked, race.certainty(of: winner, scores))
  }

  /// Whether a winner is within one standard error of the full evaluation's best.
  private func isGood(_ winner: Int, _ answers: [[Double]]) -> Bool {
    let full = answers.map { ItemScores(sums: $0, weights: $0.map { _ in 1 }) }
    guard let best = full.max(by: { $0.mean < $1.mean }) else { return false }
    return best.mean - full[winner].mean <= best.standardError
  }

  @Test func roundsHoldEveryItemOnce() {
    for items in [1, 2, 5, 64, 180, 996, 14_042] {
      let rounds = Race(items: items, candidates: 3, seed: 9).rounds
      #expect(rounds.joined().sorted() == Array(0..<items))
      #expect(rounds.allSatisfy { !$0.isEmpty } && rounds.count < 24)
      #expect(rounds == Race(items: items, candidates: 3, seed: 9).rounds)
    }
  }

  @Test func whoIsFarBehindIsOutEarlyAndTheBestWins() {
    var generator = SplitMix64(state: 4)
    let chances = [0.3, 0.9, 0.5, 0.7, 0.25]
    let answers = chances.map { chance in
      (0..<1000).map { _ in Double.random(in: 0..<1, using: &generator) < chance ? 1.0 : 0 }
    }
    let (winner, asked, certainty) = run(answers, seed: 1)
    #expect(winner == 1)
    #expect(asked < 1000)
    #expect(certainty > 0.95)
  }

  @Test func equalAnswersEndInTheFirst() {
    let answers = Array(repeating: (0..<500).map { Double($0 % 2) }, count: 4)
    #expect(run(answers, seed: 2).winner == 0)
    #expect(run(Array(repeating: [Double](repeating: 0, count: 100), count: 3), seed: 2).winner == 0)
    #expect(run([[1, 0, 1]], seed: 0).winner == 0)
  }

  /// Coins without any difference but chance are the hardest case; and candidates that answer alike.
  @Test(arguments: [0.0, 0.5, 0.9]) func winnersAreWithinAStandardErrorOfTheBest(_ alike: Double) {
    var generator = SplitMix64(state: 11)
    var good = 0
    for draw in 0..<200 {
      let common = (0..<600).map { _ in Double.random(in: 0..<1, using: &generator) }
      let answers = (0..<10).map { candidate in
        common.map { shared in
          let own =
            Double.random(in: 0..<1, using: &generator) < alike
            ? shared : Double.random(in: 0..<1, using: &generator)
          return own < 0.5 + 0.01 * Double(candidate % 4) ? 1.0 : 0
        }
      }
      if isGood(run(answers, seed: UInt64(draw)).winner, answers) { good += 1 }
    }
    #expect(good >= 190, "\(good) of 200")
  }

  /// The bundled model's candidates, over question sets drawn again and again from its 1,800 questions.
  @Test func onTheFixtureRacingFindsWhatTheFullEvaluationFinds() throws {
    let fixture = try FixtureTests()
    let description = fixture.model.description
    let importance = try fixture.importance(rows: fixture.rows(32))
    let quick = Executor(fixture.model, dtype: Processor.multipliesBFloat16 ? .bfloat16 : .float32)
    let task = try fixture.questions()
    var settings = SearchSettings()
    settings.channelDivisor = 32
    for target in [3.0e6, 3.6e6] {
      let found = try SearchSpace(description, settings)
        .search(description, settings, Constraints(params: target), layerRanking: importance.layerRanking)
      let subjects = try found.candidates.map { Subject(try importance.selection(for: $0.config, of: description)) }
      #expect(subjects.count == 10)
      let answers = try task.score(quick, subjects: subjects).map(\.sums)
      var generator = SplitMix64(state: 5)
      var (good, asked) = (0, 0)
      for draw in 0..<100 {
        let drawn = (0..<1800).map { _ in Int.random(in: 0..<1800, using: &generator) }
        let sample = answers.map { row in drawn.map { row[$0] } }
        let result = run(sample, seed: UInt64(draw))
        asked += result.asked
        if isGood(result.winner, sample) { good += 1 }
      }
      print("target \(target): \(good) of 100 within a standard error, \(asked / 18_000)% of the answers looked at")
      #expect(good >= 95)
      #expect(asked < 100 * 18_000 / 2)
    }
  }
}
