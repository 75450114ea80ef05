public import Datasets
public import Execution
public import JSON
import Minitron
public import Models
public import Tokenization

/// `mmlu_<N>pct_bs<B>`: accuracy on the first N percent of each of MMLU's subjects. The batch size is a hint that never
/// changes the answer.
public struct MMLUScore: ScoreFunction {
  public static let form = "mmlu_<N>pct_bs<B> (mmlu_10pct_bs1)"

  public let name: String
  /// Above 0, at most 100.
  public let percent: Double

  public init?(name: String) {
    guard let match = name.wholeMatch(of: /mmlu_([0-9]+(?:\.[0-9]+)?)pct_bs([0-9]+)/),
      let percent = Double(match.1), percent > 0, percent <= 100, let size = Int(match.2), size > 0
    else { return nil }
    self.name = name
    self.percent = percent
  }

  /// - Parameter percent: 1 to 100.
  public init(percent: Int) {
    self.percent = Double(min(max(percent, 1), 100))
    name = "mmlu_\(min(max(percent, 1), 100))pct_bs1"
  }

  public func task(_ sources: any TaskSources) throws -> any ItemTask {
    guard sources.questions != nil || sources.places != nil else {
      throw EvaluationError(
        message: """
          scoring with \(name) wants questions: give \(parameter: "mmlu_dataset") a local copy of \(MMLU.defaultName), \
          or choose \(parameter: "prune_score_func") neg_loss
          """)
    }
    return try MMLUTask(
      path: sources.questions, percent: percent, fewShots: sources.fewShots ?? 0, tokenizer: sources.tokenizer,
      places: sources.places)
  }
}

/// Questions in MMLU's layout.
public struct MMLUTask: ItemTask {
  public let questions: MultipleChoice

  /// - Parameters:
  ///   - path: a file, a directory or a name of the hub, with the splits `test` and, for examples, `dev`; nil: `cais/mmlu`.
  ///   - percent: of each subject's questions, the first ones.
  ///   - fewShots: examples before each question.
  ///   - tokenizer: the model's.
  ///   - places: where data of the hub are to be had; nil where none are.
  /// - Throws: what is wrong with the questions.
  public init(
    path: String?, percent: Double, fewShots: Int, tokenizer: Tokenizer, places: (any DatasetPlaces)? = nil
  ) throws {
    func load(_ split: String) throws -> [MultipleChoiceQuestion] {
      do { return try MMLU.load(path: path ?? MMLU.defaultName, split: split, places: places) } catch  where path == nil
      {
        throw EvaluationError(
          message: "\(parameter: "mmlu_dataset") is \(MMLU.defaultName) where nothing is named: \(error)")
      }
    }
    questions = try MultipleChoice(
      questions: MMLU.sample(load("test"), percent: percent), examples: fewShots > 0 ? load("dev") : [],
      fewShots: fewShots, tokenizer: tokenizer)
  }

  public var unit: String { "questions" }
  public var count: Int { questions.prompts.count }
  public var tokenCount: Int { questions.prompts.reduce(0) { $0 + $1.tokens.count } }
  public var longest: Int { questions.prompts.map(\.tokens.count).max() ?? 0 }
  public var isShare: Bool { true }

  /// The prompts, token by token: neither the file they come from nor the percentage says as much.
  public var madeOf: [(name: String, value: String)] {
    let tokens = questions.prompts.map { "\($0.tokens) \($0.answer)" }.joined(separator: "\n")
    return [("score_function", "mmlu"), ("prompts", Fingerprint([("tokens", tokens)]).key)]
  }

  /// MMLU's subjects. By their bytes, not by Unicode's equivalence.
  public var parts: [(name: String, items: [Int])] {
    let indices = Dictionary(grouping: questions.prompts.indices) { JSON.Text(questions.prompts[$0].subject) }
    return indices.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map { ($0.key.description, $0.value) }
  }

  public func plan(_ executor: Executor, subjects: [Selection], items: [Int]?) -> WalkPlan {
    questions.plan(executor, subjects: subjects, questions: items)
  }

  public func score(
    _ executor: Executor, subjects: [Subject], items: [Int]?, partial: PartialScores,
    progress: (_ done: Int, _ total: Int) -> Void,
    answered: (_ subject: Int, _ item: Int, _ answer: JSON) throws -> Void
  ) throws -> [ItemScores] {
    try questions.score(executor, subjects: subjects, questions: items, partial: partial, progress: progress) {
      subject, question, logits in
      let prompt = questions.prompts[question]
      let best = logits.indices.max { (logits[$0], $1) < (logits[$1], $0) } ?? 0
      try answered(
        subject, question,
        .object([
          ("question", .int(question)), ("subject", .text(prompt.subject)), ("answer", .int(prompt.answer)),
          ("predicted", .int(best)), ("logits", .array(logits.map { .double(Double($0)) })),
        ]))
    }
  }
}
