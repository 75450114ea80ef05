import JSON

/// One row's text, and where the row stands.
struct Document {
  let text: String
  /// What the text was rendered from; nil for a row of text.
  var conversation: Conversation?
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

/// The documents of one source, split by split in the order of files and rows, read as they are asked for.
final class Documents {
  /// Rows read so far, those without text included.
  private(set) var rows = 0
  /// Whether the last row of every split was read.
  var isExhausted: Bool { parts.allSatisfy(\.isExhausted) }
  private let row: RowText
  private let encoder: any TextEncoding
  private let parts: [Rows]
  /// Rows that may still be read, in their order.
  private var allowed: [(part: Int, rows: Int)] = []

  init(_ source: ResolvedSource, encoder: any TextEncoding) {
    row = source.source.row
    self.encoder = encoder
    parts = source.splits.map { Rows($0.files, columns: source.source.row.columns) }
  }

  /// Whether a source's rows are conversations, by its first row where that decides.
  static func areConversations(_ source: ResolvedSource) throws -> Bool {
    switch source.source.row {
    case .joined, .turns: return false
    case .conversation: return true
    case .automatic:
      let files = source.splits.first?.files ?? []
      let record = try Rows(files, columns: source.source.row.columns).next()
      return record?.names.contains { ["messages", "conversations"].contains($0) } ?? false
    }
  }

  /// Allows some more rows, shared evenly between the splits, the last one getting the rest.
  func allow(rows: Int) {
    let share = rows / parts.count
    for part in parts.indices {
      let isLast = part == parts.count - 1
      allowed.append((part, isLast ? rows - share * (parts.count - 1) : share))
    }
  }

  /// The next row whose text is not null, which may be empty; nil after the last row that is allowed.
  func next(_ nulls: inout NullRows) throws -> Document? {
    while let (part, limit) = allowed.first {
      guard limit > 0, let record = try parts[part].next() else {
        allowed.removeFirst()
        continue
      }
      rows += 1
      allowed[0].rows -= 1
      switch try row.content(of: record) {
      case .text(let text): return Document(text: text, place: record.place)
      case .conversation(let conversation, let column):
        do {
          return Document(text: try encoder.render(conversation), conversation: conversation, place: record.place)
        } catch {
          throw DatasetError("\(record.place): column \"\(column)\" is a chat: \(error)")
        }
      case .null(let columns): nulls.add(record.place, columns)
      }
    }
    return nil
  }
}

/// The rows of some files, one after the other. A file is opened, and fetched where it is not here, when its rows are wanted.
private final class Rows {
  private(set) var isExhausted = false
  private let files: [DataFile]
  private let columns: [String]
  private var following = 0
  private var reader: (any RecordReader)?

  init(_ files: [DataFile], columns: [String]) { (self.files, self.columns) = (files, columns) }

  func next() throws -> Record? {
    while !isExhausted {
      if let record = try reader?.next() { return record }
      guard following < files.count else {
        isExhausted = true
        reader = nil
        break
      }
      reader = try files[following].open(columns: columns)
      following += 1
    }
    return nil
  }
}
