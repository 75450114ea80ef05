public import Messages

/// A model that cannot be read, run or pruned as asked, said for the person who asked.
public struct ModelError: MessageError, Sendable {
  public let message: Message

  public init(_ description: String) { message = Message(description) }
  /// - Parameter message: one that names parameters.
  public init(message: Message) { self.message = message }
}
