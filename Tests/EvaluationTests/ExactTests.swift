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

/// Answers in numbers, against lm-evaluation-harness's filters and what `transformers` generates
/// (`Tests/Goldens/make_generation.py`).
@Suite(.serialized) struct ExactTests {
  private static let folder = Golden.root + "/Tests/Goldens/generation"

  private struct Sources: TaskSources {
    let tokenizer: Tokenizer
    var questions: String?
    var numberQuestions: String?
    var fewShots: Int?
    func stops() throws -> Set<Int> { [2045, 2047] }
    func chat(_ messages: JSON) throws -> String {
      (messages.array ?? []).map { "\($0["role"]?.string ?? ""): \($0["content"]?.string ?? "")|" }.joined()
    }
    func rows() throws -> (rows: [[Int32]], madeOf: [(name: String, value: String)]) {
      throw EvaluationError("no rows")
    }
  }

  private let model: SourceModel
  private let tokenizer: Tokenizer

  init() throws {
    model = try SourceModel(directory: Golden.root + "/Examples/model")
    tokenizer = try Tokenizer(directory: Golden.root + "/Examples/model")
  }

  private func task(
    _ count: Int? = nil, chat: Bool = false, path: String? = ExactTests.folder, shots: Int? = 2,
    maxNewTokens: Int = ExactTask.maxNewTokens
  ) throws -> ExactTask {
    try ExactTask(
      count: count, isChat: chat, maxNewTokens: maxNewTokens,
      Sources(tokenizer: tokenizer, numberQuestions: path, fewShots: shots))
  }

  @Test func numbersAreThoseOfTheHarness() throws {
    let golden = try Golden.json(Self.folder + "/numbers.json")
    let texts = try #require(golden["texts"]?.array)
    #expect(texts.count > 400)
    for one in texts {
      let text = one["text"]?.string ?? ""
      #expect(FinalNumber.ofText(text) == one["number"]?.string, "\(text)")
    }
    for one in try #require(golden["answers"]?.array) {
      #expect(FinalNumber.ofReference(one["answer"]?.string ?? "") == one["number"]?.string, "\(one)")
    }
    #expect(FinalNumber.ofReference(" 42\n") == "42")
    for wrong in ["", "Paris", "#### ", "#### four", "####42", "1-2", "-", ".", "1e5"] {
      #expect(FinalNumber.ofReference(wrong) == nil, "\(wrong)")
    }
  }

  @Test func namesAreRead() {
    #expect(ExactScore(name: "exact_200")?.count == 200 && ExactScore(name: "exact_200")?.isChat == false)
    #expect(ExactScore(name: "exact_7_chat")?.isChat == true)
    for wrong in [
      "exact", "exact_", "exact_0", "exact_-1", "exact_1.5", "exact_200_chats", "exact_99999999999999999999",
    ] {
      #expect(ExactScore(name: wrong) == nil)
    }
  }

  @Test func answersEqualTransformersAndTheHarness() throws {
    let expected = try #require(Golden.json(Self.folder + "/fixture.json").array)
    let task = try task()
    #expect(task.count == expected.count)
    var answers = [JSON](repeating: .null, count: task.count)
    let subjects = [Subject(Selection(all: model.description)), Subject(Selection(layers: Array(0..<6)))]
    let scores = try task.score(
      Executor(model, dtype: .float32), subjects: subjects, items: nil, partial: PartialScores(),
      progress: { _, _ in }, answered: { if $0 == 0 { answers[$1] = $2 } })
    for (item, wanted) in expected.enumerated() {
      #expect(answers[item]["text"] == wanted["text"], "\(item)")
      #expect(answers[item]["predicted"] == wanted["number"], "\(item)")
      #expect(scores[0].sums[item] == (wanted["right"] == .bool(true) ? 1 : 0), "\(item)")
    }
    #expect(scores[0].mean > 0.2 && scores[0].mean < 0.8 && scores[0].standardError > 0)
    // Some of the questions alone, and few at a time: the same answers.
    let some = [3, 20, 21, 53]
    let part = try task.score(
      Executor(model, dtype: .float32, budget: 30 << 20), subjects: [subjects[1]], items: some,
      partial: PartialScores(),
      progress: { #expect($0 <= $1) }, answered: { _, _, _ in })
    #expect(some.allSatisfy { part[0].sums[$0] == scores[1].sums[$0] } && part[0].count == 4)
  }

  private struct Killed: Error {}

  @Test func scoringThatIsEndedGoesOn() throws {
    let task = try task(24, maxNewTokens: 12)
    let subjects = [Subject(Selection(all: model.description)), Subject(Selection(layers: Array(0..<6)))]
    // Few questions at a time.
    let executor = Executor(model, dtype: .float32, budget: 24 << 20)
    let whole = try task.score(
      executor, subjects: subjects, items: nil, partial: PartialScores(), progress: { _, _ in },
      answered: { _, _, _ in })
    try withTemporaryDirectory { directory in
      let store = PruneStore(directory: directory + "/kept", fresh: false)
      var (ended, last, scores) = (0, 0, [ItemScores]())
      while scores.isEmpty, ended < 10 {
        let partial = PartialScores()
        let saved = store.scoringWalk(
          Fingerprint([("test", "exact")]), executor, interval: .zero, note: { #expect($0.contains("goes on")) },
          sums: { partial.sums }, restore: { try partial.restore($0) })
        partial.recorder = saved
        // Each time some more, so that in the end a step is done in which many answers end.
        var left = 10 * (ended + 1)
        last = 0
        do {
          scores = try task.score(
            executor, subjects: subjects, items: nil, partial: partial, progress: { _, _ in },
            answered: { _, _, _ in
              last += 1
              left -= 1
              if left < 0 { throw Killed() }
            })
          saved?.finish()
        } catch is Killed { ended += 1 }
      }
      #expect(scores == whole)
      // Those that were complete are not asked again.
      #expect(ended > 1 && last < 48)
    }
  }

  @Test func promptsAreThoseOfTheHarness() throws {
    let task = try task(1)
    let text = try tokenizer.decode(task.continuations.prompts[0].map { Int($0) }, skipSpecialTokens: false)
    let rows = try NumberQuestions.load(path: Self.folder, split: "train")
    #expect(
      text == rows.prefix(2).map { "Question: \($0.question)\nAnswer: \($0.answer)\n\n" }.joined()
        + "Question: \(task.questions[0].question)\nAnswer:")
    let chat = try self.task(1, chat: true)
    let turns = try tokenizer.decode(chat.continuations.prompts[0].map { Int($0) }, skipSpecialTokens: false)
    #expect(turns.hasPrefix("user: Question: \(rows[0].question)\nAnswer:|assistant: \(rows[0].answer)|user:"))
    #expect(task.madeOf.map(\.value) != chat.madeOf.map(\.value))
    // Another right answer is another score.
    let other = try self.task(1, shots: 1)
    #expect(task.madeOf.map(\.value) != other.madeOf.map(\.value))
  }

  @Test func questionsAreFoundOrRefused() throws {
    #expect(throws: EvaluationError.self) { try task(55) }
    #expect(throws: EvaluationError.self) { try task(shots: 7) }
    #expect(throws: EvaluationError.self) {
      try ExactScore(count: 3).task(Sources(tokenizer: tokenizer))
    }
    try withTemporaryDirectory { directory in
      func write(_ text: String) throws -> String {
        let path = directory + "/own.jsonl"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
      }
      let line = #"{"question": "How many?", "answer": "#
      // A file by itself: its first rows are the examples.
      let own = try write(line + "\"7\"}\n" + line + "8}\n" + line + "\"a\\n#### 9\"}\n")
      #expect(try task(path: own, shots: 2).questions.map(\.number) == ["9"])
      #expect(try task(path: own, shots: 0).questions.map(\.number) == ["7", "8", "9"])
      #expect(throws: EvaluationError.self) { try task(path: own, shots: 3) }
      for wrong in [
        line + "\"Paris\"}", line + "null}", line + "[1]}", line + "true}", #"{"question": "How many?"}"#,
        #"{"question": 5, "answer": "5"}"#, "[]", "{", "", #"{"answer": "5"}"#,
      ] {
        #expect(throws: (any Error).self, "\(wrong)") { try task(path: write(wrong), shots: 0) }
      }
    }
  }
}
