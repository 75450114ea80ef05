import JSON

/// The documents of one source, in the order of its files and their rows, read as they are asked for.
final class Documents {
  /// Rows read so far, those without text included.
  private(set) var rows = 0
  private let files: [String]
  private var next = 0
  private var reader: (any RecordReader)?

  init(_ source: DataFiles) { files = source.files }

  /// The next row's text, empty where the row has an empty one; nil after the last.
  func nextText() throws -> String? {
    while true {
      if let record = try reader?.next() {
        rows += 1
        return try Self.text(of: record)
      }
      guard next < files.count else { return nil }
      reader = try openRecords(files[next], columns: Self.columns)
      next += 1
    }
  }

  static let columns = [
    "messages", "conversations", "prompt", "completion", "response", "output", "text", "input",
  ]

  /// A row's text by its columns, the first that match; null is as good as absent.
  ///
  /// Source: `_auto_preprocess_sample` in Model-Optimizer's `dataset_utils.py`.
  static func text(of record: Record) throws -> String {
    func column(_ name: String) throws -> String? {
      guard let value = record.columns[name], !value.isNull else { return nil }
      guard let text = value.string else {
        throw DatasetError("\(record.place): column \"\(name)\" holds \(value.kind), where text should be")
      }
      return text
    }
    for chat in ["messages", "conversations"] {
      guard let value = record.columns[chat], !value.isNull else { continue }
      throw DatasetError(
        "\(record.place): column \"\(chat)\" is a chat, and chat templates are not supported yet. Render it once and "
          + "write the result as \"text\": tokenizer.apply_chat_template(messages, tokenize=False) in transformers")
    }
    if let prompt = try column("prompt") {
      return try ([prompt] + ["completion", "response", "output"].compactMap(column)).joined(separator: "\n")
    }
    if let text = try column("text") { return text }
    if let input = try column("input") {
      return try ([input] + ["output"].compactMap(column)).joined(separator: "\n")
    }
    throw DatasetError(
      "\(record.place): no column with text; there are \(list(record.columns.map(\.key.description))), and one of "
        + "\"messages\", \"conversations\", \"prompt\", \"text\" or \"input\" is wanted")
  }
}
