import Crypto
public import Files
public import Messages

/// What packing needs of a tokenizer.
public protocol TextEncoding {
  /// Token numbers of a text, without special tokens before or after it.
  func encode(_ text: String) throws -> [Int]
  /// What separates documents; nil for a tokenizer without one.
  var eosTokenID: Int? { get }
  /// What every row begins with; nil for nothing.
  var rowStart: Int? { get }
}

extension TextEncoding {
  public var rowStart: Int? { nil }
}

/// Rows of tokens, ready for a model.
public struct PackedRows: Sendable {
  /// Each of `seqLength` tokens; only the last may be shorter, where the text ran out.
  public let rows: [[Int32]]
  public let seqLength: Int
  /// Documents that were encoded for these rows and those before them.
  public let documents: Int
  /// Sentences for the user: why there are fewer rows than asked, which rows of data had no text.
  public let warnings: [Message]
}

/// Text to calibrate with, from files, packed into rows as pretraining does it: documents one after the other,
/// each followed by EOS, cut into rows wherever that falls.
///
/// Source: `get_dataset_dataloader` and `_pack_documents_into_rows` in Model-Optimizer's `dataset_utils.py`.
public struct CalibrationData: Sendable {
  /// At most so many documents are read for a row that is asked for.
  public static let documentsPerRow = 16

  private let sources: [DataFiles]

  /// - Parameter sources: `.jsonl` or `.parquet` files, or directories of them. Several share the rows evenly.
  /// - Throws: `DatasetError` when one is not there or holds no data files. Contents are looked at by `pack`.
  public init(sources: [String]) throws {
    guard !sources.isEmpty else { throw DatasetError("no calibration data is named") }
    self.sources = try sources.map { try DataFiles(path: $0) }
  }

  /// Packs rows.
  ///
  /// The rows `skippingRows..<skippingRows + count` follow those that `pack(count: skippingRows)` gives, with the same
  /// `seqLength` and `seed`, and share no token with them.
  ///
  /// - Parameters:
  ///   - encoder: the model's tokenizer.
  ///   - seqLength: tokens in a row.
  ///   - count: rows asked for.
  ///   - seed: of the shuffle of several sources' documents; 0 gives the reference's order. One source is not shuffled.
  /// - Throws: `DatasetError` for unreadable data, text that cannot be encoded, or when not one row comes out.
  public func pack(
    encoder: any TextEncoding, seqLength: Int, count: Int, skippingRows: Int = 0, seed: UInt64 = 0
  ) throws -> PackedRows {
    guard skippingRows == 0 else {
      return try pack(encoder: encoder, seqLength: seqLength, count: skippingRows, following: count, seed: seed)
        .following
    }
    try check(encoder, seqLength: seqLength, count, 0)
    var (stream, cutter) = (DocumentStream(sources, seed: seed), RowCutter(encoder: encoder, seqLength: seqLength))
    try stream.allow(rows: count)
    try cutter.fill(count, from: &stream)
    if cutter.rows.count < count { try cutter.finish() }
    guard !cutter.rows.isEmpty else { throw noText(stream) }
    return packed(cutter, stream, count)
  }

  /// Packs rows, and those that follow them and share no token with them, from one reading of the text: tokens do not add
  /// up over texts, so that the later rows cannot be packed without the earlier ones.
  ///
  /// - Parameters: as of `pack`; `following` is the number of later rows.
  /// - Throws: `DatasetError` as `pack`, and when there is not one later row.
  public func pack(
    encoder: any TextEncoding, seqLength: Int, count: Int, following: Int, seed: UInt64 = 0
  ) throws -> (rows: PackedRows, following: PackedRows) {
    try check(encoder, seqLength: seqLength, following, count)
    var (stream, cutter) = (DocumentStream(sources, seed: seed), RowCutter(encoder: encoder, seqLength: seqLength))
    try stream.allow(rows: count)
    try cutter.fill(count, from: &stream)
    var first = cutter
    if cutter.rows.count < count {
      try first.finish()
      // The last of the earlier rows is a short one; the later ones begin with a document.
      cutter.tokens = []
    }
    let rows = packed(first, stream, count)
    cutter.rows = []
    // Their warnings are those of the earlier rows.
    stream.nulls = NullRows()
    try stream.allow(rows: following)
    try cutter.fill(following, from: &stream)
    if cutter.rows.count < following { try cutter.finish() }
    guard !cutter.rows.isEmpty else {
      throw DatasetError(
        "\(paths): no text is left after the first \(count) rows of \(seqLength) tokens; name other data")
    }
    return (rows, packed(cutter, stream, following))
  }

  private var paths: String { sources.map(\.path).joined(separator: ", ") }

  private func check(_ encoder: any TextEncoding, seqLength: Int, _ count: Int, _ skipped: Int) throws {
    guard seqLength > 0, count > 0, skipped >= 0 else {
      throw DatasetError("\(count) rows of \(seqLength) tokens after \(skipped) rows cannot be packed")
    }
    guard encoder.rowStart == nil || seqLength > 1 else {
      throw DatasetError("rows of one token have no room for text after the token that each begins with")
    }
  }

  private func noText(_ stream: DocumentStream) -> DatasetError {
    let (read, nulls) = (stream.rowsRead, stream.nulls)
    return DatasetError(
      read > 0 && nulls.count == read
        ? "\(paths): \(nulls.reason) in every one of \(read) rows of data"
        : "\(paths): no text in \(read) rows of data"
          + (nulls.count > 0 ? "; \(nulls.reason) in \(nulls.count) of them" : ""))
  }

  /// The rows that were cut, with what there is to say about them.
  private func packed(_ cutter: RowCutter, _ stream: DocumentStream, _ count: Int) -> PackedRows {
    var warnings: [Message] = []
    let (seqLength, last) = (cutter.seqLength, cutter.rows.last?.count ?? 0)
    if cutter.rows.count < count || last < seqLength {
      let reason: Message =
        stream.isExhausted
        ? """
        all \(cutter.documents) documents of \(paths) are used up; name more data or choose a smaller \
        \(parameter: "seq_length")
        """
        : """
        at most \(Self.documentsPerRow) documents are read for a row, and those are short; choose a smaller \
        \(parameter: "seq_length") or longer documents
        """
      warnings.append(
        """
        \(cutter.rows.count) of \(count) rows of \(seqLength) tokens\
        \(last < seqLength ? ", the last with \(last)" : ""): \(reason)
        """)
    }
    if stream.nulls.count > 0 { warnings.append(Message(stream.nulls.warning)) }
    return PackedRows(rows: cutter.rows, seqLength: seqLength, documents: cutter.documents, warnings: warnings)
  }

  /// SHA-256, in hexadecimal, of every file's name (below its source), size and the hash of its contents, source by
  /// source.
  ///
  /// - Throws: `DatasetError` when a file cannot be read, or changes meanwhile.
  public func fingerprint() throws -> String {
    var hash = SHA256()
    for source in sources {
      hash.update(data: Array("source\0\(source.files.count)\0".utf8))
      for path in source.files {
        let file = try InputFile(path)
        let name = path == source.path ? lastName(path) : String(path.dropFirst(source.path.count))
        let contents: String?
        do { contents = try ContentHash.sha256(descriptor: file.descriptor, path: path) } catch let error {
          throw DatasetError("\(path) \(error.reason)")
        }
        hash.update(data: Array("\(name)\0\(file.size)\0\(contents ?? "")\n".utf8))
      }
    }
    return hexadecimal(hash.finalize())
  }

  /// What the system says of every file now: equal as long as none is written to.
  public var identities: [FileIdentity?] { sources.flatMap(\.files).map(FileIdentity.init(path:)) }
}

/// Encodes documents and cuts their tokens into rows.
private struct RowCutter {
  let encoder: any TextEncoding
  let seqLength: Int
  var rows: [[Int32]] = []
  /// After the last whole row.
  var tokens: [Int32] = []
  var documents = 0

  init(encoder: any TextEncoding, seqLength: Int) {
    self.encoder = encoder
    self.seqLength = seqLength
  }

  /// Cuts whole rows until there are `count` of them or no document is left.
  mutating func fill(_ count: Int, from stream: inout DocumentStream) throws {
    try cut(count)
    while rows.count < count, let document = try stream.next() {
      documents += 1
      let encoded: [Int]
      do { encoded = try encoder.encode(document.text) } catch { throw DatasetError("\(document.place): \(error)") }
      for token in encoded { try append(token) }
      if let separator = encoder.eosTokenID { try append(separator) }
      try cut(count)
    }
  }

  private mutating func append(_ token: Int) throws { tokens.append(try known(token)) }

  private func known(_ token: Int) throws -> Int32 {
    guard let token = Int32(exactly: token), token >= 0 else {
      throw DatasetError("the tokenizer gives the token \(token), which no vocabulary has")
    }
    return token
  }

  private mutating func cut(_ count: Int) throws {
    var from = 0
    while rows.count < count, let row = try row(from) {
      rows.append(row.tokens)
      from += row.taken
    }
    if from > 0 { tokens.removeSubrange(..<from) }
  }

  /// A whole row of the tokens from `index` on, and how many of them it takes; nil while there are too few.
  private func row(_ index: Int) throws -> (tokens: [Int32], taken: Int)? {
    let start = try start(index)
    let taken = seqLength - start.count
    guard tokens.count - index >= taken else { return nil }
    return (start + tokens[index..<index + taken], taken)
  }

  /// What is put before the tokens from `index` on: nothing where they begin with it already.
  private func start(_ index: Int) throws -> [Int32] {
    guard let start = try encoder.rowStart.map(known), tokens.indices.contains(index), tokens[index] != start else {
      return []
    }
    return [start]
  }

  /// Makes a short row of the tokens that are left.
  mutating func finish() throws {
    guard !tokens.isEmpty else { return }
    rows.append(try start(0) + tokens)
    tokens = []
  }
}
