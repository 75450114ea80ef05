import Evaluation
import Testing

@Suite struct ScoreTests {
  @Test func readsScoreFunctions() throws {
    #expect((ScoreFunctions.named("mmlu_10pct_bs1") as? MMLUScore)?.percent == 10)
    #expect((ScoreFunctions.named("mmlu_2.5pct_bs8") as? MMLUScore)?.percent == 2.5)
    #expect(ScoreFunctions.named("neg_loss") is NegativeLoss)
    #expect(ScoreFunctions.named("neg_kl") is NegativeDivergence)
    #expect(MMLUScore(percent: 10).name == "mmlu_10pct_bs1")
  }

  /// A score function of another package.
  private struct NoScore: ScoreFunction {
    static let form = "none"
    init?(name: String) {
      guard name == Self.form else { return nil }
    }
    func task(_ sources: any TaskSources) throws -> any ItemTask { throw EvaluationError("no items") }
  }

  @Test func functionsOfOtherPackagesAreFoundByName() {
    for _ in 0..<2 { ScoreFunctions.register(NoScore.self) }
    #expect(ScoreFunctions.named("none") is NoScore)
    #expect(ScoreFunctions.all.count { $0 == NoScore.self } == 1)
  }

  @Test(arguments: [
    "", "mmlu", "mmlu_0pct_bs1", "mmlu_101pct_bs1", "mmlu_10pct_bs0", "mmlu_-1pct_bs1", "mmlu_10pct", "loss",
  ])
  func refusesOthers(_ text: String) { #expect(ScoreFunctions.named(text) == nil) }

  @Test func standardErrorsAreThoseOfTheMean() {
    let even = ItemScores(sums: [1, 0, 1, 0], weights: [1, 1, 1, 1])
    #expect(even.mean == 0.5)
    // The standard deviation of the sample over the square root of its size.
    #expect(abs(even.standardError - (1.0 / 3).squareRoot() / 2) < 1e-12)
    #expect(even.pairedError(with: even) == 0)
    let weighted = ItemScores(sums: [2, 8], weights: [1, 4])
    #expect(weighted.mean == 2)
    #expect(weighted.standardError == 0)
  }
}
