/// All that an evaluation is asked for: MMLU accuracy, loss, divergence from another model. Defaults and names in JSON are
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
    try values.encodeIfPresent(reference, forKey: .reference)
    try values.encode(seqLength, forKey: .seqLength)
    try values.encode(seed, forKey: .seed)
    try evaluation.encode(to: encoder)
    try compute.encode(to: encoder)
  }

  /// Whether questions are asked: where they are named, and where nothing is.
  var asksQuestions: Bool { evaluation.questions != nil || evaluation.datasets.isEmpty }

  /// - Throws: `RequestError` for values out of range, and what wants something else to be given.
  public func validate() throws {
    try evaluation.validate()
    guard percent > 0, percent <= 100 else {
      throw RequestError("\(parameter: "mmlu_percent") should be above 0 and at most 100, found \(percent)")
    }
    guard predictions == nil || asksQuestions else {
      throw RequestError("\(parameter: "mmlu_predictions") wants questions: give \(parameter: "mmlu_dataset")")
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
  /// MMLU accuracy, a share of one.
  public internal(set) var accuracy: Measure?
  /// Cross-entropy per predicted token.
  public internal(set) var loss: Measure?
  /// KL divergence from the reference per predicted token.
  public internal(set) var divergence: Measure?
  /// The reference's directory.
  public internal(set) var reference: String?
}
