public import JSON

extension ChatTemplate {
  /// The text of a data set's row to calibrate on: rendered without a generation prompt, after arguments of tool calls
  /// that came as JSON text were made objects.
  ///
  /// - Parameters:
  ///   - messages: the row's `messages` or `conversations`.
  ///   - tools: the row's `tools`; null is as good as nil.
  /// - Throws: `TemplateError`.
  ///
  /// Source: `_apply_chat_template_to_messages` in Model-Optimizer's `dataset_utils.py`, which leaves reasoning to the
  /// template and looks at `role` and `content` only: rows with `from` and `value` are the template's to refuse.
  public func calibrationText(messages: JSON, tools: JSON?) throws -> String {
    try render(messages: Self.withParsedArguments(messages), tools: tools)
  }

  static func withParsedArguments(_ messages: JSON) -> JSON {
    guard let list = messages.array else { return messages }
    return .array(
      list.map { message in
        guard var object = message.object, let calls = object["tool_calls"]?.array else { return message }
        object["tool_calls"] = .array(calls.map(Self.withParsedArguments(call:)))
        return .object(object)
      })
  }

  private static func withParsedArguments(call: JSON) -> JSON {
    guard var call = call.object else { return call }
    func fix(_ object: inout JSON.Object) {
      guard let arguments = object["arguments"], arguments.object == nil else { return }
      // Text that is no object becomes an empty one, as does everything else.
      let parsed = arguments.text.flatMap { try? JSON(parsing: $0.utf8) }?.object
      object["arguments"] = .object(parsed ?? JSON.Object())
    }
    fix(&call)
    if var function = call["function"]?.object {
      fix(&function)
      call["function"] = .object(function)
    }
    return .object(call)
  }
}
