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
  /// At most `seqLength` + 1 tokens.
  func row(_ number: Int) throws -> TrainingRow
}

extension TrainingRows {
  /// A micro-batch of rows that follow one another.
  ///
  /// - Parameter kind: what rows of these are called, before their numbers.
  func batch(_ numbers: Range<Int>, kind: String) throws -> TrainingBatch {
    TrainingBatch(try numbers.map(row), names: numbers.map { "\(kind)\($0)" })
  }
}

/// Text, cut into rows as pretraining does it.
struct TextTrainingRows: TrainingRows {
  let blend: TokenBlend
  /// Whether documents are kept apart in a row.
  let isPacked: Bool
  var count: Int? { blend.count }

  func row(_ number: Int) throws -> TrainingRow {
    let documents = try blend.row(number).map { (tokens: $0, shares: [Float](repeating: 1, count: $0.count - 1)) }
    if isPacked { return TrainingRow(apart: documents) }
    let tokens = documents.flatMap(\.tokens)
    return TrainingRow(tokens: tokens, shares: Array(repeating: 1, count: tokens.count - 1))
  }
}

/// Tokens without meaning, to see how fast it goes.
struct MockTrainingRows: TrainingRows {
  let vocabulary: Int
  let seqLength: Int
  let seed: UInt64
  var count: Int? { nil }

  func row(_ number: Int) -> TrainingRow {
    var random = PythonRandom(seed: seed &+ UInt64(number))
    let tokens = (0...seqLength).map { _ in Int32(random.below(vocabulary)) }
    return TrainingRow(tokens: tokens, shares: Array(repeating: 1, count: seqLength))
  }
}

/// Questions and their answers, which alone are learned.
struct AnswerTrainingRows: TrainingRows {
  private let pairs: [(tokens: [Int32], learned: Int)]
  /// Numbers of the pairs of each row: one, or as many as there is room for.
  private let rows: [[Int32]]
  private let isPacked: Bool
  var count: Int? { rows.count }

  /// - Parameters:
  ///   - path: a file of JSON lines with `input` and `output`.
  ///   - seqLength: of what is longer, the beginning of the question is cut off.
  ///   - count: rows; nil for those of the file, in its order.
  ///   - isPacked: whether a row holds as many pairs as it has room for, kept apart.
  init(_ path: String, tokenizer: Tokenizer, seqLength: Int, count: Int?, seed: UInt64, isPacked: Bool) throws {
    self.isPacked = isPacked
    let pairs: [(tokens: [Int32], learned: Int)] = try AnswerPairs.read(path).map { pair in
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
    guard !pairs.isEmpty else { throw RunError("\(path): there is no question with an answer") }
    let all = (0..<Int32(clamping: pairs.count)).map { $0 }
    var random = PythonRandom(seed: seed)
    var rows: [[Int32]] = []
    var room = 0
    repeat {
      var epoch = all
      if count != nil { random.shuffle(&epoch) }
      for number in epoch where rows.count <= count ?? .max {
        let tokens = pairs[Int(number)].tokens.count
        if isPacked, tokens <= room {
          rows[rows.count - 1].append(number)
        } else {
          rows.append([number])
          room = seqLength + 1
        }
        room -= tokens
      }
      // A row is full when the next one has begun.
    } while rows.count <= count ?? 0
    (self.pairs, self.rows) = (pairs, count.map { Array(rows.prefix($0)) } ?? rows)
  }

  func row(_ number: Int) -> TrainingRow {
    let apart = rows[number].map { pair in
      let (tokens, learned) = pairs[Int(pair)]
      return (tokens: tokens, shares: (1..<tokens.count).map { $0 >= tokens.count - learned ? Float(1) : 0 })
    }
    return isPacked ? TrainingRow(apart: apart) : TrainingRow(tokens: apart[0].tokens, shares: apart[0].shares)
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
    // Runs of before there was a choice go on.
    let packed = request.packsSequences ? [("sequences", "apart")] : []
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
        learn, tokenizer: tokenizer, seqLength: request.seqLength, count: count, seed: request.seed,
        isPacked: request.packsSequences)
      validation =
        kind(of: check) == .file && validated > 0
        ? try AnswerTrainingRows(
          check, tokenizer: tokenizer, seqLength: request.seqLength, count: nil, seed: 0,
          isPacked: request.packsSequences)
        : nil
      madeOf = [("data", "answers"), ("training", try AnswerPairs.fingerprint(learn))] + packed
      return
    }
    let sources = try TokenSources(request, model: model, tokenizer: tokenizer, events: events)
    training = TextTrainingRows(
      blend: try TokenBlend(
        sources.parts { $0.training }, length: request.seqLength, count: count, seed: request.seed),
      isPacked: request.packsSequences)
    let held = sources.parts { $0.validation }
    // What is held back is read once at most.
    let tokens = held.reduce(0) {
      $0 + $1.documents.reduce(into: 0) { [lengths = $1.tokens.lengths] in $0 += lengths[$1] }
    }
    let rows = min((tokens - 1) / request.seqLength, validated)
    validation =
      rows > 0
      ? TextTrainingRows(
        blend: try TokenBlend(held, length: request.seqLength, count: rows, seed: request.seed, isShuffled: false),
        isPacked: request.packsSequences)
      : nil
    madeOf = sources.madeOf + packed
  }
}
