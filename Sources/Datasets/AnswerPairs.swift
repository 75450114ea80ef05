import Files

/// Questions and answers for supervised fine-tuning, as NeMo's `GPTSFTDataset` reads them: JSON lines with `input` and `output`.
public enum AnswerPairs {
  private static let maximumBytes = 1 << 32

  /// - Returns: the pairs in their order, without spaces around the texts.
  /// - Throws: `DatasetError` for a file that cannot be read, and for a row without either text.
  public static func read(_ path: String) throws -> [(input: String, output: String)] {
    guard let format = DataFormat(name: path) else {
      throw DatasetError("\(path) should be a file of JSON lines with \"input\" and \"output\"")
    }
    let records = try openRecords(path, format, columns: ["input", "output"])
    var pairs: [(input: String, output: String)] = []
    var bytes = 0
    while let record = try records.next() {
      func text(_ column: String) throws -> String {
        guard let value = try record.value(column), !value.isNull else {
          throw DatasetError("\(record.place): \"\(column)\" is missing; a row has \"input\" and \"output\"")
        }
        guard let text = value.string else {
          throw DatasetError("\(record.place): \"\(column)\" is \(value.kind), where a text should be")
        }
        return stripped(text)
      }
      let pair = (input: try text("input"), output: try text("output"))
      bytes += pair.input.utf8.count + pair.output.utf8.count
      guard bytes <= maximumBytes else {
        throw DatasetError("\(record.place): more than 4 GiB of text; name a smaller file")
      }
      pairs.append(pair)
    }
    guard !pairs.isEmpty else { throw DatasetError("\(path) holds no rows") }
    return pairs
  }

  /// SHA-256 of such a file, computed once.
  public static func fingerprint(_ path: String) throws -> String {
    let (file, _) = try OpenFile.reading(path)
    return try contentHash(path, file.descriptor)
  }

  /// Without whitespace at both ends.
  private static func stripped(_ text: String) -> String {
    let scalars = text.unicodeScalars
    guard let first = scalars.firstIndex(where: { !$0.properties.isWhitespace }),
      let last = scalars.lastIndex(where: { !$0.properties.isWhitespace })
    else { return "" }
    return String(scalars[first...last])
  }
}
