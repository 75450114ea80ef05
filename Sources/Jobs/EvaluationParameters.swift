/// Questions and text to evaluate on. In JSON its fields have the names of the command line's flags.
public struct EvaluationParameters: Codable, Sendable, Equatable {
  /// Questions in cais/mmlu's layout: a directory, a file or a name of the hub; nil: `cais/mmlu`, where questions are asked.
  public var questions: String?
  /// Questions in openai/gsm8k's layout: a directory, a file or a name of the hub; nil: `openai/gsm8k`, where they are asked.
  public var numberQuestions: String?
  /// Examples before each question; nil: none before MMLU's, five before GSM8K's.
  public var fewShots: Int?
  /// Text for loss and divergence; empty: what follows the calibration rows.
  public var datasets: [String] = []
  /// Rows of that text.
  public var rows = 64
  /// Rows of calibration and evaluation text begin with the tokenizer's BOS token.
  public var beginsWithBOS = false

  public init() {}

  private enum CodingKeys: String, CodingKey {
    case questions = "mmlu_dataset"
    case numberQuestions = "exact_dataset"
    case fewShots = "few_shots"
    case datasets = "eval_dataset_name"
    case rows = "eval_num_samples"
    case beginsWithBOS = "calib_bos"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    questions = try values.decodeIfPresent(String.self, forKey: .questions)
    numberQuestions = try values.decodeIfPresent(String.self, forKey: .numberQuestions)
    fewShots = try values.decodeIfPresent(Int.self, forKey: .fewShots)
    datasets = try values.decodeIfPresent([String].self, forKey: .datasets) ?? datasets
    rows = try values.decodeIfPresent(Int.self, forKey: .rows) ?? rows
    beginsWithBOS = try values.decodeIfPresent(Bool.self, forKey: .beginsWithBOS) ?? beginsWithBOS
  }

  /// - Throws: `RequestError` for numbers out of range.
  public func validate() throws {
    try atLeast(0, fewShots ?? 0, "few_shots")
    try atLeast(1, rows, "eval_num_samples")
  }
}
