public import Evaluation
import Formatting
import Messages

/// A value that people write in a form of their own (`6e9`, `4GiB`, `mmlu_10pct_bs1`): read once, and kept as it was
/// written for reports. In JSON it is that text.
public protocol WrittenValue: Codable, Sendable, Equatable, CustomStringConvertible {
  /// As it was written.
  var text: String { get }
  /// - Throws: what is wrong with the text, in words that follow the parameter's name and a colon (a `Predicate` none).
  init(_ text: String) throws
}

extension WrittenValue {
  public var description: String { text }
  public static func == (a: Self, b: Self) -> Bool { a.text == b.text }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    do { try self.init(text) } catch {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "\(error)")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
}

/// What is wrong with a value, in words that follow the parameter's name without a colon.
package struct Predicate: Error, CustomStringConvertible {
  package let description: String
  init(_ description: String) { self.description = description }
}

/// A number of parameters: `6e9`, `6B`, `600M`.
public struct ParameterCount: WrittenValue, ExpressibleByIntegerLiteral {
  public let text: String
  public let count: Int

  public init(_ text: String) throws {
    self.text = text
    count = try Format.parseCount(text)
  }

  public init(integerLiteral value: Int) { (text, count) = (String(value), value) }
}

/// A size in memory: `4GiB`, `512MiB`, bytes.
public struct ByteCount: WrittenValue, ExpressibleByIntegerLiteral {
  public let text: String
  public let bytes: Int

  public init(_ text: String) throws {
    self.text = text
    bytes = try Format.parseBytes(text)
  }

  public init(integerLiteral value: Int) { (text, bytes) = (String(value), value) }
}

/// A size in MiB, above zero: `12288`, `1.2e4`.
public struct Mebibytes: WrittenValue {
  public let text: String
  public let value: Double

  public init(_ text: String) throws {
    self.text = text
    value = try Format.parseNumber(text)
    guard value > 0 else { throw Predicate("should be above zero, found \(text)") }
  }
}

/// The name of a score function, such as `mmlu_10pct_bs1`, `neg_loss` or `neg_kl`.
public struct ScoreFunctionName: WrittenValue {
  public let text: String
  public let function: any ScoreFunction

  public init(_ text: String) throws {
    guard let function = ScoreFunctions.named(text) else {
      throw RunError(Message("\"\(text)\" is not known; it can be \(ScoreFunctions.forms)"))
    }
    self.text = text
    self.function = function
  }

  public static let negLoss = ScoreFunctionName(NegativeLoss(), NegativeLoss.form)
  public static let negKL = ScoreFunctionName(NegativeDivergence(), NegativeDivergence.form)

  private init(_ function: any ScoreFunction, _ name: String) { (text, self.function) = (name, function) }
  private init(_ function: MMLUScore) { (text, self.function) = (function.name, function) }

  /// Accuracy on the first `percent` of each of MMLU's subjects.
  public static func mmlu(percent: Int) -> ScoreFunctionName { ScoreFunctionName(MMLUScore(percent: percent)) }

  /// What candidates are scored by unless the request says otherwise: a tenth of MMLU.
  public static let standard = mmlu(percent: 10)
}
