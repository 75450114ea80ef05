import JSON

/// The line protocol of `coppice render`: a JSON object per line in, a JSON string or `{"error": …}` per line out.
///
/// An object has `messages`, and may have `tools`; every other member is a variable of the template, but for
/// `chat_template`, which is a template to use instead, as it is in `apply_chat_template`.
public struct ConversationLines {
  private let template: ChatTemplate
  /// The last template that came in a line.
  private var own: (source: JSON.Text, template: Result<ChatTemplate, any Error>)?

  public init(_ template: ChatTemplate) { self.template = template }

  /// The answer to a line, without its line break.
  public mutating func answer(_ line: some Collection<UInt8>) -> String {
    do { return JSON.text(try text(line)).serialized() } catch {
      return JSON.object([("error", .text("\(error)"))]).serialized()
    }
  }

  private mutating func text(_ line: some Collection<UInt8>) throws -> String {
    let value = try JSON(parsing: line)
    guard var variables = value.object else {
      throw TemplateError(.input, "expected an object with \"messages\", found \(value.kind)")
    }
    guard let messages = variables["messages"] else {
      throw TemplateError(.input, "the object has no \"messages\"")
    }
    let (tools, source) = (variables["tools"], variables["chat_template"]?.text)
    for name in ["messages", "tools", "chat_template"] { variables[name] = nil }
    return try template(source).rendered(messages: messages, tools: tools, variables: variables)
  }

  private mutating func template(_ source: JSON.Text?) throws -> ChatTemplate {
    guard let source else { return template }
    if let own, own.source == source { return try own.template.get() }
    let made = Result { try template.with(source: source.utf8) }
    own = (source, made)
    return try made.get()
  }
}
