import Files
import JSON

/// A question whose answer is a number, with a worked answer that ends in it.
public struct NumberQuestion: Sendable, Equatable {
  public let question: String
  /// As the data has it.
  public let answer: String
  /// The number, as `FinalNumber` compares it.
  public let number: String
  /// The file and row it comes from, for messages.
  public let place: String

  public init(question: String, answer: String, number: String, place: String = "") {
    (self.question, self.answer, self.number, self.place) = (question, answer, number, place)
  }
}

/// Questions in the layout of GSM8K (Cobbe et al. 2021, arXiv 2110.14168), `openai/gsm8k` on the Hugging Face hub: columns
/// `question` and `answer`, which ends in `#### 42`. An answer may as well be the number alone.
public enum NumberQuestions {
  /// What is asked where nothing is named, on the hub.
  public static let defaultName = "openai/gsm8k"

  private static let files = QuestionFiles(set: "GSM8K", config: "main")
  private static let columns = ["question", "answer"]
  private static let wanted =
    "GSM8K's layout has \"question\" and \"answer\" (a text that ends in \"#### 42\", or a number)"

  /// The questions of a split, in the order of the data.
  ///
  /// - Parameters:
  ///   - path: a directory or a repository of the hub (`owner/name`) with the configuration `main`, or with files named after
  ///     splits; or one file, which is the test split. The split `train` is then looked for beside it, under its name with
  ///     `test` replaced.
  ///   - split: `test` or `train`.
  ///   - places: where repositories of the hub are to be had; nil where none are.
  /// - Throws: `DatasetError` when there are none, or one is not as it should be; what `places` throws.
  public static func load(
    path: String, split: String = "test", places: (any DatasetPlaces)? = nil
  ) throws -> [NumberQuestion] {
    let found = try files.files(path: path, split: split, places: places)
    return try files.read(found, columns: columns, wanted: wanted, path, split) { record in
      let next = try question(record)
      return (next, next.question.utf8.count + next.answer.utf8.count)
    }
  }

  /// Whether `path` is one file that has no split `train` beside it: its questions are all there are.
  public static func isSingleFile(_ path: String) -> Bool {
    kind(of: path) == .file && (try? files.files(path: path, split: "train", places: nil)) == nil
  }

  private static func question(_ record: Record) throws -> NumberQuestion {
    func wrong(_ column: String, _ found: String) -> DatasetError {
      DatasetError("\(record.place): \"\(column)\" \(found). \(wanted)")
    }
    func value(_ column: String) throws -> JSON {
      guard let value = try record.value(column), !value.isNull else { throw wrong(column, "is missing") }
      return value
    }
    let (asked, answered) = (try value("question"), try value("answer"))
    guard let question = asked.string else { throw wrong("question", "is \(asked.kind)") }
    let answer: String
    switch answered {
    case .string(let text): answer = text.description
    case .number(let number): answer = number.spelling
    default: throw wrong("answer", "is \(answered.kind)")
    }
    guard let number = FinalNumber.ofReference(answer) else {
      throw wrong("answer", "ends in no number: \(answer.suffix(40))")
    }
    return NumberQuestion(question: question, answer: answer, number: number, place: record.place)
  }
}
