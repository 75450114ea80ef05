import JSON

/// One row's text, and where the row stands.
struct Document {
  let text: String
  let place: String
}

/// Rows whose text is null, as web data has a few of among millions: passed over, and told of once.
struct NullRows {
  private(set) var count = 0
  private var first = ""
  private var columns: [String] = []

  fileprivate mutating func add(_ place: String, _ names: [String]) {
    if count == 0 { first = place }
    count += 1
    for name in names where !columns.contains(name) { columns.append(name) }
  }

  /// "text" is null, or: "messages" and "text" are null.
  var reason: String {
    columns.map { "\"\($0)\"" }.joined(separator: " and ") + (columns.count == 1 ? " is null" : " are null")
  }

  var warning: String {
    count == 1
      ? "\(first): \(reason); the row was passed over"
      : "\(count) rows were passed over in which \(reason) (the first: \(first))"
  }
}

/// The documents of one source, in the order of its files and their rows, read as they are asked for.
final class Documents {
  /// Rows read so far, those without text included.
  private(set) var rows = 0
  /// Whether the last row was read.
  private(set) var isExhausted = false
  private let files: [String]
  private var next = 0
  private var reader: (any RecordReader)?

  init(_ source: DataFiles) { files = source.files }

  /// The next row whose text is not null, which may be empty; nil after the last row, or after `limit` rows, which
  /// goes down with every row read.
  func next(limit: inout Int, _ nulls: inout NullRows) throws -> Document? {
    while limit > 0 {
      if let record = try reader?.next() {
        rows += 1
        limit -= 1
        switch try Self.content(of: record) {
        case .text(let text): return Document(text: text, place: record.place)
        case .null(let columns): nulls.add(record.place, columns)
        }
        continue
      }
      guard next < files.count else {
        isExhausted = true
        return nil
      }
      reader = try openRecords(files[next], columns: Self.columns)
      next += 1
    }
    return nil
  }

  static let columns = [
    "messages", "conversations", "prompt", "completion", "response", "output", "text", "input",
  ]

  private enum Content {
    case text(String)
    /// The columns of text that are there, every one null.
    case null([String])
  }

  /// A row's text by its columns, the first that match; null is as good as absent as long as another one is there.
  ///
  /// Source: `_auto_preprocess_sample` in Model-Optimizer's `dataset_utils.py`.
  private static func content(of record: Record) throws -> Content {
    var nulls: [String] = []
    func value(_ name: String) throws -> JSON? {
      guard let value = try record.value(name) else { return nil }
      if value.isNull { nulls.append(name) }
      return value.isNull ? nil : value
    }
    func column(_ name: String) throws -> String? {
      guard let value = try value(name) else { return nil }
      guard let text = value.string else {
        throw DatasetError("\(record.place): column \"\(name)\" holds \(value.kind), where text should be")
      }
      return text
    }
    for chat in ["messages", "conversations"] where try value(chat) != nil {
      throw DatasetError(
        "\(record.place): column \"\(chat)\" is a chat, and chat templates are not supported yet. Render it once and "
          + "write the result as \"text\": tokenizer.apply_chat_template(messages, tokenize=False) in transformers")
    }
    if let prompt = try column("prompt") {
      return .text(try ([prompt] + ["completion", "response", "output"].compactMap(column)).joined(separator: "\n"))
    }
    if let text = try column("text") { return .text(text) }
    if let input = try column("input") {
      return .text(try ([input] + ["output"].compactMap(column)).joined(separator: "\n"))
    }
    guard nulls.isEmpty else { return .null(nulls) }
    throw DatasetError(
      "\(record.place): no column with text; there are \(list(record.names)), and one of "
        + "\"messages\", \"conversations\", \"prompt\", \"text\" or \"input\" is wanted")
  }
}
