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
  /// The questions of a split, in the order of the data.
  ///
  /// - Parameters:
  ///   - path: a directory that holds `all/SPLIT-*.parquet`, `SPLIT-*.parquet`, `SPLIT.parquet` or `SPLIT.jsonl`, the
  ///     first of these that is there; or one `.parquet` or `.jsonl` file, which is the test split. Another split
  ///     than `test` is then looked for beside it, under its name with `test` replaced.
  ///   - split: `test`, `dev` or `validation`.
  /// - Throws: `DatasetError` when there are none, or one is not as it should be.
  public static func load(path: String, split: String = "test") throws -> [MultipleChoiceQuestion] {
    var questions: [MultipleChoiceQuestion] = []
    var bytes = 0
    for file in try files(path, split) {
      let records = try openRecords(file, columns: columns)
      if let parquet = records as? ParquetRecords {
        let missing = columns.filter { !parquet.columns.contains($0) }
        guard missing.isEmpty else {
          throw DatasetError("\(file) lacks \(list(missing)); it has \(list(parquet.columns)). \(wanted)")
        }
      }
      while let record = try records.next() {
        let next = try question(record)
        bytes += next.question.utf8.count + next.choices.reduce(0) { $0 + $1.utf8.count }
        // A small file can stand for rows without end.
        guard questions.count < maximumQuestions, bytes <= maximumBytes else {
          throw DatasetError("\(record.place): more questions than any published set has; is this MMLU?")
        }
        questions.append(next)
      }
    }
    guard !questions.isEmpty else { throw DatasetError("\(path) holds no question of the split \"\(split)\"") }
    return questions
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

  private static let maximumQuestions = 1 << 20
  private static let maximumBytes = 1 << 29

  private static let columns = ["question", "subject", "choices", "answer"]
  private static let wanted =
    "MMLU's layout has \"question\", \"subject\", \"choices\" (four texts) and \"answer\" (0 to 3)"

  private static func files(_ path: String, _ split: String) throws -> [String] {
    switch kind(of: path) {
    case .absent: throw DatasetError("there is no file or directory \(path) with MMLU's questions")
    case .directory: return try files(inDirectory: path, split)
    case .file, .other:
      guard DataFiles.isData(path) else {
        throw DatasetError("\(path) is neither .jsonl nor .parquet; name such a file, or a directory of them")
      }
      guard split != "test" else { return [path] }
      let name = lastName(path)
      let other = name.replacing("test", with: split, maxReplacements: 1)
      let beside = String(path.dropLast(name.count)) + other
      guard other != name, kind(of: beside) == .file else {
        throw DatasetError(
          "examples come from MMLU's split \"\(split)\", and there is none beside \(path); name a directory with both")
      }
      return [beside]
    }
  }

  private static func files(inDirectory path: String, _ split: String) throws -> [String] {
    for folder in [join(path, "all"), path, join(path, "data")] where kind(of: folder) == .directory {
      let names = try visibleNames(in: folder)
      let shards = names.filter { $0.hasPrefix(split + "-") && DataFiles.isData($0) }
      if !shards.isEmpty { return shards.map { join(folder, $0) } }
      for name in ["\(split).parquet", "\(split).jsonl"] where names.contains(name) { return [join(folder, name)] }
    }
    throw DatasetError(
      "\(path) holds no split \"\(split)\" of MMLU: all/\(split)-*.parquet or \(split).jsonl is wanted")
  }

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
    guard let answer = value.int ?? letter, (0..<4).contains(answer) else {
      throw wrong("answer", "is \(value.serialized().prefix(40))")
    }
    return MultipleChoiceQuestion(
      subject: subject, question: question, choices: choices, answer: answer, place: record.place)
  }
}
