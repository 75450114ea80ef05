public import JSON

/// A row that is a chat, as its data has it.
public struct Conversation: Sendable, Equatable {
  /// A list of messages: objects, mostly with `role` and `content`.
  public let messages: JSON
  /// What the row's `tools` column holds; nil where there is none, or null.
  public let tools: JSON?

  public init(messages: JSON, tools: JSON? = nil) {
    (self.messages, self.tools) = (messages, tools)
  }
}

/// What packing needs of a tokenizer.
public protocol TextEncoding {
  /// Token numbers of a text, without special tokens before or after it.
  func encode(_ text: String) throws -> [Int]
  /// A conversation as the model's chat template writes it, without a prompt for an answer.
  func render(_ conversation: Conversation) throws -> String
  /// What separates documents; nil for a tokenizer without one.
  var eosTokenID: Int? { get }
  /// What every row begins with; nil for nothing.
  var rowStart: Int? { get }
}

extension TextEncoding {
  public var rowStart: Int? { nil }

  /// - Throws: that there is no chat template, and what to do.
  public func render(_ conversation: Conversation) throws -> String {
    throw DatasetError(
      "this tokenizer has no chat template to render it with. Choose data of plain text (\(DatasetRegistry.openText) is "
        + "some), or render it once and write the result as \"text\": tokenizer.apply_chat_template(messages, "
        + "tokenize=False) in transformers")
  }
}
