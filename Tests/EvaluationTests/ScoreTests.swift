import Evaluation
import Testing

@Suite struct ScoreTests {
  @Test func readsScoreFunctions() {
    #expect(ScoreFunction(parsing: "mmlu_10pct_bs1") == .mmlu(percent: 10, batchSize: 1))
    #expect(ScoreFunction(parsing: "mmlu_2.5pct_bs8") == .mmlu(percent: 2.5, batchSize: 8))
    #expect(ScoreFunction(parsing: "neg_loss") == .negLoss)
    #expect(ScoreFunction(parsing: "neg_kl") == .negKL)
  }

  @Test(arguments: [
    "", "mmlu", "mmlu_0pct_bs1", "mmlu_101pct_bs1", "mmlu_10pct_bs0", "mmlu_-1pct_bs1", "mmlu_10pct", "loss",
  ])
  func refusesOthers(_ text: String) { #expect(ScoreFunction(parsing: text) == nil) }

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
