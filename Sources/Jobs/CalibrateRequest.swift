import Files
import JSON
import Messages

/// All that is asked for when a model is to write text of its own, to calibrate on. Names in JSON are those of the command
/// line.
public struct CalibrateRequest: Codable, Sendable, Equatable {
  /// The checkpoint: a local directory in Hugging Face's layout, or the hub's name of a model.
  public var model: String
  /// A branch, tag or commit of the hub's model; nil: `main`.
  public var revision: String?
  /// Where the conversations go: a file that is not there yet.
  public var output: String
  /// Conversations whose beginnings are answered, named as calibration text is; empty: the default set.
  public var data: [String] = []
  /// Conversations.
  public var rows = 512
  /// Tokens of an answer at most.
  public var maxNewTokens = 1024
  /// Conversations that begin with more tokens are passed over.
  public var maxPromptTokens = 2048
  /// Divides logits; 0 takes the most likely token. These three: nil for what generation_config.json says.
  public var temperature: Double?
  /// The share of probability that is kept.
  public var topP: Double?
  /// Tokens that are kept; 0 for all.
  public var topK: Int?
  /// The template's variable `enable_thinking`; nil to leave it to the template.
  public var thinks: Bool?
  /// Of the choice of tokens, and of the order in which several data sets are mixed.
  public var seed: UInt64 = 0
  /// Answers of a run that was ended are not used.
  public var fresh = false
  public var compute = ComputeParameters()

  public init(model: String, output: String) { (self.model, self.output) = (model, output) }

  /// What every field is unless somebody sets it.
  package static let defaults = CalibrateRequest(model: "", output: "")

  private enum CodingKeys: String, CodingKey {
    case model = "hf_model_name_or_path"
    case revision
    case output = "out"
    case data = "calib_dataset_name"
    case rows = "calib_num_samples"
    case maxNewTokens = "max_new_tokens"
    case maxPromptTokens = "max_prompt_tokens"
    case temperature
    case topP = "top_p"
    case topK = "top_k"
    case thinks = "enable_thinking"
    case seed, fresh
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    func value<T: Decodable>(_ key: CodingKeys) throws -> T? { try values.decodeIfPresent(T.self, forKey: key) }
    self.init(
      model: try values.decode(String.self, forKey: .model), output: try values.decode(String.self, forKey: .output))
    revision = try value(.revision)
    data = try value(.data) ?? data
    rows = try value(.rows) ?? rows
    maxNewTokens = try value(.maxNewTokens) ?? maxNewTokens
    maxPromptTokens = try value(.maxPromptTokens) ?? maxPromptTokens
    temperature = try value(.temperature)
    topP = try value(.topP)
    topK = try value(.topK)
    thinks = try value(.thinks)
    seed = try value(.seed) ?? seed
    fresh = try value(.fresh) ?? fresh
    compute = try ComputeParameters(from: decoder)
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(model, forKey: .model)
    try values.encodeIfPresent(revision, forKey: .revision)
    try values.encode(output, forKey: .output)
    try values.encode(data, forKey: .data)
    try values.encode(rows, forKey: .rows)
    try values.encode(maxNewTokens, forKey: .maxNewTokens)
    try values.encode(maxPromptTokens, forKey: .maxPromptTokens)
    try values.encodeIfPresent(temperature, forKey: .temperature)
    try values.encodeIfPresent(topP, forKey: .topP)
    try values.encodeIfPresent(topK, forKey: .topK)
    try values.encodeIfPresent(thinks, forKey: .thinks)
    try values.encode(seed, forKey: .seed)
    try values.encode(fresh, forKey: .fresh)
    try compute.encode(to: encoder)
  }

  /// - Throws: `RequestError` for values out of range.
  public func validate() throws {
    guard !output.isEmpty else { throw RequestError("\(parameter: "out") is empty; name a file for the conversations") }
    guard output.hasSuffix(".jsonl") else {
      throw RequestError(
        "\(parameter: "out") \(output) should end in .jsonl: it holds a JSON line for each conversation, which data is known by"
      )
    }
    try atLeast(1, rows, "calib_num_samples")
    try atLeast(1, maxNewTokens, "max_new_tokens")
    try atLeast(1, maxPromptTokens, "max_prompt_tokens")
    // What both hold in a vocabulary of any size can be counted.
    guard maxNewTokens <= 1 << 24, maxPromptTokens <= 1 << 24 else {
      throw RequestError(
        "\(parameter: "max_new_tokens") and \(parameter: "max_prompt_tokens") should be at most \(1 << 24)")
    }
    try Sampling.check(temperature: temperature, topP: topP, topK: topK)
  }
}

/// How tokens are chosen.
struct Sampling: Equatable {
  let temperature: Double
  let topP: Double
  let topK: Int

  /// What a request says, else generation_config.json, else transformers' own defaults. `do_sample` is not looked at: who
  /// wants the most likely tokens asks for the temperature 0.
  ///
  /// - Throws: `RunError` for a file with something else than such numbers.
  init(_ request: CalibrateRequest, directory: String) throws {
    let file = directory + "/generation_config.json"
    let settings = try WholeFile.objectIfPresent(file)
    func number(_ name: String) throws -> Double? {
      guard let value = settings?[name], !value.isNull else { return nil }
      guard let number = value.double else {
        throw RunError("\(file): \"\(name)\" is \(value.kind), where a number should be; give \(parameter: name)")
      }
      return number
    }
    temperature = try request.temperature ?? number("temperature") ?? 1
    topP = try request.topP ?? number("top_p") ?? 1
    topK = try request.topK ?? number("top_k").map { Int($0.clamped(to: -1...1e9)) } ?? 50
    do { try Self.check(temperature: temperature, topP: topP, topK: topK) } catch let error as RequestError {
      throw RunError(error.message + " (in \(file))")
    }
  }

  /// - Throws: `RequestError` for values out of range.
  static func check(temperature: Double?, topP: Double?, topK: Int?) throws {
    if let temperature, !(temperature >= 0 && temperature.isFinite) {
      throw RequestError("\(parameter: "temperature") should be a finite number from 0 up, found \(temperature)")
    }
    if let topP, !(topP > 0 && topP <= 1) {
      throw RequestError("\(parameter: "top_p") should be above 0 and at most 1, found \(topP)")
    }
    try atLeast(0, topK ?? 0, "top_k")
  }
}

extension Double {
  fileprivate func clamped(to range: ClosedRange<Double>) -> Double {
    isNaN ? range.lowerBound : Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
  }
}

/// What a model has written.
public struct CalibrateOutcome: Codable, Sendable, Equatable {
  /// The file.
  public let output: String
  /// Conversations in it, and how many of these this run did not have to write anew.
  public let rows: Int, kept: Int
  /// Tokens that were written in this run.
  public let newTokens: Int
  /// Answers of this run that ended at the limit of new tokens.
  public let cut: Int
  /// The type computed with.
  public let computeType: String
}
