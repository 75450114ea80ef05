/// Encodes documents and cuts their tokens into rows.
struct RowCutter {
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
      tokens += try encoder.tokens(of: document)
      try cut(count)
    }
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
    guard let start = try encoder.rowStart.map(TokenNumber.known), tokens.indices.contains(index),
      tokens[index] != start
    else {
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

enum TokenNumber {
  /// - Throws: `DatasetError` for what is no token.
  static func known(_ token: Int) throws -> Int32 {
    guard let token = Int32(exactly: token), token >= 0 else {
      throw DatasetError("the tokenizer gives the token \(token), which no vocabulary has")
    }
    return token
  }
}

extension TextEncoding {
  /// A document's tokens, and EOS after them where there is one.
  ///
  /// - Throws: `DatasetError` also for a text of more than 32 MiB: for each byte of it tokens take some thirty while they are made, and
  ///   small files unpack to large texts.
  func tokens(of document: Document) throws -> [Int32] {
    let (most, size) = (32, document.text.utf8.count)
    guard size <= most << 20 else {
      throw DatasetError(
        "\(document.place): the text has \(size >> 20) MiB; at most \(most) are read as one: cut it into rows")
    }
    let encoded: [Int]
    do { encoded = try encode(document.text) } catch { throw DatasetError("\(document.place): \(error)") }
    return try (encoded + [eosTokenID].compactMap { $0 }).map(TokenNumber.known)
  }
}
