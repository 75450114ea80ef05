public import Messages

/// A conversation of the data, and what it was rendered to.
public struct RenderedConversation: Sendable {
  public let conversation: Conversation
  public let text: String
  /// The file and row it comes from, for messages.
  public let place: String

  public init(conversation: Conversation, text: String, place: String = "") {
    (self.conversation, self.text, self.place) = (conversation, text, place)
  }
}

extension CalibrationData {
  /// The first conversations that are taken, in the order in which `pack` reads rows.
  ///
  /// - Parameters:
  ///   - encoder: renders them; an empty text stands for one that is not taken.
  ///   - count: of conversations.
  ///   - seed: of the shuffle of several sources' rows.
  ///   - take: whether one is taken.
  /// - Returns: at most `count`, and sentences for the user: which rows of data had no text.
  /// - Throws: `DatasetError` for unreadable data, for rows of text, and for data without rows.
  public func conversations(
    encoder: any TextEncoding, count: Int, seed: UInt64 = 0, take: (RenderedConversation) throws -> Bool = { _ in true }
  ) throws -> (taken: [RenderedConversation], warnings: [Message]) {
    var stream = DocumentStream(groups, encoder: encoder, seed: seed)
    try stream.allow(rows: count)
    var taken: [RenderedConversation] = []
    while taken.count < count, let document = try stream.next() {
      guard let conversation = document.conversation else {
        throw DatasetError(
          "\(document.place): the row is text, where a conversation is wanted: a column \"messages\" or \"conversations\""
        )
      }
      let rendered = RenderedConversation(
        conversation: conversation, text: document.text, place: document.place)
      if try take(rendered) { taken.append(rendered) }
    }
    guard stream.rowsRead > stream.nulls.count else { throw noText(stream) }
    return (taken, stream.nulls.count > 0 ? [Message(stream.nulls.warning)] : [])
  }
}
