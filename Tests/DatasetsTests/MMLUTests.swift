import Datasets
import Foundation
import Testing

@Suite struct MMLUTests {
  static let line = #"{"question": "q", "subject": "s_t", "choices": ["1", "2", "3", "4"], "answer": 2}"#
  static let question = MultipleChoiceQuestion(
    subject: "s_t", question: "q", choices: ["1", "2", "3", "4"], answer: 2)

  @Test func readsParquetAndLinesAlike() throws {
    let questions = try MMLU.load(path: data("mmlu.parquet"))
    #expect(questions.map(\.question) == ["q0", "q1", "q2"])
    #expect(questions.map(\.subject) == ["b_c", "a", "b_c"])
    #expect(questions.map(\.answer) == [0, 3, 1])
    #expect(questions[0].choices == ["1", "2", "3", "4"])
    let scratch = try Scratch()
    #expect(try MMLU.load(path: scratch.write("q.jsonl", Self.line + "\n")) == [Self.question])
    let letter = Self.line.replacingOccurrences(of: "\"answer\": 2", with: "\"answer\": \"C\"")
    #expect(try MMLU.load(path: scratch.write("q.jsonl", letter)) == [Self.question])
  }

  @Test func findsSplitsInEveryLayout() throws {
    let scratch = try Scratch()
    func line(_ question: String) -> String { Self.line.replacingOccurrences(of: "\"q\"", with: "\"\(question)\"") }
    func load(_ split: String) throws -> [String] { try MMLU.load(path: scratch.path, split: split).map(\.question) }
    #expect(throws: DatasetError.self) { try load("test") }
    try scratch.write("test.jsonl", line("flat"))
    try scratch.write("dev.jsonl", line("dev"))
    #expect(try load("test") == ["flat"] && load("dev") == ["dev"])
    // Beside a file that is named by itself.
    #expect(try MMLU.load(path: scratch.at("test.jsonl"), split: "dev").map(\.question) == ["dev"])
    #expect(throws: DatasetError.self) { try MMLU.load(path: scratch.at("dev.jsonl"), split: "dev") }
    try scratch.write("all/test-00001-of-00002.jsonl", line("2"))
    try scratch.write("all/test-00000-of-00002.jsonl", line("1"))
    #expect(try load("test") == ["1", "2"])
    #expect(message { _ = try load("validation") }.contains("holds no split \"validation\""))
  }

  @Test(arguments: [
    (#""answer": 2"#, #""answer": 4"#, "answer"), (#""answer": 2"#, #""answer": -1"#, "answer"),
    (#""answer": 2"#, #""answer": 1.5"#, "answer"), (#""answer": 2"#, #""answer": "E""#, "answer"),
    (#""answer": 2"#, #""answer": null"#, "answer"), (#""answer": 2"#, #""target": 2"#, "missing"),
    (#""answer": 2"#, #""answer": 99999999999999999999"#, "answer"), (#""3", "#, "", "3 entries"),
    (#""3", "#, #""3", "5", "#, "5 entries"), (#""3""#, "3", "no text"),
    (#"["1", "2", "3", "4"]"#, "\"ABCD\"", "no list"),
    (#""question": "q""#, #""question": null"#, "\"question\" is null"), (#""3""#, "null", "null in it"),
    (#"["1", "2", "3", "4"]"#, "null", "\"choices\" is null"), (#""answer": 2"#, #""answer": null"#, "is null"),
    (#""choices": "#, #""options": "#, "\"choices\" is missing"), (#""subject": "s_t""#, #""subject": 7"#, "a number"),
  ])
  func saysWhichQuestionIsWrong(part: String, instead: String, because: String) throws {
    let scratch = try Scratch()
    let path = try scratch.write(
      "test.jsonl", Self.line + "\n" + Self.line.replacingOccurrences(of: part, with: instead) + "\n")
    let said = message { _ = try MMLU.load(path: path) }
    #expect(said.contains("test.jsonl:2") && said.contains(because), "\(said)")
  }

  @Test func otherColumnsMayHoldAnything() throws {
    let scratch = try Scratch()
    let line = Self.line.dropFirst()
    for other in [#""id": NaN"#, #""meta": [[["\ud800"]]]"#, #""id": 1, "id": 1"#] {
      #expect(try MMLU.load(path: scratch.write("q.jsonl", "{\(other), \(line)\n")) == [Self.question])
    }
    #expect(try MMLU.load(path: scratch.at("q.jsonl"))[0].place.hasSuffix("q.jsonl:1"))
  }

  @Test func saysWhatIsWrongWithFiles() throws {
    let scratch = try Scratch()
    #expect(message { _ = try MMLU.load(path: data("mmlu-lacks.parquet")) }.contains("lacks \"answer\""))
    #expect(message { _ = try MMLU.load(path: data("mmlu-short.parquet")) }.contains("row 1: \"choices\" has 3"))
    #expect(message { _ = try MMLU.load(path: scratch.at("gone")) }.contains("there is no file"))
    #expect(message { _ = try MMLU.load(path: scratch.write("a.pdf", "")) }.contains("none of"))
    #expect(message { _ = try MMLU.load(path: scratch.write("a.jsonl", "")) }.contains("no question"))
  }

  @Test func samplesTheFirstOfEachSubject() {
    func questions(_ subject: String, _ count: Int) -> [MultipleChoiceQuestion] {
      (0..<count).map {
        MultipleChoiceQuestion(subject: subject, question: "\(subject)\($0)", choices: [], answer: 0)
      }
    }
    let all = questions("b", 10) + questions("a", 7) + questions("B", 1)
    func sampled(_ percent: Double) -> [String] { MMLU.sample(all, percent: percent).map(\.question) }
    // 0.1 × 10 is 1, and index 1 is not below it; 0.1 × 7 is 0.7, and index 0 is.
    #expect(sampled(10) == ["b0", "a0", "B0"])
    #expect(sampled(11) == ["b0", "b1", "a0", "B0"])
    #expect(sampled(100).count == 18)
    #expect(sampled(0).isEmpty && sampled(-5).isEmpty && sampled(.nan).isEmpty)
    #expect(sampled(1000).count == 18)
    // In double arithmetic 7 / 100 × 100 is above 7.
    #expect(MMLU.sample(questions("x", 100), percent: 7).count == 8)
  }
}
