/// The documents of all sources in the order in which they are packed, as many as the rows asked for allow.
///
/// One source is read only as far as its documents are wanted. Several are shuffled together, for which their
/// shares are read first; what is allowed later is shuffled by itself and comes after.
struct DocumentStream {
  /// By the names that were given: several for a mix.
  private let groups: [[Documents]]
  private let sources: [Documents]
  private var random: PythonRandom
  /// The next document last.
  private var shuffled: [Document] = []
  /// Rows passed over since this was last emptied.
  var nulls = NullRows()

  init(_ groups: [[ResolvedSource]], encoder: any TextEncoding, seed: UInt64) {
    self.groups = groups.map { $0.map { Documents($0, encoder: encoder) } }
    sources = Array(self.groups.joined())
    random = PythonRandom(seed: seed)
  }

  /// Rows of data read, those without text included.
  var rowsRead: Int { sources.reduce(0) { $0 + $1.rows } }
  /// Whether every source was read to its end.
  var isExhausted: Bool { sources.allSatisfy(\.isExhausted) }

  /// Allows the documents for some more rows, shared evenly between the names and a mix's share between its members, the first
  /// ones getting the rest.
  mutating func allow(rows: Int) throws {
    for (group, share) in zip(groups, Self.shares(rows, groups.count)) {
      for (source, rows) in zip(group, Self.shares(share, group.count)) {
        let (documents, overflow) = rows.multipliedReportingOverflow(by: CalibrationData.documentsPerRow)
        source.allow(rows: overflow ? .max : documents)
      }
    }
    guard sources.count > 1 else { return }
    var documents: [Document] = []
    for source in sources { while let document = try read(source) { documents.append(document) } }
    random.shuffle(&documents)
    // Taken from the end: what is left of the earlier rows' documents comes first.
    shuffled = documents.reversed() + shuffled
  }

  private static func shares(_ rows: Int, _ count: Int) -> [Int] {
    let (share, rest) = rows.quotientAndRemainder(dividingBy: count)
    return (0..<count).map { share + ($0 < rest ? 1 : 0) }
  }

  mutating func next() throws -> Document? { sources.count > 1 ? shuffled.popLast() : try read(sources[0]) }

  /// The next text of a source that is not empty. Empty and null ones count, the former as in the reference.
  private mutating func read(_ source: Documents) throws -> Document? {
    while let document = try source.next(&nulls) {
      if !document.text.isEmpty { return document }
    }
    return nil
  }
}
