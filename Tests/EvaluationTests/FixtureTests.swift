import Datasets
import Evaluation
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Tokenization
import Torch

/// The bundled trained model against PyTorch (`Tests/Goldens/make_fixture.py`), and the behaviour that pruning
/// stands on: importance beats chance.
@Suite(.serialized) struct FixtureTests {
  struct Encoder: TextEncoding {
    let tokenizer: Tokenizer
    func encode(_ text: String) throws -> [Int] { try tokenizer.encode(text, addSpecialTokens: false) }
    var eosTokenID: Int? { tokenizer.eosTokenID }
  }

  let examples = Golden.root + "/Examples"
  let expected: JSON
  let model: SourceModel
  let tokenizer: Tokenizer
  let executor: Executor

  init() throws {
    expected = try Golden.json(Golden.root + "/Tests/Goldens/fixture/expected.json")
    model = try SourceModel(directory: examples + "/model")
    tokenizer = try Tokenizer(directory: examples + "/model")
    executor = Executor(model, dtype: .float32)
  }

  func rows(_ count: Int, skipping: Int = 0) throws -> [[Int32]] {
    try CalibrationData(sources: [examples + "/data/calib.jsonl"])
      .pack(encoder: Encoder(tokenizer: tokenizer), seqLength: 192, count: count, skippingRows: skipping, seed: 1).rows
  }

  func importance(rows: [[Int32]], microBatch: Int = 1, packed: Bool = true) throws -> ImportanceScores {
    let observer = ImportanceObserver(model.description, microBatch: microBatch)
    let batches = TokenBatch.groups(rows, size: microBatch)
    try executor.observe(packed ? TokenBatch.packed(batches, tokens: 2048) : batches, observer: observer)
    return try observer.scores()
  }

  func questions(_ percent: Double = 100) throws -> MultipleChoice {
    let all = try MMLU.load(path: examples + "/data/mmlu/test.jsonl", split: "test")
    return try MultipleChoice(questions: MMLU.sample(all, percent: percent), tokenizer: tokenizer)
  }

  @Test func answersEqualPyTorchQuestionByQuestion() throws {
    let letters = try #require(expected["mmlu"]?["predictions"]?.string).map { String($0) }
    let wanted = try #require(expected["mmlu"]?["logits"]?.array).map { $0.array?.compactMap(\.double) ?? [] }
    let task = try questions()
    #expect(task.prompts.count == letters.count)
    var wrong: [Int] = []
    var worst = 0.0
    let predicted: (Int, Int, [Float]) throws -> Void = { _, question, four in
      let best = four.indices.max { (four[$0], $1) < (four[$1], $0) } ?? -1
      if ["A", "B", "C", "D"][best] != letters[question] { wrong.append(question) }
      let largest = wanted[question].map(abs).max() ?? 1
      for (found, value) in zip(four, wanted[question]) { worst = max(worst, abs(Double(found) - value) / largest) }
    }
    let scores = try task.score(
      executor, subjects: [Subject(Selection(all: model.description))], predicted: predicted)
    #expect(wrong.isEmpty)
    #expect(worst < 1e-4)
    let accuracy = try #require(expected["mmlu"]?["accuracy"]?["100"]?.double)
    #expect(abs(scores[0].mean - accuracy) < 1e-12)
    for percent in [5.0, 10.0] {
      let part = try questions(percent)
      let found = try part.score(executor, subjects: [Subject(Selection(all: model.description))])[0].mean
      #expect(abs(found - (expected["mmlu"]?["accuracy"]?[percent == 5 ? "5" : "10"]?.double ?? 0)) < 1e-12)
    }
  }

  @Test func importanceAndKeptSetsEqualPyTorch() throws {
    let rows = try rows(32)
    let firsts = try #require(expected["calibration"]?["first_tokens"]?.array)
    for (row, first) in zip(rows, firsts) { #expect(row.prefix(8).map(Int.init) == first.array?.compactMap(\.int)) }
    let scores = try importance(rows: rows)
    let wanted = try #require(expected["calibration"]?["importance"])
    func numbers(_ json: JSON?) -> [Float] { json?.array?.compactMap { $0.double.map(Float.init) } ?? [] }
    #expect(
      elementwiseDifference(try #require(scores.lists[.hiddenSize]?.everywhere), numbers(wanted["hidden_size"])) <= 1e-5
    )
    for hyperparameter in [Hyperparameter.ffnHiddenSize, .numAttentionHeads] {
      for (layer, list) in (scores.lists[hyperparameter]?.byLayer ?? []).enumerated() {
        #expect(
          elementwiseDifference(try #require(list), numbers(wanted[hyperparameter.rawValue]?.array?[layer])) <= 1e-5)
      }
    }
    // Sums of 32 rows in float32: their last digits are worth more than 1e-6, so relative here.
    for (size, name) in [(1, "num_layers.mb1"), (4, "num_layers.mb4")] {
      let found = try importance(rows: rows, microBatch: size).layers.map(Float.init)
      #expect(elementwiseDifference(found, numbers(wanted[name])) <= 1e-5)
    }
    let apart = try importance(rows: rows, packed: false)
    #expect(elementwiseDifference(apart.layers.map(Float.init), scores.layers.map(Float.init)) <= 1e-6)
    for pruning in expected["calibration"]?["prunings"]?.array ?? [] {
      let config = try ExportConfig(parsing: try #require(pruning["export_config"]))
      let selection = try scores.selection(for: config, of: model.description)
      let kept = try #require(pruning["kept"]?.array)
      switch try #require(config.entries.first).hyperparameter {
      case .numLayers: #expect(selection.layers.map { $0 + 1 } == kept.compactMap(\.int))
      case .hiddenSize: #expect(selection.cuts[.hidden]?.everywhere == kept.compactMap(\.int))
      case let other:
        let dimension = try #require(other.dimension)
        #expect(selection.cuts[dimension]?.byLayer == kept.map { $0.array?.compactMap(\.int) ?? [] })
      }
    }
  }

  @Test func lossAndDivergenceEqualPyTorch() throws {
    let task = try LanguageModeling(rows: rows(16, skipping: 32))
    let whole = Selection(all: model.description)
    let cut = Selection(layers: [0, 2, 4, 5, 6, 7])
    let losses = try task.negativeLoss(executor, subjects: [Subject(whole), Subject(cut)])
    let wanted = try #require(expected["evaluation"]?["loss"]?.double)
    let wantedCut = try #require(expected["without_layers_2_and_4"]?["loss"]?.double)
    #expect(abs(losses[0].mean + wanted) < 1e-5)
    #expect(abs(losses[1].mean + wantedCut) < 1e-5)
    let divergences = try task.negativeDivergence(executor, subjects: [Subject(whole), Subject(cut)], from: executor)
    let divergence = try #require(expected["without_layers_2_and_4"]?["kl"]?["predicted"]?.double)
    #expect(abs(divergences[0].mean) < 1e-6)
    #expect(abs(divergences[1].mean + divergence) < 1e-5)
  }

  /// The whole model walks along with its parts: what comes out is the same, in however many chunks.
  @Test func divergencesOfPartsAreThoseOfModelsApart() throws {
    // To the last bit, while all are computed by the same kernels.
    try WholeProcess.alone {
      let task = try LanguageModeling(rows: rows(4, skipping: 32))
      let layers = Array(model.description.layers.indices)
      let parts = layers.map { left in Selection(layers: layers.filter { $0 != left }) }
      let apart = try task.negativeDivergence(executor, subjects: parts.map { Subject($0) }, from: executor)
      for budget in [0, 1_500_000, .max] {
        let executor = Executor(model, dtype: .float32, budget: budget)
        var (last, total) = (0, 0)
        let found = try task.negativeDivergence(executor, ofParts: parts) { (last, total) = ($0, $1) }
        #expect(found == apart, "\(budget)")
        #expect(last == total && total > 0)
      }
      #expect(task.plan(Executor(model, dtype: .float32, budget: 1_500_000), ofParts: parts).passes > 1)
      #expect(apart.allSatisfy { $0.mean < -0.01 })
    }
  }

  @Test(arguments: [
    ExportConfig([(.numLayers, 6)]), ExportConfig([(.ffnHiddenSize, 256)]), ExportConfig([(.hiddenSize, 128)]),
    ExportConfig([(.numLayers, 6), (.ffnHiddenSize, 384), (.hiddenSize, 160)]),
  ])
  func importanceBeatsChance(_ config: ExportConfig) throws {
    let description = model.description
    let scores = try importance(rows: rows(32))
    var generator = SplitMix64(state: 20)
    let random = (0..<5).map { _ in
      var chance = scores
      chance.layers.shuffle(using: &generator)
      chance.lists[.hiddenSize] = chance.lists[.hiddenSize]?.map { list, _ in list.shuffled(using: &generator) }
      chance.lists[.ffnHiddenSize] = chance.lists[.ffnHiddenSize]?.map { list, _ in list.shuffled(using: &generator) }
      return chance
    }
    let subjects = try ([scores] + random).map { Subject(try $0.selection(for: config, of: description)) }
    // Document by document: over packed rows the loss hangs on what separates them, not on what the model knows.
    let documents = try String(contentsOfFile: examples + "/data/heldout.jsonl", encoding: .utf8).split(separator: "\n")
      .prefix(24).map { try JSON(parsing: String($0))["text"]?.string ?? "" }
    let text = try LanguageModeling(
      rows: documents.map { try tokenizer.encode($0, addSpecialTokens: false).map { Int32($0) } })
    let quick = Executor(model, dtype: Processor.multipliesBFloat16 ? .bfloat16 : .float32)
    for found in [
      try text.negativeLoss(quick, subjects: subjects),
      try text.negativeDivergence(quick, subjects: subjects, from: quick),
      try questions(5).score(quick, subjects: subjects),
    ] {
      let means = found.map(\.mean)
      // A draw may happen to be what importance chose (2 of 8 layers: one in 28), so the median is what must lose.
      #expect(means[0] > means.dropFirst().sorted()[2] + 0.02, "\(config): \(means)")
    }
  }

  @Test func theBatchSizeHintNeverChangesTheAnswer() throws {
    let percents = ["mmlu_10pct_bs1", "mmlu_10pct_bs32"].map { (ScoreFunctions.named($0) as? MMLUScore)?.percent }
    #expect(percents == [10, 10])
    let task = try questions(10)
    let whole = Selection(all: model.description)
    // A budget of nothing runs batch after batch: the same answers as all in one walk.
    let apart = try task.score(Executor(model, dtype: .float32, budget: 0), subjects: [Subject(whole)])
    #expect(apart == (try task.score(executor, subjects: [Subject(whole), Subject(whole)])).suffix(1))
  }

  @Test func fewShotPromptsHoldTheExamplesWithTheirNewline() throws {
    let examples = try MMLU.load(path: self.examples + "/data/mmlu", split: "dev")
    let all = try MMLU.load(path: self.examples + "/data/mmlu", split: "test")
    let task = try MultipleChoice(
      questions: Array(all.prefix(1)), examples: examples, fewShots: 2, tokenizer: tokenizer)
    let text = try tokenizer.decode(task.prompts[0].tokens.map(Int.init))
    #expect(text.hasSuffix("\nAnswer:"))
    #expect(text.matches(of: /\nAnswer: [ABCD]\n\n/).count == 2)
    #expect(throws: EvaluationError.self) {
      try MultipleChoice(questions: all, examples: examples, fewShots: 99, tokenizer: tokenizer)
    }
  }
}
