import Files
import JSON

/// A question with four answers to choose from.
public struct MultipleChoiceQuestion: Sendable, Equatable {
  /// As the data spells it, with underscores.
  public let subject: String
  public let question: String
  /// Four texts.
  public let choices: [String]
  /// The right one's index, 0 to 3.
  public let answer: Int
  /// The file and row it comes from, for messages; questions that differ in this alone are equal.
  public let place: String

  public init(subject: String, question: String, choices: [String], answer: Int, place: String = "") {
    self.subject = subject
    self.question = question
    self.choices = choices
    self.answer = answer
    self.place = place
  }

  public static func == (a: Self, b: Self) -> Bool {
    a.subject == b.subject && a.question == b.question && a.choices == b.choices && a.answer == b.answer
  }
}

/// MMLU (Hendrycks et al. 2021, arXiv 2009.03300), in the layout of `cais/mmlu` on the Hugging Face hub: columns
/// `question`, `subject`, `choices`, `answer`.
public enum MMLU {
  /// What is asked where nothing is named, on the hub.
  public static let defaultName = "cais/mmlu"

  /// The questions of a split, in the order of the data.
  ///
  /// - Parameters:
  ///   - path: a directory or a repository of the hub (`owner/name`) whose card has a configuration `all`, or that holds
  ///     `all/SPLIT-*.parquet`, `SPLIT-*.parquet`, `SPLIT.parquet` or the like, the first of these that is there; or one
  ///     file, which is the test split. Another split than `test` is then looked for beside it, under its name with `test`
  ///     replaced.
  ///   - split: `test`, `dev` or `validation`.
  ///   - places: where repositories of the hub are to be had; nil where none are.
  /// - Throws: `DatasetError` when there are none, or one is not as it should be; what `places` throws.
  public static func load(
    path: String, split: String = "test", places: (any DatasetPlaces)? = nil
  ) throws -> [MultipleChoiceQuestion] {
    try questions(files.files(path: path, split: split, places: places), path, split)
  }

  /// The same from a place whose files are known by a listing. Only those of the split are asked for.
  ///
  /// - Parameter config: nil stands for `all`.
  public static func load(
    place: any DatasetPlace, split: String = "test", config: String? = nil
  ) throws -> [MultipleChoiceQuestion] {
    try questions(files.files(place: place, split: split, config: config), place.name, split)
  }

  private static func questions(
    _ files: [DataFile], _ name: String, _ split: String
  ) throws -> [MultipleChoiceQuestion] {
    try self.files.read(files, columns: columns, wanted: wanted, name, split) { record in
      let next = try question(record)
      return (next, next.question.utf8.count + next.choices.reduce(0) { $0 + $1.utf8.count })
    }
  }

  /// Of each subject the first questions, as long as index < percent / 100 × the subject's count in double
  /// arithmetic; all in the order of the data.
  ///
  /// Source: `megatron_mmlu.py` in Model-Optimizer.
  public static func sample(_ questions: [MultipleChoiceQuestion], percent: Double) -> [MultipleChoiceQuestion] {
    let fraction = percent / 100
    // Subjects by their bytes, as Python compares.
    var counts: [JSON.Text: Int] = [:]
    for question in questions { counts[JSON.Text(question.subject), default: 0] += 1 }
    var seen: [JSON.Text: Int] = [:]
    return questions.filter { question in
      let subject = JSON.Text(question.subject)
      let index = seen[subject, default: 0]
      seen[subject] = index + 1
      return Double(index) < fraction * Double(counts[subject] ?? 0)
    }
  }

  private static let files = QuestionFiles(set: "MMLU", config: "all")
  private static let columns = ["question", "subject", "choices", "answer"]
  private static let wanted =
    "MMLU's layout has \"question\", \"subject\", \"choices\" (four texts) and \"answer\" (0 to 3)"

  private static func question(_ record: Record) throws -> MultipleChoiceQuestion {
    func wrong(_ column: String, _ found: String) -> DatasetError {
      DatasetError("\(record.place): \"\(column)\" \(found). \(wanted)")
    }
    func text(_ column: String) throws -> String {
      let value = try record.value(column)
      guard let text = value?.string else { throw wrong(column, value.map { "is \($0.kind)" } ?? "is missing") }
      return text
    }
    let (question, subject) = (try text("question"), try text("subject"))
    let list = try record.value("choices")
    guard let items = list?.array else { throw wrong("choices", list.map { "is \($0.kind), no list" } ?? "is missing") }
    let choices = try items.map { item in
      guard let text = item.string else { throw wrong("choices", "has \(item.kind) in it, which is no text") }
      return text
    }
    guard choices.count == 4 else { throw wrong("choices", "has \(choices.count) entries") }
    guard let value = try record.value("answer") else { throw wrong("answer", "is missing") }
    // Some copies of the data have letters.
    let letter = value.string.flatMap { ["A", "B", "C", "D"].firstIndex(of: $0) }
    guard let answer = value.int ?? letter ?? value.string.flatMap({ Int($0) }), (0..<4).contains(answer) else {
      throw wrong("answer", "is \(value.serialized().prefix(40))")
    }
    return MultipleChoiceQuestion(
      subject: subject, question: question, choices: choices, answer: answer, place: record.place)
  }
}
