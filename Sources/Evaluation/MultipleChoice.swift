public import Datasets
public import Execution
public import Messages
public import Models
public import Tokenization
import Torch

/// MMLU-format questions as prompts of tokens (Hendrycks et al. 2021, arXiv 2009.03300; prompt and scoring as in
/// Model-Optimizer's `megatron_mmlu.py`, with the newline before `Answer:` it forgets in few-shot examples).
public struct MultipleChoice: Sendable {
  public struct Prompt: Sendable {
    public let tokens: [Int32]
    /// The right answer, 0…3.
    public let answer: Int
    public let subject: String
  }

  public let prompts: [Prompt]
  /// The token that stands for each answer.
  public let answerTokens: [Int]

  static let letters = ["A", "B", "C", "D"]

  /// - Parameters:
  ///   - examples: the dev split, for few-shot prompts; its first `fewShots` of the subject stand in front.
  ///   - questions: all of them.
  ///   - tokenizer: the model's.
  ///   - fewShots: examples before each question.
  /// - Throws: `EvaluationError` when there are no questions, too few examples or answers without a token.
  public init(
    questions: [MultipleChoiceQuestion], examples: [MultipleChoiceQuestion] = [], fewShots: Int = 0,
    tokenizer: Tokenizer
  ) throws {
    guard !questions.isEmpty else { throw EvaluationError("there are no questions to score with") }
    answerTokens = try Self.letters.map { letter in
      guard let token = try tokenizer.encode(" \(letter)", addSpecialTokens: false).last else {
        throw EvaluationError("the tokenizer gives no token for the answer \" \(letter)\"")
      }
      return token
    }
    let shots = Dictionary(grouping: examples, by: \.subject)
    prompts = try questions.map { question in
      let before = (shots[question.subject] ?? []).prefix(fewShots)
      guard before.count == fewShots else {
        throw EvaluationError(
          message: """
            \(parameter: "few_shots") \(fewShots) wants that many examples (dev split) of every subject; \
            \(question.subject) has \(before.count)
            """)
      }
      let text =
        "The following are multiple choice questions (with answers) about "
        + question.subject.split(separator: "_", omittingEmptySubsequences: false).joined(separator: " ") + ".\n\n"
        + before.map { Self.text($0) + " \(Self.letters[$0.answer])\n\n" }.joined() + Self.text(question)
      let tokens: [Int]
      do { tokens = try tokenizer.encode(text, addSpecialTokens: true) } catch {
        throw EvaluationError(question.place.isEmpty ? "\(error)" : "\(question.place): \(error)")
      }
      guard !tokens.isEmpty else { throw EvaluationError("a question of \(question.subject) has no tokens") }
      return Prompt(tokens: tokens.map { Int32(clamping: $0) }, answer: question.answer, subject: question.subject)
    }
  }

  private static func text(_ question: MultipleChoiceQuestion) -> String {
    question.question + zip(letters, question.choices).map { "\n\($0). \($1)" }.joined() + "\nAnswer:"
  }

  /// Tokens that go through the model together: bounds what attention and the MLP need at once.
  private static let tokensPerBatch = 4096

  /// Prompts on their way through the model: a batch, and the prompts in it in the order of its rows.
  private struct Group {
    let batch: TokenBatch
    let prompts: [Int]
  }

  /// Prompts without padding where the model can tell them apart, what a subject's prompts begin with once for all of
  /// them; otherwise in order of length, padded to the longest of a batch.
  private func groups(_ chosen: [Int], _ executor: Executor) -> [Group] {
    let description = executor.weights.model.description
    let tokens = { prompts[$0].tokens.count }
    if executor.weights.device == .cpu, description.packsSequences {
      let bySubject = Dictionary(grouping: chosen, by: { prompts[$0].subject })
      let subjects = bySubject.values.sorted { ($0.first ?? 0) < ($1.first ?? 0) }
      let limit = description.tokensAtOnce(
        elementSize: executor.weights.dtype.byteCount, device: executor.weights.device)
      return PromptPacker.rows(
        prompts.map(\.tokens), groups: subjects, limit: limit, sharing: description.longestSharing
      ).map { Group(batch: $0.batch, prompts: $0.prompts) }
    }
    var padded: [[Int]] = []
    for index in chosen.sorted(by: { (tokens($0), $0) < (tokens($1), $1) }) {
      // Prompts in order of length: the last of a batch is its longest.
      if let last = padded.last, (last.count + 1) * tokens(index) <= Self.tokensPerBatch {
        padded[padded.count - 1].append(index)
      } else {
        padded.append([index])
      }
    }
    return padded.map { Group(batch: TokenBatch($0.map { prompts[$0].tokens }), prompts: $0) }
  }

  /// What scoring these questions (nil: all) will read and hold.
  public func plan(_ executor: Executor, subjects: [Selection], questions: [Int]? = nil) -> WalkPlan {
    executor.plan(groups(questions ?? Array(prompts.indices), executor).map(\.batch), subjects: subjects)
  }

  /// Scores questions for every subject in as few walks over the weights as the executor's memory allows.
  ///
  /// Only the last position of a prompt meets the head, and only with the answers' rows.
  /// - Parameters:
  ///   - questions: numbers of prompts; nil for all. What is not asked has weight zero.
  ///   - partial: has the scores as they are found, and says where to save them.
  ///   - predicted: called with the logits of the four answers: subject, question, logits. Not for what was restored.
  ///   - progress: called with the work done and all of it.
  ///   - executor: walks the model.
  ///   - subjects: what is kept of the model, one for each candidate.
  public func score(
    _ executor: Executor, subjects: [Subject], questions: [Int]? = nil, partial: PartialScores = PartialScores(),
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in },
    predicted: (_ subject: Int, _ question: Int, _ logits: [Float]) throws -> Void = { _, _, _ in }
  ) throws -> [ItemScores] {
    let asked = questions ?? Array(prompts.indices)
    let groups = groups(asked, executor)
    let batches = groups.map(\.batch)
    let total = Executor.work(batches, subjects: subjects.map(\.selection))
    partial.begin(candidates: subjects.count, items: prompts.count)
    defer { partial.recorder = nil }
    let finish: Executor.Finish = { subject, batch, hidden, head in
      let logits = try head.logits(last(hidden, batches[batch]), rows: answerTokens).floats()
      for (row, question) in groups[batch].prompts.enumerated() {
        let four = Array(logits[row * answerTokens.count..<(row + 1) * answerTokens.count])
        guard four.allSatisfy(\.isFinite) else {
          throw EvaluationError("the model's logits are not finite: the weights hold NaN or infinite values")
        }
        // The first of equal ones, as argmax has it.
        let best = four.indices.max { (four[$0], $1) < (four[$1], $0) }
        partial.set(best == prompts[question].answer ? 1 : 0, candidate: subject, item: question)
        try predicted(subject, question, four)
      }
    }
    try executor.walk(
      batches, subjects: subjects, recorder: partial.recorder, progress: { progress($0, total) },
      finish: finish)
    var weights = [Double](repeating: 0, count: prompts.count)
    for question in asked { weights[question] = 1 }
    return partial.scores(weights: weights)
  }

  /// The last token's state of each prompt: `[prompts, H]`. A packed row holds nothing else.
  private func last(_ hidden: Tensor, _ batch: TokenBatch) throws -> Tensor {
    if batch.packing != nil { return try hidden.select(dim: 0, index: 0) }
    return try Tensor.stack(
      batch.lengths.enumerated().map { row, length in
        try hidden.select(dim: 0, index: row).select(dim: 0, index: length - 1)
      }, dim: 0)
  }
}

/// An evaluation that cannot be done as asked.
public struct EvaluationError: MessageError, Sendable {
  public let message: Message
  public init(_ text: String) { message = Message(text) }
  public init(message: Message) { self.message = message }
}
