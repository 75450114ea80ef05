/// A sentence for people that may name parameters of what was asked, each marked as one:
/// `"choose a smaller \(parameter: "seq_length")"`.
///
/// Callers of the library read the parameter's name, which is that of the request's field in JSON; a command line
/// shows the flag that sets it (`--seq_length`).
public struct Message: Sendable, Hashable, CustomStringConvertible, ExpressibleByStringInterpolation {
  fileprivate enum Part: Sendable, Hashable {
    case text(String)
    case parameter(String)
  }

  private var parts: [Part] = []

  /// A message that names no parameter.
  public init(_ text: String) { parts = text.isEmpty ? [] : [.text(text)] }
  public init(stringLiteral value: String) { self.init(value) }
  public init(stringInterpolation: Interpolation) { parts = stringInterpolation.parts }

  /// The message with parameters by their plain names.
  public var description: String { text { $0 } }

  /// The message with parameters as `spelled` has them.
  public func text(_ spelled: (_ parameter: String) -> String) -> String {
    parts.reduce(into: "") { text, part in
      switch part {
      case .text(let more): text += more
      case .parameter(let name): text += spelled(name)
      }
    }
  }

  public static func + (a: Message, b: Message) -> Message {
    var sum = a
    for part in b.parts { Self.append(part, to: &sum.parts) }
    return sum
  }

  /// Texts in a row are one part, so that messages that read alike are equal.
  private static func append(_ part: Part, to parts: inout [Part]) {
    switch (part, parts.last) {
    case (.text(""), _): break
    case (.text(let more), .text(let text)?): parts[parts.count - 1] = .text(text + more)
    default: parts.append(part)
    }
  }

  /// Puts a message together. Messages, and errors that have one, keep the parameters they name.
  public struct Interpolation: StringInterpolationProtocol {
    fileprivate var parts: [Part] = []

    public init(literalCapacity: Int, interpolationCount: Int) {}

    public mutating func appendLiteral(_ literal: String) { Message.append(.text(literal), to: &parts) }

    /// The name of a parameter, as the request's field has it in JSON.
    public mutating func appendInterpolation(parameter name: String) { parts.append(.parameter(name)) }

    public mutating func appendInterpolation<T>(_ value: T) {
      switch value {
      case let message as Message: for part in message.parts { Message.append(part, to: &parts) }
      case let error as any MessageError: for part in error.message.parts { Message.append(part, to: &parts) }
      default: Message.append(.text("\(value)"), to: &parts)
      }
    }
  }

  public typealias StringInterpolation = Interpolation
}

extension Sequence<Message> {
  /// The messages in a row, with `separator` between them.
  public func joined(separator: String) -> Message {
    var sum: Message?
    for message in self { sum = sum.map { $0 + Message(separator) + message } ?? message }
    return sum ?? Message("")
  }
}

/// An error that is said by a `Message`.
public protocol MessageError: Error, CustomStringConvertible {
  var message: Message { get }
}

extension MessageError {
  public var description: String { message.description }
}
