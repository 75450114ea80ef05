public import Messages

extension CalibrationData {
  /// Writes all documents as an indexed dataset, each followed by EOS.
  ///
  /// - Parameters:
  ///   - encoder: the model's tokenizer.
  ///   - vocabulary: says how many bytes a token takes.
  ///   - prefix: the path without `.bin` and `.idx`; neither may be there.
  ///   - progress: called with the number of documents so far.
  /// - Returns: what there is to say about rows without text.
  /// - Throws: `DatasetError` for unreadable data and text that cannot be encoded, `FileError`; nothing is left then.
  public func write(
    _ encoder: any TextEncoding, vocabulary: Int, to prefix: String, seed: UInt64 = 0,
    progress: (_ documents: Int) -> Void = { _ in }
  ) throws -> (documents: Int, tokens: Int, warnings: [Message]) {
    var stream = DocumentStream(groups, encoder: encoder, seed: seed)
    try stream.allow(rows: .max)
    let writer = try IndexedTokensWriter(prefix: prefix, vocabulary: vocabulary)
    while let document = try stream.next() {
      let start = try encoder.rowStart.map { [try TokenNumber.known($0)] } ?? []
      let tokens = try start + encoder.tokens(of: document)
      if let token = tokens.first(where: { $0 >= vocabulary }) {
        throw DatasetError(
          "\(document.place): the tokenizer gives the token \(token), which a vocabulary of \(vocabulary) does not have"
        )
      }
      try writer.append(tokens)
      progress(writer.documentCount)
    }
    guard writer.tokenCount > 0 else { throw noText(stream) }
    try writer.finish()
    let warnings = stream.nulls.count > 0 ? [Message(stream.nulls.warning)] : []
    return (writer.documentCount, writer.tokenCount, warnings)
  }
}
