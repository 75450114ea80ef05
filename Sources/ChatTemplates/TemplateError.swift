/// Why a chat template cannot be used or does not render a conversation.
public struct TemplateError: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    /// There is no template, or the file that holds one cannot be read.
    case missing
    /// The text is no template.
    case syntax
    /// The template stopped: by `raise_exception`, or by an operation that Python refuses, too.
    case raised
    /// The template wanted more work, memory or depth than it may have.
    case budget
    /// The conversation is none: no messages, or messages that are no objects.
    case input
  }

  public let kind: Kind
  public let message: String
  /// The line of the template, from 1; nil where the template is not to blame.
  public internal(set) var line: Int?
  /// What the template is called in messages: a file, as a rule.
  public internal(set) var source: String?

  init(_ kind: Kind, _ message: String, line: Int? = nil) {
    self.kind = kind
    self.message = message
    self.line = line
  }

  public var description: String {
    guard let line else { return source.map { "\($0): \(message)" } ?? message }
    return "\(source ?? "chat template"), line \(line): \(message)"
  }

  /// An operation that Python refuses for the types or values at hand.
  static func raised(_ message: String) -> TemplateError { TemplateError(.raised, message) }
}
