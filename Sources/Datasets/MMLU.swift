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
    let named = try DatasetSource.groups([path])
    guard named.count == 1, named[0].count == 1 else { throw DatasetError("\(path) is a mix, and no set of questions") }
    let source = named[0][0]
    switch source.location {
    case .file(let path): return try questions(files(besideFile: path, split), path, split)
    case .directory(let path): return try load(place: LocalPlace(directory: path), split: split, config: source.config)
    case .repository(let repository, let revision):
      guard let places else {
        throw DatasetError(
          "there is no file or directory \(path) with MMLU's questions, and the hub is not reached from here")
      }
      return try load(
        place: places.place(repository: repository, revision: revision), split: split, config: source.config)
    }
  }

  /// The same from a place whose files are known by a listing. Only those of the split are asked for.
  ///
  /// - Parameter config: nil stands for `all`.
  public static func load(
    place: any DatasetPlace, split: String = "test", config: String? = nil
  ) throws -> [MultipleChoiceQuestion] {
    let layout = try DatasetLayout(place)
    let files =
      layout.hasConfigs
      ? try layout.splits([split], config: config ?? "all", isGuess: config == nil).flatMap(\.files)
      : try self.files(layout, config, split)
    return try questions(files, place.name, split)
  }

  private static func questions(
    _ files: [DataFile], _ name: String, _ split: String
  ) throws -> [MultipleChoiceQuestion] {
    var questions: [MultipleChoiceQuestion] = []
    var bytes = 0
    for file in files {
      let records = try file.open(columns: columns)
      if let table = records as? TableRecords {
        let missing = columns.filter { !table.columns.contains($0) }
        guard missing.isEmpty else {
          throw DatasetError("\(file.name) lacks \(list(missing)); it has \(list(table.columns)). \(wanted)")
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
    guard !questions.isEmpty else { throw DatasetError("\(name) holds no question of the split \"\(split)\"") }
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

  private static func files(besideFile path: String, _ split: String) throws -> [DataFile] {
    guard let format = DataFormat(name: path) else {
      throw DatasetError("\(path) is none of \(DataFormat.wanted); name such a file, or a directory of them")
    }
    let name = lastName(path)
    let other = split == "test" ? name : name.replacing("test", with: split, maxReplacements: 1)
    let beside = String(path.dropLast(name.count)) + other
    guard split == "test" || other != name && kind(of: beside) == .file else {
      throw DatasetError(
        "examples come from MMLU's split \"\(split)\", and there is none beside \(path); name a directory with both")
    }
    return [DataFile(location: .local(beside), name: beside, format: format)]
  }

  /// Copies without a card: `dev` is a split of its own here, where elsewhere it is another word for validation.
  private static func files(_ layout: DatasetLayout, _ config: String?, _ split: String) throws -> [DataFile] {
    for folder in [(config ?? "all") + "/", "", "data/"] {
      let shards = try layout.all(matching: "\(folder)\(split)-*")
      if !shards.isEmpty { return shards }
      for format in ["parquet", "jsonl", "json", "csv", "arrow"] {
        let whole = try layout.all(matching: "\(folder)\(split).\(format)*")
        if let first = whole.first { return [first] }
      }
    }
    throw DatasetError(
      "\(layout.place.name) holds no split \"\(split)\" of MMLU: all/\(split)-*.parquet or \(split).jsonl is wanted")
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
    guard let answer = value.int ?? letter ?? value.string.flatMap({ Int($0) }), (0..<4).contains(answer) else {
      throw wrong("answer", "is \(value.serialized().prefix(40))")
    }
    return MultipleChoiceQuestion(
      subject: subject, question: question, choices: choices, answer: answer, place: record.place)
  }
}
