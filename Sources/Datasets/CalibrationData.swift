public import Messages

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

  /// By the names that were given: several for a mix.
  let groups: [[ResolvedSource]]
  private var sources: [ResolvedSource] { Array(groups.joined()) }

  /// - Parameters:
  ///   - sources: paths, registered names, mixes, or `owner/name` of the hub, as `DatasetSource.groups` reads them. Several
  ///     share the rows evenly.
  ///   - places: where repositories of the hub are to be had; nil where none are.
  /// - Throws: `DatasetError` when one is not there or holds no data files; what `places` throws. Contents are looked at by
  ///   `pack`.
  public init(sources: [String], places: (any DatasetPlaces)? = nil) throws {
    try self.init(DatasetSource.groups(sources), places: places)
  }

  /// The same for sources that were resolved.
  public init(_ groups: [[DatasetSource]], places: (any DatasetPlaces)? = nil) throws {
    self.groups = try groups.filter { !$0.isEmpty }.map { try $0.map { try ResolvedSource($0, places: places) } }
    guard !self.groups.isEmpty else { throw DatasetError("no calibration data is named") }
  }

  /// Whether a chat template has a part in the text. Reads the first rows of data whose name does not say it.
  public func hasConversations() throws -> Bool { try sources.contains(where: Documents.areConversations) }

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
    var (stream, cutter) = (
      DocumentStream(groups, encoder: encoder, seed: seed), RowCutter(encoder: encoder, seqLength: seqLength)
    )
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
    var (stream, cutter) = (
      DocumentStream(groups, encoder: encoder, seed: seed), RowCutter(encoder: encoder, seqLength: seqLength)
    )
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

  var paths: String { sources.map(\.source.name).joined(separator: ", ") }

  private func check(_ encoder: any TextEncoding, seqLength: Int, _ count: Int, _ skipped: Int) throws {
    guard seqLength > 0, count > 0, skipped >= 0 else {
      throw DatasetError("\(count) rows of \(seqLength) tokens after \(skipped) rows cannot be packed")
    }
    guard encoder.rowStart == nil || seqLength > 1 else {
      throw DatasetError("rows of one token have no room for text after the token that each begins with")
    }
  }

  func noText(_ stream: DocumentStream) -> DatasetError {
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
}
