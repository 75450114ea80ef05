import Datasets
import Files
import Messages
import Minitron
import Models
import Tokenization
import Training

/// Rows to learn from or to validate on, by their numbers: the same number gives the same row in every process.
protocol TrainingRows {
  /// How many there are; nil for any number.
  var count: Int? { get }
  /// At most `seqLength` + 1 tokens, and the shares in the loss of those after the first.
  func row(_ number: Int) throws -> (tokens: [Int32], shares: [Float])
}

extension TrainingRows {
  /// A micro-batch of rows that follow one another.
  ///
  /// - Parameter kind: what rows of these are called, before their numbers.
  func batch(_ numbers: Range<Int>, kind: String) throws -> TrainingBatch {
    let rows = try numbers.map(row)
    return TrainingBatch(rows: rows.map(\.tokens), shares: rows.map(\.shares), names: numbers.map { "\(kind)\($0)" })
  }
}

/// Text, cut into rows as pretraining does it.
struct TextTrainingRows: TrainingRows {
  let blend: TokenBlend
  var count: Int? { blend.count }

  func row(_ number: Int) throws -> (tokens: [Int32], shares: [Float]) {
    let tokens = try blend.row(number)
    return (tokens, Array(repeating: 1, count: tokens.count - 1))
  }
}

/// Tokens without meaning, to see how fast it goes.
struct MockTrainingRows: TrainingRows {
  let vocabulary: Int
  let seqLength: Int
  let seed: UInt64
  var count: Int? { nil }

  func row(_ number: Int) -> (tokens: [Int32], shares: [Float]) {
    var random = PythonRandom(seed: seed &+ UInt64(number))
    let tokens = (0...seqLength).map { _ in Int32(random.below(vocabulary)) }
    return (tokens, Array(repeating: 1, count: seqLength))
  }
}

/// Questions and their answers, which alone are learned.
struct AnswerTrainingRows: TrainingRows {
  private let rows: [(tokens: [Int32], learned: Int)]
  private let order: [Int32]
  var count: Int? { order.count }

  /// - Parameters:
  ///   - path: a file of JSON lines with `input` and `output`.
  ///   - seqLength: of what is longer, the beginning of the question is cut off.
  ///   - count: rows; nil for those of the file, in its order.
  init(_ path: String, tokenizer: Tokenizer, seqLength: Int, count: Int?, seed: UInt64) throws {
    let pairs = try AnswerPairs.read(path)
    rows = try pairs.map { pair in
      func encode(_ text: String) throws -> [Int32] {
        try tokenizer.encode(text, addSpecialTokens: false).map { Int32(clamping: $0) }
      }
      let answer = try encode(" " + pair.output) + [tokenizer.eosTokenID].compactMap { $0.map { Int32(clamping: $0) } }
      let question = try encode(pair.input)
      // One more token than goes in: the last is only a target.
      let kept = answer.prefix(seqLength)
      let room = seqLength + 1 - kept.count
      return (question.suffix(max(room, 1)) + kept, kept.count)
    }.filter { $0.0.count > 1 }.map { (tokens: Array($0.0), learned: $0.1) }
    guard !rows.isEmpty else { throw RunError("\(path): there is no question with an answer") }
    guard let count else {
      order = (0..<Int32(clamping: rows.count)).map { $0 }
      return
    }
    var random = PythonRandom(seed: seed)
    var order: [Int32] = []
    while order.count < count {
      var epoch = (0..<Int32(clamping: rows.count)).map { $0 }
      random.shuffle(&epoch)
      order += epoch.prefix(count - order.count)
    }
    self.order = order
  }

  func row(_ number: Int) -> (tokens: [Int32], shares: [Float]) {
    let (tokens, learned) = rows[Int(order[number])]
    return (tokens, (1..<tokens.count).map { $0 >= tokens.count - learned ? 1 : 0 })
  }
}

/// What a distillation learns from and is validated on.
struct DistillData {
  let training: any TrainingRows
  /// Nil where nothing is left to validate on.
  let validation: (any TrainingRows)?
  /// Names and values for the fingerprint.
  let madeOf: [(String, String)]

  /// - Parameters:
  ///   - model: the student.
  ///   - tokenizer: encodes text.
  init(_ request: DistillRequest, model: SourceModel, tokenizer: Tokenizer, events: RunEvents) throws {
    let (count, validated) = (
      request.steps * request.globalBatch, max(request.evaluationSteps, 0) * request.globalBatch
    )
    let vocabulary = model.description.sizes[.vocabulary]
    if request.usesMockData {
      training = MockTrainingRows(vocabulary: vocabulary, seqLength: request.seqLength, seed: request.seed)
      validation =
        validated > 0
        ? MockTrainingRows(vocabulary: vocabulary, seqLength: request.seqLength, seed: request.seed &+ 1) : nil
      madeOf = [("data", "mock")]
      return
    }
    if let root = request.answers {
      let (learn, check) = (root + "/training.jsonl", root + "/validation.jsonl")
      training = try AnswerTrainingRows(
        learn, tokenizer: tokenizer, seqLength: request.seqLength, count: count, seed: request.seed)
      validation =
        kind(of: check) == .file && validated > 0
        ? try AnswerTrainingRows(check, tokenizer: tokenizer, seqLength: request.seqLength, count: nil, seed: 0) : nil
      madeOf = [("data", "answers"), ("training", try AnswerPairs.fingerprint(learn))]
      return
    }
    let sources = try TokenSources(request, model: model, tokenizer: tokenizer, events: events)
    training = TextTrainingRows(
      blend: try TokenBlend(
        sources.parts { $0.training }, length: request.seqLength, count: count, seed: request.seed))
    let held = sources.parts { $0.validation }
    // What is held back is read once at most.
    let tokens = held.reduce(0) {
      $0 + $1.documents.reduce(into: 0) { [lengths = $1.tokens.lengths] in $0 += lengths[$1] }
    }
    let rows = min((tokens - 1) / request.seqLength, validated)
    validation =
      rows > 0
      ? TextTrainingRows(
        blend: try TokenBlend(held, length: request.seqLength, count: rows, seed: request.seed, isShuffled: false))
      : nil
    madeOf = sources.madeOf
  }
}
