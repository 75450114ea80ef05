import ChatTemplates
package import Datasets
package import JSON
package import Tokenization

/// Conversations up to their first answer, as the chat template writes them for the model to go on.
package struct PromptEncoder: TextEncoding {
  private let encoder: CalibrationEncoder
  private let thinks: Bool?

  /// - Parameters:
  ///   - directory: of the model, whose template is used.
  ///   - thinks: the template's variable `enable_thinking`; nil to leave it out.
  package init(tokenizer: Tokenizer, directory: String, thinks: Bool?) throws {
    encoder = try CalibrationEncoder(tokenizer: tokenizer, beginsWithBOS: false, directory: directory)
    self.thinks = thinks
  }

  package var eosTokenID: Int? { encoder.eosTokenID }
  package func encode(_ text: String) throws -> [Int] { try encoder.encode(text) }

  /// The messages before the first answer; empty where nobody asks anything there.
  static func asked(_ conversation: Conversation) -> [JSON] {
    let messages = conversation.messages.array ?? []
    let asked = Array(messages.prefix { $0["role"]?.string != "assistant" })
    return asked.last?["role"]?.string == "user" ? asked : []
  }

  private var variables: JSON.Object {
    var variables = JSON.Object()
    if let thinks { variables["enable_thinking"] = .bool(thinks) }
    return variables
  }

  /// The prompt of a conversation; empty where there is nothing to answer.
  package func render(_ conversation: Conversation) throws -> String {
    let asked = Self.asked(conversation)
    // What is no list of messages is the template's to refuse.
    let messages = conversation.messages.array ?? []
    if asked.isEmpty, !messages.isEmpty, messages.allSatisfy({ $0.object != nil }) { return "" }
    return try encoder.chat(
      asked.isEmpty ? conversation.messages : .array(asked), tools: conversation.tools, variables: variables)
  }

  /// The conversation with an answer, in the form that the template writes as the model did: reasoning within the content, or
  /// as a member of its own.
  package func answered(_ row: RenderedConversation, _ answer: String) -> JSON {
    let asked = Self.asked(row.conversation)
    let whole = Self.opening(row.text) + answer
    func message(_ members: [(String, JSON)]) -> JSON { .object([("role", .text("assistant"))] + members) }
    var forms = [message([("content", .text(whole))])]
    if let end = whole.ranges(of: Self.close).first {
      let reasoning = whole[..<end.lowerBound].trimmed(start: Self.open)
      forms.append(
        message([
          ("reasoning_content", .text(String(reasoning))),
          ("content", .text(String(whole[end.upperBound...].trimmed()))),
        ]))
    }
    let wanted = Array((row.text + answer.trimmed(start: "", startIsKept: true)).utf8)
    let fitting =
      forms.count < 2
      ? nil
      : forms.first { form in
        let text = try? encoder.render(
          Conversation(messages: .array(asked + [form]), tools: row.conversation.tools))
        return text.map { $0.utf8.starts(with: wanted) } ?? false
      }
    var members: [(String, JSON)] = [("messages", .array(asked + [fitting ?? forms[0]]))]
    if let tools = row.conversation.tools { members.append(("tools", tools)) }
    return .object(members)
  }

  private static let open = "<think>", close = "</think>"

  /// What the prompt begins of the answer: templates of models that always reason write `<think>` themselves.
  private static func opening(_ prompt: String) -> String {
    guard let last = prompt.ranges(of: open).last else { return "" }
    let rest = prompt[last.lowerBound...]
    // Something else than space after it is what somebody wrote, not the beginning of an answer.
    return rest.dropFirst(open.count).allSatisfy(\.isWhitespace) ? String(rest) : ""
  }
}

extension StringProtocol {
  /// Without space around it, and without `start` before it.
  fileprivate func trimmed(start: String = "", startIsKept: Bool = false) -> String {
    var text = Substring(self)
    while let last = text.last, last.isWhitespace { text.removeLast() }
    if startIsKept { return String(text) }
    text = text.drop { $0.isWhitespace }
    if text.hasPrefix(start) { text = text.dropFirst(start.count) }
    return String(text.drop { $0.isWhitespace })
  }
}
