public import Datasets
public import Execution
public import JSON
import Minitron
public import Models
import Tokenization

/// `exact_<N>`: the share of N questions whose generated answer gives the right number; `exact_<N>_chat` asks by the model's
/// chat template. Unlike an answer that is chosen among four, a number cannot be guessed.
public struct ExactScore: ScoreFunction {
  public static let form = "exact_<N> (exact_200)"
  /// Examples before each question where nothing is said, as in lm-evaluation-harness.
  public static let defaultShots = 5

  /// Questions: the first ones.
  public let count: Int
  public let isChat: Bool

  public init?(name: String) {
    guard let match = name.wholeMatch(of: /exact_([1-9][0-9]*)(_chat)?/), let count = Int(match.1) else { return nil }
    self.init(count: count, isChat: match.2 != nil)
  }

  /// - Parameters:
  ///   - count: of questions, at least 1.
  ///   - isChat: whether they are asked by the model's chat template.
  public init(count: Int, isChat: Bool = false) { (self.count, self.isChat) = (max(count, 1), isChat) }

  var name: String { "exact_\(count)" + (isChat ? "_chat" : "") }

  public func task(_ sources: any TaskSources) throws -> any ItemTask {
    guard sources.numberQuestions != nil || sources.places != nil else {
      throw EvaluationError(
        message: """
          scoring with \(name) wants questions: give \(parameter: "exact_dataset") a local copy of \
          \(NumberQuestions.defaultName)
          """)
    }
    return try ExactTask(count: count, isChat: isChat, sources)
  }
}

/// Questions that the model answers by writing (GSM8K: Cobbe et al. 2021, arXiv 2110.14168). Prompts, stop strings and length
/// are those of lm-evaluation-harness's `gsm8k.yaml`.
public struct ExactTask: ItemTask {
  /// Where an answer ends besides the model's own stop tokens.
  static let stopTexts = ["Question:", "</s>", "<|im_end|>"]
  /// Tokens of an answer at most, where nothing is said.
  public static let maxNewTokens = 256

  public let questions: [NumberQuestion]
  public let continuations: Continuations
  private let tokenizer: Tokenizer

  /// - Parameters:
  ///   - count: questions, the first ones; nil for all.
  ///   - isChat: whether they are asked by the model's chat template.
  ///   - maxNewTokens: tokens of an answer at most.
  ///   - sources: where they are, and the model's tokenizer.
  /// - Throws: what is wrong with the questions, or that there are too few.
  public init(
    count: Int?, isChat: Bool, maxNewTokens: Int = ExactTask.maxNewTokens, _ sources: any TaskSources
  ) throws {
    let tokenizer = sources.tokenizer
    let (examples, asked) = try Self.load(sources, sources.fewShots ?? ExactScore.defaultShots)
    let path = sources.numberQuestions ?? NumberQuestions.defaultName
    let wanted = count ?? asked.count
    guard wanted <= asked.count, !asked.isEmpty else {
      throw EvaluationError(
        message: """
          \(count.map { "\($0) " } ?? "")questions are wanted, and \(path) has \(asked.count) besides examples; ask fewer, \
          name other questions or choose fewer \(parameter: "few_shots")
          """)
    }
    questions = Array(asked.prefix(wanted))
    self.tokenizer = tokenizer
    let prompts = try questions.map { question in
      do {
        let ids =
          isChat
          ? try tokenizer.encode(sources.chat(Self.messages(question, examples)), addSpecialTokens: false)
          : try tokenizer.encode(Self.text(question, examples), addSpecialTokens: true)
        guard !ids.isEmpty else { throw EvaluationError("a question has no tokens") }
        return ids.map { Int32(clamping: $0) }
      } catch { throw EvaluationError(question.place.isEmpty ? "\(error)" : "\(question.place): \(error)") }
    }
    continuations = Continuations(
      prompts: prompts, maxNewTokens: maxNewTokens, stops: Set(try sources.stops().map { Int32(clamping: $0) }))
  }

  /// Examples and questions. Examples are the first of the split `train`; of one file without such a split beside it, its own
  /// first rows, which are not asked then.
  private static func load(
    _ sources: any TaskSources, _ shots: Int
  ) throws -> (examples: [NumberQuestion], asked: [NumberQuestion]) {
    let path = sources.numberQuestions ?? NumberQuestions.defaultName
    do {
      let all = try NumberQuestions.load(path: path, places: sources.places)
      guard shots > 0 else { return ([], all) }
      if NumberQuestions.isSingleFile(path) { return (Array(all.prefix(shots)), Array(all.dropFirst(shots))) }
      let examples = try NumberQuestions.load(path: path, split: "train", places: sources.places)
      guard examples.count >= shots else {
        throw EvaluationError(
          message: """
            \(parameter: "few_shots") \(shots) wants that many examples (train split); \(path) has \(examples.count)
            """)
      }
      return (Array(examples.prefix(shots)), all)
    } catch  where sources.numberQuestions == nil {
      throw EvaluationError(
        message: "\(parameter: "exact_dataset") is \(path) where nothing is named: \(error)")
    }
  }

  private static func text(_ question: NumberQuestion, _ examples: [NumberQuestion]) -> String {
    examples.map { asked($0) + " \($0.answer)\n\n" }.joined() + asked(question)
  }

  private static func asked(_ question: NumberQuestion) -> String { "Question: \(question.question)\nAnswer:" }

  /// The same as a conversation, a turn for each example.
  private static func messages(_ question: NumberQuestion, _ examples: [NumberQuestion]) -> JSON {
    func message(_ role: String, _ content: String) -> JSON {
      .object([("role", .text(role)), ("content", .text(content))])
    }
    return .array(
      examples.flatMap { [message("user", asked($0)), message("assistant", $0.answer)] }
        + [message("user", asked(question))])
  }

  public var unit: String { "questions" }
  public var count: Int { questions.count }
  public var tokenCount: Int {
    continuations.prompts.reduce(0) { $0 + $1.count } + count * continuations.maxNewTokens
  }
  public var longest: Int { continuations.longest }
  public var isShare: Bool { true }

  public var madeOf: [(name: String, value: String)] {
    let asked = zip(continuations.prompts, questions).map { "\($0) \($1.number)" }.joined(separator: "\n")
    return [
      ("score_function", "exact"), ("prompts", Fingerprint([("tokens", asked)]).key),
      ("max_new_tokens", "\(continuations.maxNewTokens)"), ("stops", "\(continuations.stops.sorted())"),
    ]
  }

  public func plan(_ executor: Executor, subjects: [Selection], items: [Int]?) -> WalkPlan {
    executor.plan(continuations, items: items, subjects: subjects)
  }

  public func score(
    _ executor: Executor, subjects: [Subject], items: [Int]?, partial: PartialScores,
    progress: (_ done: Int, _ total: Int) -> Void,
    answered: (_ subject: Int, _ item: Int, _ answer: JSON) throws -> Void
  ) throws -> [ItemScores] {
    partial.begin(candidates: subjects.count, items: count)
    defer { partial.recorder = nil }
    var greedy = Sampler()
    try executor.generate(
      continuations, items: items, subjects: subjects, recorder: partial.recorder, progress: progress,
      choose: { _, _, logits in Int32(clamping: try greedy.next(logits)) },
      isComplete: { _, _, new in
        // A stop text is shorter than so many tokens; had it begun before them, it would have ended before.
        let tail = try text(new.suffix(32), skipSpecialTokens: false)
        return Self.stopTexts.contains { tail.contains($0) }
      },
      finish: { subject, item, new, end in
        let text = Self.cut(try text(new, skipSpecialTokens: true))
        let (found, number) = (FinalNumber.ofText(text), questions[item].number)
        partial.set(found == number ? 1 : 0, candidate: subject, item: item)
        try answered(
          subject, item,
          .object([
            ("question", .int(item)), ("answer", .text(number)), ("predicted", found.map(JSON.text) ?? .null),
            ("text", .text(text)), ("ended", .text(end.rawValue)),
          ]))
      })
    var weights = [Double](repeating: 0, count: count)
    for item in items ?? Array(questions.indices) { weights[item] = 1 }
    return partial.scores(weights: weights)
  }

  /// The text before the first stop text.
  private static func cut(_ text: String) -> String {
    stopTexts.reduce(text) { text, stop in
      text.ranges(of: stop).first.map { String(text[..<$0.lowerBound]) } ?? text
    }
  }

  private func text(_ tokens: some Collection<Int32>, skipSpecialTokens: Bool) throws -> String {
    // A model's vocabulary may be padded with rows that no token has.
    let ids = tokens.map { Int($0) }.filter { tokenizer.token(of: $0) != nil }
    return try tokenizer.decode(ids, skipSpecialTokens: skipSpecialTokens)
  }
}
