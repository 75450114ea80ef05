import Files

/// All that an evaluation is asked for: MMLU accuracy, numbers as answers, loss, divergence from another model. Defaults and names in JSON are
/// those of the command line.
public struct EvalRequest: Codable, Sendable, Equatable {
  /// The checkpoint: a local directory in Hugging Face's layout, or the hub's name of a model.
  public var model: String
  /// A branch, tag or commit of the hub's model; nil: `main`.
  public var revision: String?
  public var evaluation = EvaluationParameters()
  /// Of each of MMLU's subjects, the first questions: so many per cent.
  public var percent = 100.0
  /// A file for each question's answer and the logits of A to D, as JSON lines.
  public var predictions: String?
  /// Questions with numbers as answers, the first ones; nil: all, where `evaluation.numberQuestions` names some, else none.
  public var exactQuestions: Int?
  /// Whether these are asked by the model's chat template.
  public var exactChat = false
  /// A file for each such question's answer, as JSON lines.
  public var exactPredictions: String?
  /// The checkpoint to measure divergence from; of any architecture, with the same vocabulary.
  public var reference: String?
  /// Tokens of a row of text.
  public var seqLength = 4096
  /// The order in which several datasets are mixed.
  public var seed: UInt64 = 0
  public var compute = ComputeParameters()

  public init(model: String) { self.model = model }

  /// What every field is unless somebody sets it.
  package static let defaults = EvalRequest(model: "")

  private enum CodingKeys: String, CodingKey {
    case model = "hf_model_name_or_path"
    case revision
    case percent = "mmlu_percent"
    case predictions = "mmlu_predictions"
    case exactQuestions = "exact_questions"
    case exactChat = "exact_chat"
    case exactPredictions = "exact_predictions"
    case reference = "reference_model"
    case seqLength = "seq_length"
    case seed
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    self.init(model: try values.decode(String.self, forKey: .model))
    revision = try values.decodeIfPresent(String.self, forKey: .revision)
    percent = try values.decodeIfPresent(Double.self, forKey: .percent) ?? percent
    predictions = try values.decodeIfPresent(String.self, forKey: .predictions)
    exactQuestions = try values.decodeIfPresent(Int.self, forKey: .exactQuestions)
    exactChat = try values.decodeIfPresent(Bool.self, forKey: .exactChat) ?? exactChat
    exactPredictions = try values.decodeIfPresent(String.self, forKey: .exactPredictions)
    reference = try values.decodeIfPresent(String.self, forKey: .reference)
    seqLength = try values.decodeIfPresent(Int.self, forKey: .seqLength) ?? seqLength
    seed = try values.decodeIfPresent(UInt64.self, forKey: .seed) ?? seed
    evaluation = try EvaluationParameters(from: decoder)
    compute = try ComputeParameters(from: decoder)
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(model, forKey: .model)
    try values.encodeIfPresent(revision, forKey: .revision)
    try values.encode(percent, forKey: .percent)
    try values.encodeIfPresent(predictions, forKey: .predictions)
    try values.encodeIfPresent(exactQuestions, forKey: .exactQuestions)
    try values.encode(exactChat, forKey: .exactChat)
    try values.encodeIfPresent(exactPredictions, forKey: .exactPredictions)
    try values.encodeIfPresent(reference, forKey: .reference)
    try values.encode(seqLength, forKey: .seqLength)
    try values.encode(seed, forKey: .seed)
    try evaluation.encode(to: encoder)
    try compute.encode(to: encoder)
  }

  /// Whether questions are asked: where they are named, and where nothing is.
  package var asksQuestions: Bool { evaluation.questions != nil || evaluation.datasets.isEmpty && !asksForNumbers }

  /// Whether questions with numbers as answers are asked.
  package var asksForNumbers: Bool { evaluation.numberQuestions != nil || exactQuestions != nil }

  /// - Throws: `RequestError` for values out of range, and what wants something else to be given.
  public func validate() throws {
    try evaluation.validate()
    guard percent > 0, percent <= 100 else {
      throw RequestError("\(parameter: "mmlu_percent") should be above 0 and at most 100, found \(percent)")
    }
    guard predictions == nil || asksQuestions else {
      throw RequestError("\(parameter: "mmlu_predictions") wants questions: give \(parameter: "mmlu_dataset")")
    }
    try atLeast(1, exactQuestions ?? 1, "exact_questions")
    guard asksForNumbers || exactPredictions == nil && !exactChat else {
      throw RequestError(
        """
        \(parameter: exactChat ? "exact_chat" : "exact_predictions") wants questions: give \
        \(parameter: "exact_questions") or \(parameter: "exact_dataset")
        """)
    }
    if let predictions, let exactPredictions, resolvedPath(predictions) == resolvedPath(exactPredictions) {
      throw RequestError(
        "\(parameter: "mmlu_predictions") and \(parameter: "exact_predictions") are one file: name two")
    }
    guard reference == nil || !evaluation.datasets.isEmpty else {
      throw RequestError(
        """
        \(parameter: "reference_model") wants text to compare the models on: give \(parameter: "eval_dataset_name")
        """)
    }
    try atLeast(1, seqLength, "seq_length")
  }
}

/// What an evaluation has found.
public struct EvalOutcome: Codable, Sendable, Equatable {
  /// A mean over items.
  public struct Measure: Codable, Sendable, Equatable {
    /// Better when higher for an accuracy, when lower for a loss or a divergence.
    public let mean: Double
    public let standardError: Double
    /// Questions or rows.
    public let items: Int
    /// What a mean of rows is taken over: predicted tokens. Of questions it is their number.
    public let weight: Int
    /// Items that belong together, with a mean of their own: MMLU's subjects.
    public let parts: [Part]
  }

  public struct Part: Codable, Sendable, Equatable {
    public let name: String
    public let mean: Double
    public let standardError: Double
    public let items: Int
  }

  /// The model's directory.
  public let model: String
  /// The type computed with.
  public let computeType: String
  /// Parameters of the whole checkpoint.
  public internal(set) var params = 0
  /// MMLU accuracy, a share of one.
  public internal(set) var accuracy: Measure?
  /// Generated answers that give the right number, a share of one.
  public internal(set) var exact: Measure?
  /// Cross-entropy per predicted token.
  public internal(set) var loss: Measure?
  /// KL divergence from the reference per predicted token.
  public internal(set) var divergence: Measure?
  /// The reference's directory.
  public internal(set) var reference: String?
}
