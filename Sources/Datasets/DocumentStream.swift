/// The documents of all sources in the order in which they are packed, as many as the rows asked for allow.
///
/// One source is read only as far as its documents are wanted. Several are shuffled together, for which their
/// shares are read first; what is allowed later is shuffled by itself and comes after.
struct DocumentStream {
  private let sources: [Documents]
  private var random: PythonRandom
  /// Rows of data that each source may still give.
  private var allowed: [Int]
  /// The next document last.
  private var shuffled: [Document] = []
  /// Rows passed over since this was last emptied.
  var nulls = NullRows()

  init(_ files: [DataFiles], seed: UInt64) {
    sources = files.map { Documents($0) }
    random = PythonRandom(seed: seed)
    allowed = files.map { _ in 0 }
  }

  /// Rows of data read, those without text included.
  var rowsRead: Int { sources.reduce(0) { $0 + $1.rows } }
  /// Whether every source was read to its end.
  var isExhausted: Bool { sources.allSatisfy(\.isExhausted) }

  /// Allows the documents for some more rows, shared evenly between the sources, the first ones getting the rest.
  mutating func allow(rows: Int) throws {
    let (share, rest) = rows.quotientAndRemainder(dividingBy: sources.count)
    for at in sources.indices {
      let documents = (share + (at < rest ? 1 : 0)).multipliedReportingOverflow(by: CalibrationData.documentsPerRow)
      let sum = allowed[at].addingReportingOverflow(documents.overflow ? .max : documents.partialValue)
      allowed[at] = sum.overflow ? .max : sum.partialValue
    }
    guard sources.count > 1 else { return }
    var documents: [Document] = []
    for at in sources.indices { while let document = try read(at) { documents.append(document) } }
    random.shuffle(&documents)
    // Taken from the end: what is left of the earlier rows' documents comes first.
    shuffled = documents.reversed() + shuffled
  }

  mutating func next() throws -> Document? { sources.count > 1 ? shuffled.popLast() : try read(0) }

  /// The next text of a source that is not empty. Empty and null ones count, the former as in the reference.
  private mutating func read(_ source: Int) throws -> Document? {
    while let document = try sources[source].next(limit: &allowed[source], &nulls) {
      if !document.text.isEmpty { return document }
    }
    return nil
  }
}
