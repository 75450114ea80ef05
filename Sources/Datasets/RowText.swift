import JSON

/// What of a row is its text.
enum RowText: Sendable, Equatable {
  /// By the names of its columns.
  case automatic
  /// The texts of these columns, a line feed between them.
  case joined([String])
  /// A conversation, for the chat template.
  case conversation(String)
  /// The contents of the turns in a column, then the text of another, line feeds between them.
  case turns(String, then: String)

  enum Content: Equatable {
    case text(String)
    case conversation(Conversation, column: String)
    /// The columns of text that are there, every one null.
    case null([String])
  }

  /// The columns that `content` asks for.
  var columns: [String] {
    switch self {
    case .automatic:
      [
        "messages", "conversations", "tools", "prompt", "completion", "response", "output", "text", "instruction",
        "input",
      ]
    case .joined(let columns): columns
    case .conversation(let column): [column, "tools"]
    case .turns(let column, let then): [column, then]
    }
  }

  /// - Throws: `DatasetError` for a row without text, or with something else where text should be.
  func content(of record: Record) throws -> Content {
    var row = Row(record: record)
    switch self {
    case .automatic: return try Self.automatic(&row)
    case .joined(let columns):
      let texts = try columns.compactMap { try row.text(required: $0) }
      return row.nulls.isEmpty ? .text(texts.joined(separator: "\n")) : .null(row.nulls)
    case .conversation(let column):
      return try row.conversation(column, isRequired: true) ?? .null(row.nulls)
    case .turns(let column, let then):
      guard let value = try row.value(column, isRequired: true), let last = try row.text(required: then) else {
        return .null(row.nulls)
      }
      guard let turns = value.array, let contents = turns.compactMapIfAll(\.["content"]?.string) else {
        throw row.wrong("column \"\(column)\" should hold a list of turns, each with a text as \"content\"")
      }
      return .text((contents + [last]).joined(separator: "\n"))
    }
  }

  /// A row's text by its columns, the first that match; null is as good as absent as long as another one is there.
  ///
  /// Source: `_auto_preprocess_sample` in Model-Optimizer's `dataset_utils.py`; `instruction` is Coppice's own, for data in
  /// Alpaca's layout, where an empty `input` is one that is not there.
  private static func automatic(_ row: inout Row) throws -> Content {
    for column in ["messages", "conversations"] {
      if let conversation = try row.conversation(column) { return conversation }
    }
    if let prompt = try row.text("prompt") {
      return .text(
        try ([prompt] + ["completion", "response", "output"].compactMap { try row.text($0) }).joined(separator: "\n"))
    }
    if let text = try row.text("text") { return .text(text) }
    if let instruction = try row.text("instruction") {
      let others = try ["input", "output"].compactMap { try row.text($0) }.filter { !$0.isEmpty }
      return .text(([instruction] + others).joined(separator: "\n"))
    }
    if let input = try row.text("input") {
      return .text(try ([input] + ["output"].compactMap { try row.text($0) }).joined(separator: "\n"))
    }
    guard row.nulls.isEmpty else { return .null(row.nulls) }
    throw row.wrong(
      "no column with text; there are \(list(row.record.names)), and one of "
        + "\"messages\", \"conversations\", \"prompt\", \"text\", \"instruction\" or \"input\" is wanted")
  }

  /// A row, and what was null of it.
  private struct Row {
    let record: Record
    var nulls: [String] = []

    func wrong(_ reason: String) -> DatasetError { DatasetError("\(record.place): \(reason)") }

    mutating func value(_ name: String, isRequired: Bool = false) throws -> JSON? {
      guard let value = try record.value(name) else {
        if isRequired { throw wrong("column \"\(name)\" is missing; there are \(list(record.names))") }
        return nil
      }
      if value.isNull { nulls.append(name) }
      return value.isNull ? nil : value
    }

    mutating func text(_ name: String) throws -> String? { try value(name).map { try text(name, $0) } }

    mutating func text(required name: String) throws -> String? {
      try value(name, isRequired: true).map { try text(name, $0) }
    }

    private func text(_ name: String, _ value: JSON) throws -> String {
      guard let text = value.string else {
        throw wrong("column \"\(name)\" holds \(value.kind), where text should be")
      }
      return text
    }

    mutating func conversation(_ column: String, isRequired: Bool = false) throws -> Content? {
      guard let messages = try value(column, isRequired: isRequired) else { return nil }
      let tools = try record.value("tools")
      return .conversation(
        Conversation(messages: messages, tools: tools.flatMap { $0.isNull ? nil : $0 }), column: column)
    }
  }
}

extension Array {
  /// The results, where there is one for every element.
  fileprivate func compactMapIfAll<T>(_ body: (Element) -> T?) -> [T]? {
    let results = compactMap(body)
    return results.count == count ? results : nil
  }
}
